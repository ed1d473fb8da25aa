"""The result of an import: a pipeline file, and a note for each change in behavior."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.checks.names import MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from airflow_batchemr.pipeline_file.validation import Problem

Path = tuple[str | int, ...]

#: Start marks of Jinja templates, which text of other systems may contain by chance.
_TEMPLATE_MARKS = ("{{", "{%", "{#")
#: Text that cannot be part of a raw block: its end tag, carriage returns, a trailing line break.
_ESCAPED = re.compile(r"(\{%-?\s*endraw\s*-?%\}|\r|\n\Z)")


def json_path(path: Path) -> str:
    """A path in JSONPath notation, such as `$[0].task_definitions[2].executable`."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


@dataclass(frozen=True)
class Note:
    """A change in behavior, or something that the user has to do.

    Attributes:
        path: path in the pipeline file.
        message: what changes, and what to do.
        source: path in the imported file.
        refused: the behavior could not be preserved; the user has to fix the pipeline before using it.
    """

    path: Path
    message: str
    source: Path
    refused: bool = False


@dataclass
class Translation:
    """A pipeline file under construction.

    Attributes:
        file: the content of the pipeline file.
        notes: changes in behavior, in the order of the file.
        problems: errors in the imported file (with paths in it); the affected pipelines are not in `file`.
        origins: path in the imported file, by path in the pipeline file.
        names: names of all pipelines, including those with errors, by path in the imported file.
    """

    file: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    origins: dict[Path, Path] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)

    def name_at(self, source: Path) -> str | None:
        """The pipeline that a path of the imported file belongs to."""
        return next((name for path, name in self.names.items() if source[: len(path)] == path), None)

    def origin(self, path: Path) -> Path:
        """The path in the imported file that a path of the pipeline file, or its closest parent, comes from."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return ()


@dataclass(frozen=True)
class ImportPosition:
    """A position during an import.

    Attributes:
        translation: the pipeline file under construction.
        path: path in the pipeline file.
        source: path in the imported file.
    """

    translation: Translation
    path: Path
    source: Path

    def at(self, *path: str | int, source: Iterable[str | int] = ()) -> ImportPosition:
        """A nested position."""
        return ImportPosition(self.translation, (*self.path, *path), (*self.source, *source))

    def note(self, message: str, *, refused: bool = False) -> None:
        """Add a note at this position."""
        self.translation.notes.append(Note(self.path, message, self.source, refused=refused))

    def mark(self) -> None:
        """Record where this part of the pipeline file comes from."""
        self.translation.origins[self.path] = self.source


def literal(text: str) -> str:
    """Escape a text so that Airflow and the loader leave it unchanged.

    Jinja would render `{{ … }}`, remove a trailing line break and normalize carriage returns, and the loader would
    substitute `${…}`; the other system passes the text through.
    """
    raw = any(mark in text for mark in _TEMPLATE_MARKS) or ("{" in text and _ESCAPED.search(text) is not None)
    pieces = [
        _escape(piece) if _ESCAPED.fullmatch(piece) else f"{{% raw %}}{piece}{{% endraw %}}" if raw and piece else piece
        for piece in _ESCAPED.split(text)
    ]
    return "".join(pieces).replace("${", "$${")


def plain(text: str) -> str:
    """Escape a text that Airflow does not render, so that the loader leaves it unchanged."""
    return text.replace("${", "$${")


def _escape(piece: str) -> str:
    return "{{ " + {"\r": r"'\r'", "\n": r"'\n'"}.get(piece, f"'{piece}'") + " }}"


def free_name(name: str, taken: Collection[str]) -> str:
    """A unique name that AWS allows."""
    unique = base = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[: MAX_NAME - 4] or "process"
    number = 2
    while unique in taken:
        unique, number = f"{base}-{number}", number + 1
    return unique


def duration(seconds: int) -> str:
    """Format a duration in the largest unit that divides it: `90s`, `15m`, `2h`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and not seconds % size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
