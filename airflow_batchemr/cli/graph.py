"""`batchemr graph`: draw the jobs of a pipeline."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from airflow_batchemr.cli.common import check_environment

app = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
)


class Format(str, Enum):
    """How it is drawn."""

    text = "text"
    mermaid = "mermaid"
    svg = "svg"
    json = "json"


@app.command()
def graph(
    file: Annotated[Path, typer.Argument(help="A pipeline file.", metavar="FILE")],
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", help="Only this one; SVG needs it where there are several.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="text, mermaid, svg or json.")] = Format.text,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Which `env:` of the file counts.")
    ] = None,
) -> None:
    """Draw the jobs of a pipeline file and what waits for what, on stdout.

    Exit code 0: drawn; 1: the file has errors (pipelines without are drawn all the same).

        batchemr graph pipelines.yaml

        batchemr graph pipelines.yaml -p nightly -f svg > nightly.svg
    """
    from airflow_batchemr.pipeline_file import graph as graphs
    from airflow_batchemr.pipeline_file import load_file
    from airflow_batchemr.pipeline_file.errors import guess

    spec = load_file(file, environment=environment)
    check_environment(environment, spec.environments)
    errors = [error for error in spec.errors if pipeline is None or error.pipeline in (pipeline, None)]
    for error in errors:
        sys.stderr.write(f"{error}\n")
    found = [each for name, each in spec.pipelines.items() if pipeline in (None, name)]
    if pipeline is not None and pipeline not in spec.names:
        sys.stderr.write(f"no pipeline {pipeline} in {file}; {guess(pipeline, spec.names) or ', '.join(spec.names)}\n")
        raise typer.Exit(1)
    if form is Format.svg and len(found) > 1:
        sys.stderr.write(f"a picture shows one pipeline, choose it with --pipeline: {', '.join(spec.pipelines)}\n")
        raise typer.Exit(1)
    if form is Format.json:
        sys.stdout.write(json.dumps([graphs.as_data(each) for each in found], indent=2) + "\n")
        raise typer.Exit(1 if errors else 0)
    draw = {Format.text: graphs.as_text, Format.mermaid: graphs.as_mermaid, Format.svg: graphs.as_svg}[form]
    sys.stdout.write("\n".join(draw(each) for each in found))
    raise typer.Exit(1 if errors else 0)
