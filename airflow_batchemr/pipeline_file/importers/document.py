"""Another system's JSON read as a pipeline file: the JSON's places stand in for those of the YAML that it becomes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_batchemr.pipeline_file.importers.translation import Path, Translation, json_path
from airflow_batchemr.pipeline_file.reader import Document, nodes_of
from airflow_batchemr.pipeline_file.source_position import SourcePosition
from airflow_batchemr.pipeline_file.yaml_text import dump

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

    from airflow_batchemr.pipeline_file.errors import PipelineFileError


@dataclass
class ImportedDocument(Document):
    """A JSON file and the pipelines it stands for.

    Attributes:
        translation: the pipelines, and what changes in meaning.
        warnings: the same notes, at their places in the JSON.
    """

    translation: Translation = field(default_factory=Translation)
    warnings: list[PipelineFileError] = field(default_factory=list)

    @property
    def has_variables(self) -> bool:
        """What the translation has written, the text of the other system's file does not tell."""
        return True

    def find(self, keys: Sequence[str | int], *, key: bool = False) -> tuple[SourcePosition | None, int]:
        """Where in the JSON the part stands that a word of the pipeline comes from."""
        value: Any = self.value
        depth = 0
        for step in keys:
            known = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
            if not known:
                break
            value, depth = value[step], depth + 1
        return self.place(self.translation.origin(tuple(keys[:depth])), key=key), depth

    def place(self, source: Path, *, key: bool = True) -> SourcePosition | None:
        """Where something stands in the JSON; None where that is not known."""
        return super().find(source, key=key)[0]

    def yaml(self, header: str = "") -> str:
        """The pipeline file, with the notes as comments at their places."""
        comments: dict[Path, list[str]] = {}
        for note in self.translation.notes:
            comments.setdefault(note.path, []).append(f"REFUSED: {note.message}" if note.refused else note.message)
        return dump(self.translation.file, comments, header=header)


def read_json(path: pathlib.Path | str, text: str, translate: Callable[[Any], Translation]) -> ImportedDocument:
    """Read a JSON file as a pipeline file; whatever is wrong with it is in `errors`.

    Args:
        path: the file.
        text: what it holds.
        translate: makes pipelines of its data; never raises for what they hold.
    """
    document = ImportedDocument(path, text)
    try:
        data = json.loads(text, parse_constant=_refuse)
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg[0].lower()}{error.msg[1:]}"
        document.errors.append(document.error(message, None, SourcePosition(error.lineno, error.colno)))
        return document
    except (ValueError, RecursionError) as error:
        document.errors.append(document.error(f"not JSON that can be read: {_reason(error)}"))
        return document
    document.root = nodes_of(text)
    document.translation = translation = translate(data)
    document.value = translation.file
    for problem in translation.problems:
        at = f"{json_path(problem.keys)}: " if problem.keys else ""
        name = translation.name_at(problem.keys)
        told = document.error(at + problem.message, problem.hint, document.place(problem.keys), pipeline=name)
        document.errors.append(told)
    for note in translation.notes:
        name = str(note.path[0]) if note.path and note.path[0] in translation.names.values() else None
        place, severity = document.place(note.source), "error" if note.refused else "note"
        told = document.error(note.message, None, place, pipeline=name, severity=severity)
        (document.errors if note.refused else document.warnings).append(told)
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "half a character (a lone surrogate)" if isinstance(error, UnicodeEncodeError) else str(error)
