"""A rate of calls that the threads of a process share."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_batchemr.aws.errors import Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Longest interval between two calls while AWS throttles, in seconds.
LONGEST_INTERVAL = 5.0
#: Each call that AWS does not throttle shortens the interval by this factor, until the normal rate is reached again.
RECOVERY = 0.97


class Rate:
    """Spaces calls, as AWS's token buckets do; throttling of one of them slows down all.

    Args:
        per_second: calls per second while AWS does not throttle.
        burst: calls that are made at once after a pause.
    """

    def __init__(self, per_second: float, burst: int = 1) -> None:
        self._shortest = self._interval = 1.0 / per_second
        self._burst = burst
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Wait for this call's turn."""
        with self._lock:
            now = time.monotonic()
            # After throttling, a burst would be throttled again
            burst = self._burst if self._interval <= self._shortest else 1
            self._next = max(self._next, now - (burst - 1) * self._interval)
            turn = self._next
            self._next += self._interval
        if turn > now:
            sleep(turn - now)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn of the call within, and adapt the rate to its outcome."""
        self.wait()
        try:
            yield
        except Throttled:
            with self._lock:
                self._interval = min(LONGEST_INTERVAL, self._interval * 2)
                self._next = max(self._next, time.monotonic() + self._interval)
            raise
        with self._lock:
            self._interval = max(self._shortest, self._interval * RECOVERY)
