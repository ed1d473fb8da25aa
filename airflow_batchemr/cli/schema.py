"""`batchemr schema`: the JSON Schema of pipeline files."""

from __future__ import annotations

import json
import sys

import typer

app = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
)


@app.command()
def schema() -> None:
    """Print the JSON Schema of pipeline files, which gives editors completion and error highlighting.

        batchemr schema > batchemr.schema.json

    With the YAML extension of VS Code, refer to it in the first line of a pipeline file:

        # yaml-language-server: $schema=batchemr.schema.json
    """
    from airflow_batchemr.pipeline_file.json_schema import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
