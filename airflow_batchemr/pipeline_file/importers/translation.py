"""What an importer makes of another system's file: a pipeline file, and a note wherever the meaning changes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.checks.names import MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from airflow_batchemr.pipeline_file.validation import Problem

Path = tuple[str | int, ...]

#: Templates of Airflow, which other systems' texts may hold by chance.
_TEMPLATE_MARKS = ("{{", "{%", "{#")
#: What no template holds as it is: the end of a raw part, carriage returns, a line break at the end.
_ESCAPED = re.compile(r"(\{%-?\s*endraw\s*-?%\}|\r|\n\Z)")


def json_path(path: Path) -> str:
    """`$[0].task_definitions[2].executable`, as JSONPath writes it."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


@dataclass(frozen=True)
class Note:
    """Something that is not as it was, or that somebody has to do.

    Attributes:
        path: keys in the pipeline file, down to the word that the note is about.
        message: what changes, and what to do.
        source: keys in the imported file.
        refused: the meaning could not be kept: the pipeline must not be used before somebody has looked at it.
    """

    path: Path
    message: str
    source: Path
    refused: bool = False


@dataclass
class Translation:
    """A pipeline file in the making.

    Attributes:
        file: pipelines by name, in the words of the pipeline file.
        notes: what changes in meaning, in the order of the file.
        problems: what is wrong with the imported file itself (keys in it); the parts concerned are not in `file`.
        origins: where in the imported file a part of the pipeline file comes from.
        names: the pipelines, the broken ones too, by where they stand in the imported file.
    """

    file: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    origins: dict[Path, Path] = field(default_factory=dict)
    names: dict[Path, str] = field(default_factory=dict)

    def name_at(self, source: Path) -> str | None:
        """The pipeline that a place of the imported file belongs to."""
        return next((name for place, name in self.names.items() if source[: len(place)] == place), None)

    def origin(self, path: Path) -> Path:
        """Where a place of the pipeline file comes from: the nearest part above it that is known."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return ()


@dataclass(frozen=True)
class ImportPosition:
    """Where an importer stands: in the pipeline file and in the imported one."""

    translation: Translation
    path: Path
    source: Path

    def at(self, *path: str | int, source: Iterable[str | int] = ()) -> ImportPosition:
        """A place below this one."""
        return ImportPosition(self.translation, (*self.path, *path), (*self.source, *source))

    def note(self, message: str, *, refused: bool = False) -> None:
        """Say that the meaning changes here."""
        self.translation.notes.append(Note(self.path, message, self.source, refused=refused))

    def mark(self) -> None:
        """Remember where this part comes from."""
        self.translation.origins[self.path] = self.source


def literal(text: str) -> str:
    """A text that Airflow's templates and the file's variables leave as it is.

    Airflow would fill in `{{ … }}`, take a last line break away and make one of a carriage return, and the loader
    would fill in `${…}`; the other system handed all of it on untouched.
    """
    raw = any(mark in text for mark in _TEMPLATE_MARKS) or ("{" in text and _ESCAPED.search(text) is not None)
    pieces = [
        _escape(piece) if _ESCAPED.fullmatch(piece) else f"{{% raw %}}{piece}{{% endraw %}}" if raw and piece else piece
        for piece in _ESCAPED.split(text)
    ]
    return "".join(pieces).replace("${", "$${")


def _escape(piece: str) -> str:
    return "{{ " + {"\r": r"'\r'", "\n": r"'\n'"}.get(piece, f"'{piece}'") + " }}"


def free_name(name: str, taken: Collection[str]) -> str:
    """A name that AWS takes, and that is not taken."""
    made = base = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[: MAX_NAME - 4] or "process"
    number = 2
    while made in taken:
        made, number = f"{base}-{number}", number + 1
    return made


def duration(seconds: int) -> str:
    """Seconds as people write them: `90s`, `15m`, `2h`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and not seconds % size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
