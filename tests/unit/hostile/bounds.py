"""Bounds on what a reader of foreign data may use: memory and executed lines, not time, as machines are noisy."""

from __future__ import annotations

import sys
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def bounded(*, memory: int, lines: int) -> Iterator[None]:
    """Fail as soon as the block executes more lines of Python, and at its end if its peak memory was higher.

    Args:
        memory: Bytes that the block may allocate at any one time, beyond what was allocated before.
        lines: Lines of Python that it may execute, in all functions that it calls in this thread.
    """
    executed = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal executed
        if event == "line":
            executed += 1
            if executed > lines:
                sys.settrace(None)
                raise AssertionError(f"executed more than {lines:,} lines, now in {frame.f_code.co_name}")
        return trace

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert executed <= lines, f"executed more than {lines:,} lines, and caught the error"
    assert peak <= memory, f"the peak of memory was {peak:,} bytes, the bound is {memory:,}"
