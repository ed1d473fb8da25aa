"""Where something stands in a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourcePosition:
    """Where something stands: 1-based line and column, and how many columns it takes on that line."""

    line: int
    column: int
    width: int = 1
