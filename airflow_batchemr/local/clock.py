"""Delayed calls from a single thread."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "Timer", "milliseconds"]

log = logging.getLogger(__name__)


def milliseconds() -> int:
    """Return the current time in milliseconds, the format of AWS Batch."""
    return int(time.time() * 1000)


class Timer:
    """A delayed call that can be cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Cancel the call."""
        self.call = None


class Clock:
    """Calls functions after a delay.

    Attributes:
        speed: Factor by which AWS's own long periods (attempt timeouts, idle timeouts, log uploads) are shortened.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._due: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="local-aws-clock", daemon=True)
        self._thread.start()

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call `call` after a number of real seconds."""
        timer = Timer(call)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), timer))
            self._changed.notify()
        return timer

    def after_aws(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call `call` after a period defined by AWS, shortened by `speed`."""
        return self.after(seconds / self.speed, call)

    def close(self) -> None:
        """Stop the thread. Pending calls are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._closed:
                    return
                timer = heapq.heappop(self._due)[2]
            call = timer.call
            if call is not None:
                try:
                    call()
                except Exception:
                    log.exception("a delayed call failed in the local AWS")
