"""Implementation of `batchemr import`: convert, validate and write files, and report differences in meaning."""

from __future__ import annotations

import json
import sys
import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file import PipelineFileError, load_file
from airflow_batchemr.pipeline_file.importers.document import ImportedDocument, read_json
from airflow_batchemr.pipeline_file.importers.translation import Note, Translation, json_path
from airflow_batchemr.pipeline_file.load import check_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass
class _Result:
    """Outcome of converting one file."""

    source: Path
    document: ImportedDocument
    text: str
    output: Path | None = None
    errors: list[PipelineFileError] = field(default_factory=list)

    @property
    def notes(self) -> list[Note]:
        return self.document.translation.notes


def import_files(
    files: Iterable[Path],
    system: str,
    translate: Callable[[Any, str], Translation],
    output: Path | None,
    *,
    json_: bool,
    keep_invalid: bool = True,
) -> bool:
    """Convert files to pipeline files and print a report.

    Args:
        files: Definitions in the JSON of the other system.
        system: Name of the other system.
        translate: Converts the data of a file to pipelines. Its second argument is the file name without extensions.
        output: Folder for the pipeline files; None prints them.
        json_: Whether to print the report as JSON.
        keep_invalid: Whether to write a file that does not load yet, because the user has to complete it.

    Returns:
        Whether everything was converted without errors.
    """
    results = [_translated(file, system, translate) for file in files]
    _check_duplicates(results)
    for result in results:
        if not keep_invalid and result.document.value and (errors := _unusable(result, output)):
            result.errors += errors
            result.document.value = {}
        if output is not None and result.document.value:
            result.output = output / f"{_stem(result.source)}.yaml"
            _write(result)
        elif result.document.value:
            result.errors += _checked(result.text)
            if not json_:
                sys.stdout.write(result.text)
    for result in results:
        _report_json(result) if json_ else _report(result)
    return not any(result.errors for result in results)


def _translated(file: Path, system: str, translate: Callable[[Any, str], Translation]) -> _Result:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problem = PipelineFileError(f"cannot be read: {error.strerror or error}", path=file)
        return _Result(file, ImportedDocument(file, ""), "", errors=[problem])
    except UnicodeDecodeError:
        problem = PipelineFileError("not UTF-8", "JSON must be UTF-8: save the file in that encoding", path=file)
        return _Result(file, ImportedDocument(file, ""), "", errors=[problem])
    document = read_json(file, text, lambda data: translate(data, _stem(file)))
    header = f"Imported from {system} ({file.name}). Comments describe differences in meaning and what to do."
    return _Result(file, document, document.yaml(header), errors=list(document.errors))


def _stem(file: Path) -> str:
    """Return the file name without extensions, such as `etl` for `etl.asl.json`."""
    return file.name.split(".")[0] or file.name


def _check_duplicates(results: list[_Result]) -> None:
    """Report duplicate pipelines and output files before anything is written."""
    outputs: dict[str, Path] = {}
    pipelines: dict[str, Path] = {}
    for result in results:
        first = outputs.setdefault(_stem(result.source), result.source)
        if first is not result.source:
            message = f"{first} would be written to the same file, {_stem(result.source)}.yaml"
            result.errors.append(PipelineFileError(message, "rename one of them", path=result.source))
            result.document.value = {}
        for name in result.document.translation.names.values():
            first = pipelines.setdefault(name, result.source)
            if first is not result.source:
                message = f"{first} already has a pipeline named {name}"
                result.errors.append(
                    PipelineFileError(message, "rename one of them", path=result.source, pipeline=name)
                )


def _write(result: _Result) -> None:
    """Write the pipeline file atomically. An existing file with different content is not overwritten."""
    output = result.output
    assert output is not None  # noqa: S101 - set by the caller
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.exists() and output.read_text(encoding="utf-8") != result.text:
            hint = "move the file or choose another folder"
            result.errors.append(
                PipelineFileError(f"{output} already exists with different content and was not overwritten", hint)
            )
            result.output = None
            return
        with tempfile.NamedTemporaryFile("w", dir=output.parent, suffix=".tmp", encoding="utf-8", delete=False) as out:
            out.write(result.text)
        temporary = Path(out.name)
        temporary.chmod(0o644)
        temporary.replace(output)
    except OSError as error:
        result.errors.append(PipelineFileError(f"cannot be written: {error.strerror or error}", path=output))
        result.output = None
        return
    result.errors += load_file(output).errors


def _unusable(result: _Result, output: Path | None) -> list[PipelineFileError]:
    """Validate a pipeline file before it is written; errors point to the imported file where that is known."""
    return check_document(result.document, output) or _checked(result.text)


def _checked(text: str) -> list[PipelineFileError]:
    """Validate the text of a pipeline file that is not written to disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "standard output")
        path.write_text(text, encoding="utf-8")
        errors = load_file(path, root=folder).errors
    for error in errors:
        error.path = path.name
    return errors


def _report(result: _Result) -> None:
    """Print the report of one file to stderr, separate from printed pipelines."""
    out = sys.stderr
    pipelines = [name for name in result.document.value if name in result.document.translation.names.values()]
    notes = [note for note in result.notes if not note.refused]
    written = f" → {result.output}" if result.output is not None else ""
    totals = f"{_count(pipelines, 'pipeline')}, {_count(notes, 'note')}, {_count(result.errors, 'error')}"
    out.write(f"{result.source}{written}: {totals}\n")
    grouped: dict[str, list[Note]] = {}
    for note in notes:
        grouped.setdefault(note.message, []).append(note)
    for message, same in grouped.items():
        where = ".".join(map(str, same[0].path))
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        text = f"{where}{more}: {message}"
        out.write(
            textwrap.fill(text, 100, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False) + "\n"
        )
    for error in result.errors:
        out.write(textwrap.indent(str(error), "  ") + "\n")


def _count(items: list[Any], what: str) -> str:
    return f"{len(items)} {what}{'s' * (len(items) != 1)}"


def _report_json(result: _Result) -> None:
    base = {"source": str(result.source), "output": str(result.output) if result.output else None}
    records: list[dict[str, Any]] = [
        {
            "severity": "note",
            "at": json_path(note.source),
            "path": list(note.path),
            "message": note.message,
            "hint": None,
        }
        for note in result.notes
        if not note.refused
    ]
    records += [
        {
            "severity": "error",
            "at": None,
            "path": [error.pipeline] if error.pipeline else [],
            "message": error.message,
            "hint": error.hint,
            "line": error.line,
            "column": error.column,
        }
        for error in result.errors
    ]
    pipelines = [name for name in result.document.value if name in result.document.translation.names.values()]
    records.append({"severity": "summary", "pipelines": pipelines, "errors": len(result.errors)})
    for record in records:
        sys.stdout.write(json.dumps(base | record) + "\n")
