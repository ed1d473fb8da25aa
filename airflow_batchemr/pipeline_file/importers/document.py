"""Read another system's JSON as a pipeline file; errors point to positions in the JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_batchemr.pipeline_file.importers.translation import Path, Translation, json_path
from airflow_batchemr.pipeline_file.reader import Document, nodes_of
from airflow_batchemr.pipeline_file.source_position import SourcePosition
from airflow_batchemr.pipeline_file.yaml_writer import dump

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

    from airflow_batchemr.pipeline_file.errors import PipelineFileError


@dataclass
class ImportedDocument(Document):
    """A JSON file and the pipeline file that it was translated to.

    Attributes:
        translation: the pipelines, and notes about changes in behavior.
        warnings: the notes, at their positions in the JSON.
    """

    translation: Translation = field(default_factory=Translation)
    warnings: list[PipelineFileError] = field(default_factory=list)

    @property
    def has_variables(self) -> bool:
        """Always true: the translated file may contain variables even if the JSON does not."""
        return True

    def find(self, keys: Sequence[str | int], *, key: bool = False) -> tuple[SourcePosition | None, int]:
        """The position in the JSON of the part that a value of the pipeline file was translated from."""
        value: Any = self.value
        depth = 0
        for step in keys:
            known = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
            if not known:
                break
            value, depth = value[step], depth + 1
        return self.source_position(self.translation.origin(tuple(keys[:depth])), key=key), depth

    def source_position(self, source: Path, *, key: bool = True) -> SourcePosition | None:
        """The position of a path of the JSON; None if it is unknown."""
        return super().find(source, key=key)[0]

    def yaml(self, header: str = "") -> str:
        """The pipeline file as YAML, with the notes as comments."""
        comments: dict[Path, list[str]] = {}
        for note in self.translation.notes:
            comments.setdefault(note.path, []).append(f"NOT IMPORTED: {note.message}" if note.refused else note.message)
        return dump(self.translation.file, comments, header=header)


def read_json(path: pathlib.Path | str, text: str, translate: Callable[[Any], Translation]) -> ImportedDocument:
    """Read and translate a JSON file; errors are added to the document's `errors`.

    Args:
        path: the file.
        text: its text.
        translate: translates the parsed JSON; does not raise for invalid data.
    """
    document = ImportedDocument(path, text)
    try:
        data = json.loads(text, parse_constant=_reject)
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        message = f"invalid JSON: {error.msg[0].lower()}{error.msg[1:]}"
        hint = "replace the substitutions outside of text first" if text.startswith("${", error.pos) else None
        if not text.lstrip().startswith(("{", "[")):
            hint = "if it is YAML, convert it to JSON first"
        document.errors.append(document.error(message, hint, SourcePosition(error.lineno, error.colno)))
        return document
    except (ValueError, RecursionError) as error:
        document.errors.append(document.error(f"invalid JSON: {_reason(error)}"))
        return document
    document.root = nodes_of(text)
    document.translation = translation = translate(data)
    document.value = translation.file
    for problem in translation.problems:
        at = f"{json_path(problem.keys)}: " if problem.keys else ""
        name = translation.name_at(problem.keys)
        position = document.source_position(problem.keys)
        document.errors.append(document.error(at + problem.message, problem.hint, position, pipeline=name))
    for note in translation.notes:
        name = str(note.path[0]) if note.path and note.path[0] in translation.names.values() else None
        position, severity = document.source_position(note.source), "error" if note.refused else "note"
        entry = document.error(note.message, None, position, pipeline=name, severity=severity)
        (document.errors if note.refused else document.warnings).append(entry)
    return document


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "lone surrogate in a string" if isinstance(error, UnicodeEncodeError) else str(error)
