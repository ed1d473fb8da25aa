"""Errors in pipeline files, with file, line, column, the source line and a hint."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.core.foreign_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Limits of suggestions: comparing two names takes the product of their lengths. There are about 600 time zones.
_MAX_NAME, _MAX_KNOWN = 128, 1_000

Severity = Literal["error", "warning", "note"]


class Refusal(ValueError):  # noqa: N818 - raised in validators, never seen by users
    """Raised for an invalid value; pydantic collects it, and the loader turns it into a `PipelineFileError`.

    Args:
        message: what is wrong and what was expected.
        hint: how to fix it, or what was probably meant.
        at: path from the model to the value.
    """

    def __init__(self, message: str, hint: str | None = None, at: Iterable[str | int] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.at = tuple(at)


class PipelineFileError(Exception):
    """An error or warning in a pipeline file.

    A policy may raise it with only a message and a hint; it is then reported at the pipeline's position.

    Args:
        message: what is wrong and what was expected.
        hint: how to fix it, or what was probably meant.
        path: the file.
        line: 1-based line; None if the error concerns the whole file.
        column: 1-based column.
        source: the text of the line.
        width: number of columns to underline.
        pipeline: the pipeline with the error; None if it is outside of any pipeline.
        severity: `error`; `warning` for valid but probably unintended values; `note` for changes made by an importer.
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
        message = clean(message)
        super().__init__(message)
        self.message = message
        self.hint = clean(hint) if hint else hint
        self.path = path
        self.line = line
        self.column = column
        self.source = source
        self.width = width
        self.pipeline = pipeline
        self.severity: Severity = severity

    @property
    def where(self) -> str:
        """`file:line:column`, which editors and terminals turn into links."""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        """The position, the message, the source line with a caret, and the hint, safe to display."""
        where = self.where
        lines = [f"{where}: {self.severity}: {self.message}" if where else self.message]
        if self.source is not None and self.line is not None and self.column is not None:
            number = f"{self.line:>5} | "
            shown, column = _window(self.source, self.column)
            before, rest = clean(shown[: column - 1]), clean(shown[column - 1 :])
            lines.append(f"{number}{before}{rest}")
            pad = "".join("\t" if char == "\t" else " " for char in before)
            room = max(1, len(rest))
            lines.append(f"{' ' * 5} | {pad}{'^' * max(1, min(self.width, room))}")
        if self.hint:
            lines.append(f"{' ' * 6}= {self.hint}")
        return clean("\n".join(lines))


def _window(source: str, column: int, size: int = 160) -> tuple[str, int]:
    """The part of a long line around a column, and the column within that part."""
    if len(source) <= size:
        return source, column
    start = max(0, min(column - 1 - size // 2, len(source) - size))
    return source[start : start + size], column - start


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The most similar known name, None if none is similar."""
    names = list(islice(known, _MAX_KNOWN))
    if len(str(name)) > _MAX_NAME:
        return None
    lower = {known_name.lower(): known_name for known_name in reversed(names)}
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), lower, n=1, cutoff=0.6)
    return lower[near[0]] if near else None


def guess(name: object, known: Iterable[str]) -> str | None:
    """`did you mean …?` for a misspelled name, None if no known name is similar."""
    near = nearest(name, known)
    return f"did you mean `{near}`?" if near else None
