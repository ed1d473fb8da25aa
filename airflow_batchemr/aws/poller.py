"""One poll loop for many waits: a hundred ids per call, in threads, slower when AWS throttles; no error ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_batchemr.aws.errors import AwsError, classify
from airflow_batchemr.engine.policy import DEFAULT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence

log = logging.getLogger(__name__)

T = TypeVar("T")
S = TypeVar("S")

#: An id that has not changed for t seconds is polled again after t x this: 30 s are reached after ten minutes.
SHARE_OF_AGE = 0.05
#: Longest pause in seconds while AWS throttles or cannot be reached.
SLOWEST = 120.0
#: Seconds before the first poll, so that waits that start together share it.
GATHERING = 0.2
#: Concurrent calls. Two are enough for 1,000 waits; more would only be throttled sooner.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Sighting(Generic[T]):
    """The result of one poll of an id."""

    value: T | None
    """AWS's description; None if AWS does not know the id."""
    changed: bool
    """Whether it differs from the last poll, or is the first."""


@dataclass(eq=False, slots=True)
class _Wait(Generic[T]):
    pending: dict[str, Sighting[T]] = field(default_factory=dict)
    failure: AwsError | None = None
    warning: str | None = None
    """A message for the task's log."""
    denied_since: float | None = None
    waker: asyncio.Future[None] | None = None
    """Exists only while a coroutine awaits it: an Event would cost 700 bytes for each of a thousand waits."""

    def wake(self) -> None:
        if self.waker is not None and not self.waker.done():
            self.waker.set_result(None)

    async def something(self) -> None:
        while not self.pending and self.failure is None and self.warning is None:
            self.waker = asyncio.get_running_loop().create_future()
            await self.waker


@dataclass(eq=False, slots=True)
class _Entry(Generic[T]):
    waits: set[_Wait[T]]
    due: float
    since: float
    seen: bool = False
    value: T | None = None


class Poller(Generic[T]):
    """Polls many ids on behalf of many waits, within one asyncio loop.

    Args:
        describe: `ids -> {id: description}`, a blocking function called in a thread with at most `chunk` ids. An id
            that AWS does not know is left out. It raises what boto3 raises.
        chunk: ids per call (DescribeJobs accepts 100).
        same: whether two descriptions count as unchanged: polls get less frequent while nothing changes.
        shortest: seconds between two rounds, and from a change to the next poll.
        longest: seconds between two polls of an id that does not change.
        patience: seconds for which AWS may refuse the calls before the waits fail.
    """

    def __init__(
        self,
        describe: Callable[[Sequence[str]], Mapping[str, T]],
        *,
        chunk: int = 100,
        same: Callable[[T | None, T | None], bool] = lambda before, after: before == after,
        shortest: float = DEFAULT.batch_poll_shortest,
        longest: float = DEFAULT.batch_poll_longest,
        patience: float = DEFAULT.refusal_limit,
    ) -> None:
        self._describe = describe
        self._chunk = chunk
        self._same = same
        self._shortest, self._longest, self._patience = shortest, longest, patience
        self._entries: dict[str, _Entry[T]] = {}
        self._loop_task: asyncio.Task[None] | None = None
        self._joined = asyncio.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._slowness = 0

    async def watch(
        self, ids: Sequence[str], warn: Callable[[str], object] = log.warning
    ) -> AsyncGenerator[Mapping[str, Sighting[T]], None]:
        """Join the loop; yield the results of the ids since the last time, as soon as there are any.

        It ends when the caller closes it (`aclosing`).

        Args:
            ids: what to poll.
            warn: logs a message in the wait's own log when AWS begins to refuse the calls.

        Raises:
            AwsError: AWS has refused the calls, or answered them unexpectedly, for minutes: a user has to act.
        """
        ids = tuple(ids)
        wait: _Wait[T] = _Wait()
        now = time.monotonic()
        for id_ in ids:
            entry = self._entries.get(id_)
            if entry is None:
                entry = self._entries[id_] = _Entry(set(), due=now, since=now)
            elif entry.seen:
                wait.pending[id_] = Sighting(entry.value, changed=True)
            entry.waits.add(wait)
        self._joined.set()
        if self._loop_task is None or self._loop_task.done():
            self._loop_task = asyncio.get_running_loop().create_task(self._run(), name=f"batchemr poller {id(self)}")
        try:
            while True:
                await wait.something()
                if wait.failure is not None:
                    raise wait.failure
                if wait.warning is not None:
                    warn(wait.warning)
                    wait.warning = None
                if not wait.pending:
                    continue
                seen, wait.pending = wait.pending, {}
                yield seen
        finally:
            for id_ in ids:
                entry = self._entries.get(id_)
                if entry is not None:
                    entry.waits.discard(wait)
                    if not entry.waits:
                        del self._entries[id_]

    def __len__(self) -> int:
        """How many ids are being polled."""
        return len(self._entries)

    async def _run(self) -> None:
        # Wait a moment before the first poll, so that a thousand waits that start together share their first calls
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="batchemr-poll")
        try:
            pause, looked = min(GATHERING, self._shortest), False
            while True:
                self._joined.clear()
                await self._sleep(pause)
                if not self._entries:
                    return
                await self._round()
                if not looked:  # the first poll has loaded clients and their models
                    looked = True
                    _leave_out_of_collections()
                pause = self._pause()
        finally:
            self._threads.shutdown(wait=False)
            self._threads = None

    async def _sleep(self, seconds: float) -> None:
        """Sleep; a new wait shortens a long pause to the shortest one, except while AWS throttles."""
        started = time.monotonic()
        shortest = min(seconds, self._shortest if not self._slowness else seconds)
        await asyncio.sleep(shortest)
        rest = seconds - (time.monotonic() - started)
        if rest > 0 and not self._joined.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._joined.wait(), rest)

    def _pause(self) -> float:
        jitter = random.uniform(0.85, 1.15)  # noqa: S311 - so that many triggerers do not call at the same time
        if self._slowness:
            return min(SLOWEST, self._shortest * (1 << self._slowness)) * jitter
        if not self._entries:
            return self._shortest
        next_due = min(entry.due for entry in self._entries.values()) - time.monotonic()
        return max(self._shortest, next_due) * jitter

    def _chosen(self) -> list[str]:
        """The ids that are due and, up to a full `chunk` per call, those that are due next."""
        now = time.monotonic()
        # Include ids that are due within half an interval, or two waits out of phase would need two calls per interval
        horizon = now + self._shortest / 2
        by_due = sorted(self._entries, key=lambda id_: self._entries[id_].due)
        due = sum(1 for entry in self._entries.values() if entry.due <= horizon)
        calls = -(-due // self._chunk)
        return by_due[: calls * self._chunk]

    async def _round(self) -> None:
        chosen = self._chosen()
        chunks = [chosen[start : start + self._chunk] for start in range(0, len(chosen), self._chunk)]
        answers = await asyncio.gather(*(self._ask(chunk) for chunk in chunks))
        failures = [answer for answer in answers if isinstance(answer, AwsError)]
        if not failures:
            if self._slowness:
                self._slowness = 0
                for wait in self._waits():
                    wait.denied_since = None
            return
        self._slowness = min(self._slowness + 1, 6)
        log.warning("Polling more slowly (next poll in about %.0f s): %s", self._pause(), failures[0])
        denied = next((failure for failure in failures if not failure.transient), None)
        if denied is not None:
            self._denied(denied)

    async def _ask(self, ids: list[str]) -> AwsError | None:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._describe, ids)
        except Exception as error:  # noqa: BLE001 - no error may end the waits
            return classify(error)
        now = time.monotonic()
        for id_ in ids:
            entry = self._entries.get(id_)
            if entry is None:  # its wait has ended in the meantime
                continue
            value = answer.get(id_)
            changed = not entry.seen or value != entry.value
            if not entry.seen or not self._same(entry.value, value):
                entry.since = now
            entry.seen, entry.value = True, value
            entry.due = now + min(self._longest, max(self._shortest, (now - entry.since) * SHARE_OF_AGE))
            for wait in entry.waits:
                wait.pending[id_] = Sighting(value, changed=changed)
                wait.wake()
        return None

    def _denied(self, denied: AwsError) -> None:
        """Warn in each wait's log at the first refusal; fail the waits once they have been refused for too long."""
        now = time.monotonic()
        for wait in self._waits():
            if wait.denied_since is None:
                wait.denied_since = now
                text = str(denied).rstrip(".")
                wait.warning = f"{text}. Retrying for {self._patience / 60:.0f} minutes before the task fails"
                wait.wake()
            elif now - wait.denied_since >= self._patience:
                wait.failure = denied
                wait.wake()

    def _waits(self) -> set[_Wait[T]]:
        return {wait for entry in self._entries.values() for wait in entry.waits}


def _leave_out_of_collections() -> None:
    """Exclude all current objects from the garbage collector's full collections.

    A full collection visits everything that Airflow has imported. That takes 150 to 650 ms, in which no trigger of the
    process runs, and frees nothing.
    """
    gc.freeze()


_shared: dict[Hashable, tuple[asyncio.AbstractEventLoop, Any]] = {}
_shared_lock = threading.Lock()


def shared_poller(key: Hashable, make: Callable[[], S]) -> S:
    """The poller (or an object that has one) of this asyncio loop for a key: `(connection, region, kind)`.

    A triggerer is one process with one loop, so all its waits of a connection, region and kind share it.
    """
    loop = asyncio.get_running_loop()
    with _shared_lock:
        for other in [where for where, (owner, _) in _shared.items() if owner.is_closed()]:
            del _shared[other]
        where = (id(loop), key)
        if not _shared:
            _leave_out_of_collections()
        if where not in _shared:
            _shared[where] = (loop, make())
        found: S = _shared[where][1]
        return found
