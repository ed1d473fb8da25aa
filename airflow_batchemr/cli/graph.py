"""`batchemr graph`: draw the jobs of a pipeline."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from airflow_batchemr.cli.common import check_environment, load_pipelines

app = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
)


class Format(str, Enum):
    """Output formats."""

    text = "text"
    mermaid = "mermaid"
    svg = "svg"
    json = "json"


@app.command()
def graph(
    file: Annotated[Path, typer.Argument(help="Pipeline file.", metavar="FILE")],
    pipeline: Annotated[
        str | None,
        typer.Option("--pipeline", "-p", help="Draw only this pipeline; required for SVG if there are several."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.text,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Apply this `env:` block of the file.")
    ] = None,
) -> None:
    """Draw the jobs of a pipeline file and their dependencies to stdout.

    Exit codes: 0: success; 1: the file has errors (pipelines without errors are still drawn).

        batchemr graph pipelines.yaml

        batchemr graph pipelines.yaml -p nightly -f svg > nightly.svg
    """
    from airflow_batchemr.pipeline_file import graph as graphs
    from airflow_batchemr.pipeline_file.errors import guess

    spec = load_pipelines(file, environment)
    check_environment(environment, spec.environments)
    errors = [error for error in spec.errors if pipeline is None or error.pipeline in (pipeline, None)]
    for error in errors:
        sys.stderr.write(f"{error}\n")
    found = [each for name, each in spec.pipelines.items() if pipeline in (None, name)]
    if pipeline is not None and pipeline not in spec.names:
        known = guess(pipeline, spec.names) or f"available: {', '.join(spec.names)}"
        sys.stderr.write(f"{file} has no pipeline named {pipeline}; {known}\n")
        raise typer.Exit(1)
    if form is Format.svg and len(found) > 1:
        sys.stderr.write(f"SVG shows a single pipeline; choose one with --pipeline: {', '.join(spec.pipelines)}\n")
        raise typer.Exit(1)
    if form is Format.json:
        sys.stdout.write(json.dumps([graphs.as_data(each) for each in found], indent=2) + "\n")
        raise typer.Exit(1 if errors else 0)
    draw = {Format.text: graphs.as_text, Format.mermaid: graphs.as_mermaid, Format.svg: graphs.as_svg}[form]
    sys.stdout.write("\n".join(draw(each) for each in found))
    raise typer.Exit(1 if errors else 0)
