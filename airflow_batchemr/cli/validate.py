"""`batchemr validate`: validate pipeline files."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_batchemr.cli.common import check_environment, load_pipelines, new_app
from airflow_batchemr.cli.safe_output import write_clean
from airflow_batchemr.core.foreign_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_batchemr.pipeline_file import PipelineFileError

app = new_app()


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Pipeline files or folders.", metavar="FILE...")],
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors; notes are unaffected.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per error, one per line.")] = False,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Apply this `env:` block of the files.")
    ] = None,
) -> None:
    """Validate pipeline files without Airflow or AWS.

    Without --environment, each file is validated for every environment that it defines.
    Every error shows file, line and column, the line itself, and a suggestion. For Sundial JSON, differences in meaning
    are shown as notes.

    Exit codes: 0: no errors; 1: errors (with --strict, also warnings); 2: usage error.

        batchemr validate dags/ && git commit

        batchemr validate --strict --json pipelines.yaml
    """
    from airflow_batchemr.pipeline_file import Definitions, PipelineFileError, find_files

    problems: dict[tuple[object, ...], PipelineFileError] = {}
    definitions = Definitions()
    checked, pipelines = 0, 0
    environments: list[str] = []
    for path in files:
        found = find_files(path)
        if not found:
            hint = "pipeline files end in .yaml, .yml or .json"
            _add(problems, [PipelineFileError("no pipeline files in this folder", hint, path=path)])
        for file in found:
            spec = load_pipelines(file, environment)
            checked += 1
            environments += spec.environments
            pipelines += len(spec.names)
            specs = [spec] if environment else [load_pipelines(file, name) for name in spec.environments] or [spec]
            for each in specs:
                _add(problems, each.errors + each.warnings)
            _add(problems, definitions.add(spec))
    check_environment(environment, environments)
    errors = sum(error.severity == "error" for error in problems.values())
    warnings = sum(error.severity == "warning" for error in problems.values())
    notes = len(problems) - errors - warnings
    if json_:
        for error in problems.values():
            sys.stdout.write(json.dumps(_record(error)) + "\n")
    else:
        _show(list(problems.values()))
        scope = f"{checked} file{'s' * (checked != 1)}, {pipelines} pipeline{'s' * (pipelines != 1)}"
        totals = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
        totals += f", {notes} note{'s' * (notes != 1)}" if notes else ""
        sys.stdout.write(f"{scope}: {totals}\n")
    raise typer.Exit(1 if errors or (strict and warnings) else 0)


def _add(problems: dict[tuple[object, ...], PipelineFileError], found: Iterable[PipelineFileError]) -> None:
    """Add each error once: several files may share a folder's defaults, and each environment reads the same file."""
    for error in found:
        problems.setdefault((str(error.path), error.line, error.column, error.message), error)


def _record(error: PipelineFileError) -> dict[str, Any]:
    return {
        "path": str(error.path),
        "line": error.line,
        "column": error.column,
        "severity": error.severity,
        "pipeline": error.pipeline,
        "message": error.message,
        "hint": error.hint,
    }


def _show(problems: list[PipelineFileError]) -> None:
    if not problems:
        return
    colors = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m"} if sys.stdout.isatty() else {}
    for error in problems:
        text = clean(str(error))
        if colors:
            label = f"{error.severity}:"
            text = text.replace(label, f"{colors[error.severity]}{label}\x1b[0m", 1)
        write_clean(f"{text}\n\n")
