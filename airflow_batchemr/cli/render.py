"""`batchemr render`: convert a pipeline file to plain Airflow code."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from airflow_batchemr.cli.common import check_environment, load_pipelines, new_app

app = new_app()


@app.command()
def render(
    file: Annotated[Path, typer.Argument(help="Pipeline file.", metavar="FILE")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output file; must not exist. Default: stdout.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", "-p", help="Render only this pipeline.")] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Apply this `env:` block of the file.")
    ] = None,
) -> None:
    """Convert a pipeline file to the Python code that an Airflow user would write by hand.

    The Dags are identical: same operators, tasks, arguments and edges. Put the output into the Dag folder in place of
    the pipeline file, and continue in Python. Relative paths (`python_env`) then count from the folder of the output.

    Exit codes: 0: written; 1: the file has errors, or the output file exists; 2: usage error.

        batchemr render nightly.yaml -o dags/nightly.py
    """
    from airflow_batchemr.dags.plan import plan_dag
    from airflow_batchemr.dags.render import python

    spec = load_pipelines(file, environment, only=pipeline)
    check_environment(environment, spec.environments)
    for error in spec.errors:
        sys.stderr.write(f"{error}\n\n")
    if pipeline is not None and pipeline not in spec.names:
        sys.stderr.write(f"{file} has no pipeline named {pipeline}; available: {', '.join(spec.names) or 'none'}\n")
        raise typer.Exit(1)
    if spec.errors or not spec.pipelines:
        raise typer.Exit(1)
    text = python([plan_dag(one) for one in spec.pipelines.values()], file.name)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with output.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        sys.stderr.write(f"{output} already exists: remove it or choose another file\n")
        raise typer.Exit(1) from None
