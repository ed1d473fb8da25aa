"""A clock that skips waits: each sleep moves it forward, so that minutes of grace pass in milliseconds."""

from __future__ import annotations

import asyncio
import inspect
import selectors
import sys
import threading
import time

import airflow_batchemr.local.clock
from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.rate import Rate

#: Seconds of this clock that pass per real second during a sleep.
RATE = 100.0
PACKAGE = "airflow_batchemr"


class Clock:
    """Replaces the module `time`: real time plus skipped time.

    Only idle time is skipped. Work takes real time, so that timeouts are not shorter than in production.
    """

    def __init__(self):
        self._ahead = 0.0
        self._lock = threading.Lock()

    def __getattr__(self, name):
        return getattr(time, name)

    def time(self):
        return time.time() + self._ahead

    def monotonic(self):
        return time.monotonic() + self._ahead

    def clock_gettime(self, which):
        return time.clock_gettime(which) + self._ahead

    def sleep(self, seconds):
        time.sleep(seconds / RATE)
        self.skip(seconds - seconds / RATE)

    def skip(self, seconds):
        """Move forward."""
        with self._lock:
            self._ahead += seconds

    def run(self, coroutine):
        """Like `asyncio.run`, in an event loop that uses this clock."""
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(coroutine)


class _AwsClock:
    """Gives the local AWS this clock's time. Its timers are real, because its commands are."""

    def __init__(self, clock):
        self.time = clock.time

    def __getattr__(self, name):
        return getattr(time, name)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock):
        self._clock, self._busy = clock, 0
        super().__init__(_Selector(clock, lambda: self._busy))

    def time(self):
        return self._clock.monotonic()

    def run_in_executor(self, executor, func, *args):
        future = super().run_in_executor(executor, func, *args)
        self._busy += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _):
        self._busy -= 1


class _Selector(selectors.DefaultSelector):
    """Skips waits during which no thread works for the loop."""

    def __init__(self, clock, busy):
        super().__init__()
        self._clock, self._busy = clock, busy

    def select(self, timeout=None):
        if timeout is None or timeout <= 0 or self._busy():
            return super().select(timeout)
        ready = super().select(timeout / RATE)
        if not ready:
            self._clock.skip(timeout - timeout / RATE)
        return ready


def install(monkeypatch, clock):
    """Make the product and the local AWS use this clock. All uses of the real time are replaced here."""
    monkeypatch.setattr(airflow_batchemr.local.clock, "time", _AwsClock(clock))
    monkeypatch.setattr(
        jobs, "_rate", Rate(jobs.SUBMITS_A_SECOND)
    )  # it stores the time of the process's last submission
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != PACKAGE or name.startswith(f"{PACKAGE}.local"):
            continue
        if getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", clock)
        for function in _functions(module):
            _replace_default(monkeypatch, function, clock)


def _functions(module):
    """Yield the functions and methods that a module defines."""
    for value in vars(module).values():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            yield from (one for one in vars(value).values() if inspect.isfunction(one))


def _replace_default(monkeypatch, function, clock):
    """Replace defaults such as `sleep=time.sleep`, which are bound when the function is defined."""
    keywords = function.__kwdefaults__ or {}
    if time.sleep in keywords.values():
        changed = {name: clock.sleep if value is time.sleep else value for name, value in keywords.items()}
        monkeypatch.setattr(function, "__kwdefaults__", changed)
    positional = function.__defaults__ or ()
    if time.sleep in positional:
        changed = tuple(clock.sleep if value is time.sleep else value for value in positional)
        monkeypatch.setattr(function, "__defaults__", changed)
