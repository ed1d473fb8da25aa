"""A position in a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourcePosition:
    """A position in a file.

    Attributes:
        line: 1-based line.
        column: 1-based column.
        width: number of columns on that line.
    """

    line: int
    column: int
    width: int = 1
