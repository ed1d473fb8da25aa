"""What is wrong with a pipeline file, told so that it can be mended: place, line, caret, guess."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Severity = Literal["error", "warning", "note"]


class Refusal(ValueError):  # noqa: N818 - a refusal is what it is, pydantic collects them
    """A value that a model or a check refuses; the loader finds the place and makes a `PipelineFileError` of it.

    Args:
        message: what is wrong and what was expected.
        hint: what to do, or what was probably meant.
        at: keys from the model's own place down to the value.
    """

    def __init__(self, message: str, hint: str | None = None, at: Iterable[str | int] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.at = tuple(at)


class PipelineFileError(Exception):
    """One mistake (or warning) in a pipeline file.

    A policy may raise it with a message and a hint alone; the place is then the pipeline's.

    Args:
        message: what is wrong and what was expected.
        hint: what to do, or what was probably meant.
        path: the file.
        line: 1-based line, None where the whole file is meant.
        column: 1-based column.
        source: the line's text.
        width: how many columns the caret underlines.
        pipeline: the pipeline it belongs to, None for the file's own parts.
        severity: `error`, `warning` (surely not meant) or `note` (of an import: what is not as it was).
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        column: int | None = None,
        source: str | None = None,
        width: int = 1,
        pipeline: str | None = None,
        severity: Severity = "error",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path
        self.line = line
        self.column = column
        self.source = source
        self.width = width
        self.pipeline = pipeline
        self.severity: Severity = severity

    @property
    def where(self) -> str:
        """`file:line:column`, as editors and terminals make links of."""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        """The full text: place, message, the line with a caret, the hint."""
        where = self.where
        lines = [f"{where}: {self.severity}: {self.message}" if where else self.message]
        if self.source is not None and self.line is not None and self.column is not None:
            number = f"{self.line:>5} | "
            shown, column = _window(self.source, self.column)
            lines.append(f"{number}{shown}")
            pad = "".join("\t" if char == "\t" else " " for char in shown[: column - 1])
            room = max(1, len(shown) - column + 1)
            lines.append(f"{' ' * 5} | {pad}{'^' * max(1, min(self.width, room))}")
        if self.hint:
            lines.append(f"{' ' * 6}= {self.hint}")
        return "\n".join(lines)


def _window(source: str, column: int, size: int = 160) -> tuple[str, int]:
    """The part of a long line around the column, and the column in it."""
    if len(source) <= size:
        return source, column
    start = max(0, min(column - 1 - size // 2, len(source) - size))
    return source[start : start + size], column - start


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one probably stands for, None if nothing is near."""
    names = list(known)
    lower = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(str(word).lower().replace("-", "_"), lower, n=1, cutoff=0.6)
    return lower[near[0]] if near else None


def guess(word: object, known: Iterable[str]) -> str | None:
    """`did you mean …?` for a misspelt word, None if nothing is near."""
    near = nearest(word, known)
    return f"did you mean `{near}`?" if near else None
