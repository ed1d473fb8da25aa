"""What the commands print, made safe to display: one place for all of them, including errors and tracebacks."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.foreign_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class SafeStream:
    """A text stream that makes everything that is written to it safe to display.

    Rich writes to the stream behind it (`rich_proxied_file`), because its colors are escape sequences. Text that Rich
    prints has to be clean before.
    """

    def __init__(self, stream: Any) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write text with unsafe characters removed or escaped."""
        self.rich_proxied_file.write(clean(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def install() -> None:
    """Make stdout and stderr safe until the process ends, so that the traceback of an error is safe too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, SafeStream):
            setattr(sys, name, SafeStream(stream))


def write_clean(text: str) -> None:
    """Write to stdout text that is clean already, apart from our own colors."""
    getattr(sys.stdout, "rich_proxied_file", sys.stdout).write(text)


def write_exact(text: str) -> None:
    """Write to stdout text that another program may read: unchanged, unless stdout is a terminal."""
    if sys.stdout.isatty():
        sys.stdout.write(text)
    else:
        write_clean(text)


@contextmanager
def clean_usage_errors() -> Iterator[None]:
    """Make the messages of usage errors safe, which Typer prints with Rich. They quote arguments such as file names."""
    try:
        yield
    except Exception as error:
        message = getattr(error, "message", None)
        if isinstance(message, str):
            error.message = clean(message)  # type: ignore[attr-defined]
        raise
