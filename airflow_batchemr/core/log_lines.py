"""Lines of logs, bounded and safe to display: whoever writes a log decides how long its lines are, and how many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.secret_values import without

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: Characters of a line that are searched for a failure. Python's and Java's messages begin with what matters.
LINE = 8_192
#: Lines that are copied to the task log at one time, and characters of each.
LIVE_LINES, LIVE_LINE = 200, 2_000


def cut(text: str, length: int = LINE) -> str:
    """The beginning of a text, with a note if there is more."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text) - length:,} more characters)"


def lines_of(text: str) -> list[str]:
    """The lines of a log: cleaned, and cut to 8,192 characters."""
    return [cut(line) for line in clean(text).splitlines()]


def live_lines(lines: Collection[str], where: str, dropped: int = 0) -> list[str]:
    """The last lines, as they are copied to the task log, with a note if there were more.

    Args:
        lines: New lines, the oldest first.
        where: What has all lines, for the note.
        dropped: Number of earlier lines that are not in `lines`.
    """
    kept = list(lines)[-LIVE_LINES:]
    dropped += len(lines) - len(kept)
    note = [f"({dropped:,} earlier lines are in {where} only)"] if dropped else []
    return [*note, *cut_all(kept, LIVE_LINE)]


def program_line(line: str, secrets: Collection[str]) -> str:
    """A line of a program as it is shown in the task log: without secrets, and with a mark.

    An event of CloudWatch may have several lines; without marks, the others look like lines of Airflow.
    """
    return "| " + without(secrets, line).replace("\n", "\n| ")


def cut_all(lines: Iterable[str], length: int) -> list[str]:
    """Each line without its end of line, cut."""
    return [cut(line.rstrip(), length) for line in lines]
