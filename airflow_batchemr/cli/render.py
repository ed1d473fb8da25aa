"""`batchemr render`: a pipeline file as ordinary Airflow code."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from airflow_batchemr.cli.common import check_environment, new_app

app = new_app()


@app.command()
def render(
    file: Annotated[Path, typer.Argument(help="A pipeline file.", metavar="FILE")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here; it must not be there yet.")] = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", "-p", help="Only this pipeline of the file.")] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Which `env:` of the file counts.")
    ] = None,
) -> None:
    """Write a pipeline file as the Python that an Airflow user would have written.

    The Dags are the same: the same tasks, arguments and edges, by the same operators. Put the result into the Dag
    folder in place of the pipeline file, and go on in Python.

    Exit code 0: written; 1: the file has mistakes, or the output is there already; 2: wrong usage.

        batchemr render nightly.yaml -o dags/nightly.py
    """
    from airflow_batchemr.dags.plan import compile_pipeline
    from airflow_batchemr.dags.render import python
    from airflow_batchemr.pipeline_file import load_file

    spec = load_file(file, environment=environment, only=pipeline)
    check_environment(environment, spec.environments)
    for error in spec.errors:
        sys.stderr.write(f"{error}\n\n")
    if pipeline is not None and pipeline not in spec.names:
        sys.stderr.write(f"{file} has no pipeline named {pipeline}; it has {', '.join(spec.names) or 'none'}\n")
        raise typer.Exit(1)
    if spec.errors or not spec.pipelines:
        raise typer.Exit(1)
    text = python([compile_pipeline(one) for one in spec.pipelines.values()], file.name)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with output.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        sys.stderr.write(f"{output} is there already: remove it, or name another file\n")
        raise typer.Exit(1) from None
