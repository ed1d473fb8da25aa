"""`batchemr validate`: check pipeline files."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_batchemr.cli.common import check_environment, new_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_batchemr.pipeline_file import PipelineFileError

app = new_app()


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Pipeline files, or folders of them.", metavar="FILE...")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors; notes are not.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a mistake, a line each.")] = False,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Which `env:` of the files counts.")
    ] = None,
) -> None:
    """Check pipeline files, without Airflow and without AWS.

    Without --environment a file is checked for each environment that it has.
    Every mistake is shown with file, line and column, the line itself, and what was probably meant. Of Sundial's
    JSON, what is not as it was there is shown as a note.

    Exit code 0: no errors; 1: errors (with --strict also warnings); 2: wrong usage.

        batchemr validate dags/ && git commit

        batchemr validate --strict --json pipelines.yaml
    """
    from airflow_batchemr.pipeline_file import PipelineFileError, find_files, load_file

    told: dict[tuple[object, ...], PipelineFileError] = {}
    dags: dict[str, Path] = {}
    checked, pipelines = 0, 0
    environments: list[str] = []
    for path in files:
        found = find_files(path)
        if not found:
            hint = "they end in .yaml, .yml or .json"
            _note(told, [PipelineFileError("no pipeline files in this folder", hint, path=path)])
        for file in found:
            spec = load_file(file, environment=environment)
            checked += 1
            environments += spec.environments
            pipelines += len(spec.names)
            specs = [spec] if environment else [load_file(file, name) for name in spec.environments] or [spec]
            for each in specs:
                _note(told, each.errors + each.warnings)
            _note(told, _doubles(spec.names, file, dags))
    check_environment(environment, environments)
    errors = sum(error.severity == "error" for error in told.values())
    warnings = sum(error.severity == "warning" for error in told.values())
    notes = len(told) - errors - warnings
    if json_:
        for error in told.values():
            sys.stdout.write(json.dumps(_record(error)) + "\n")
    else:
        _show(list(told.values()))
        files_of = f"{checked} file{'s' * (checked != 1)}, {pipelines} pipeline{'s' * (pipelines != 1)}"
        sums = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
        sums += f", {notes} note{'s' * (notes != 1)}" if notes else ""
        sys.stdout.write(f"{files_of}: {sums}\n")
    raise typer.Exit(1 if errors or (strict and warnings) else 0)


def _note(told: dict[tuple[object, ...], PipelineFileError], found: Iterable[PipelineFileError]) -> None:
    """Each mistake once, though several files share a folder's defaults, and several environments a file."""
    for error in found:
        told.setdefault((str(error.path), error.line, error.column, error.message), error)


def _doubles(names: Iterable[str], file: Path, dags: dict[str, Path]) -> list[PipelineFileError]:
    """Two pipelines of one name are two Dags of one id: Airflow would show one of them."""
    from airflow_batchemr.pipeline_file import PipelineFileError

    return [
        PipelineFileError(
            f"there is another pipeline named {name}, in {first}", "rename one of them", path=file, pipeline=name
        )
        for name in names
        if (first := dags.setdefault(name, file)) != file
    ]


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


def _show(told: list[PipelineFileError]) -> None:
    if not told:
        return
    colours = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m"} if sys.stdout.isatty() else {}
    for error in told:
        text = str(error)
        if colours:
            word = f"{error.severity}:"
            text = text.replace(word, f"{colours[error.severity]}{word}\x1b[0m", 1)
        sys.stdout.write(f"{text}\n\n")
