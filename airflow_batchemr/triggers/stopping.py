"""Stop remote work after a user action: for many tasks at once, and repeatedly while AWS cannot be reached."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_batchemr import settings
from airflow_batchemr.aws.batch import children
from airflow_batchemr.aws.outage import FAILURES, passing, pause, stale
from airflow_batchemr.engine.ownership import ForeignWorkError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from airflow_batchemr.aws.batch.children import Parent
    from airflow_batchemr.aws.clients import Clients

T = TypeVar("T")

#: Concurrent stops. A thousand tasks cleared together must neither occupy the triggerer's own threads nor flood AWS.
THREADS = 8
#: First and longest pause between two tries, in seconds.
FIRST, LONGEST = 2.0, 120.0
#: Maximum seconds to wait for the stops of other tasks, to search for the children of all of them together.
GATHERING = 10.0

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="batchemr-stop")
_under_way: set[asyncio.Task[None]] = set()


async def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work that continues if the waiter is cancelled: Airflow gives `on_kill` 30 s and calls it only once."""
    task = asyncio.get_running_loop().create_task(work)
    _under_way.add(task)
    task.add_done_callback(_done)
    await asyncio.shield(task)


def _done(task: asyncio.Task[None]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()  # it has been logged, and the waiter may be gone


async def insist(call: Callable[[], T], clients: Callable[[], Clients], log: Any) -> T:
    """Run a function in a separate thread, and repeat it for hours while AWS cannot be reached.

    Args:
        call: Blocking function, repeated as a whole.
        clients: Returns the clients that it uses. They are renewed if their credentials may be the cause.
        log: Logger of the trigger.

    Raises:
        AwsError, LedgerError: AWS has denied the calls for minutes, or could not be reached for hours.
        ForeignWorkError: a record of the ledger names somebody else's work.
    """
    loop, began, tries = asyncio.get_running_loop(), time.monotonic(), 0
    while True:
        try:
            # In the trigger's context, so that it writes to the task's log
            return await loop.run_in_executor(_threads, copy_context().run, call)
        except FAILURES as error:
            policy = settings.engine_policy()
            limit = policy.outage_limit if passing(error) else policy.refusal_limit
            if time.monotonic() - began >= limit or isinstance(error, ForeignWorkError):
                log.error("Not stopped, `batchemr orphans` finds what still runs: %s", error)  # noqa: TRY400 - no trace
                raise
            wait = pause(tries, first=FIRST, longest=LONGEST)
            log.warning("Not stopped yet (%s): trying again in %.0f s", error, wait)
            if stale(
                error
            ):  # in a thread: the holder of the clients' lock may wait for Airflow, which this loop serves
                await loop.run_in_executor(_threads, clients().renew)
            await asyncio.sleep(wait)
            tries += 1


class Gathering:
    """Searches for the children of many stopped Batch jobs together, per connection, region and event loop.

    A search for the children of one job takes as many calls as a search for those of a thousand.
    """

    def __init__(self, clients: Callable[[], Clients]) -> None:
        self._clients = clients
        self._coming = 0
        self._all_here = asyncio.Event()
        self._all_here.set()
        self._parents: list[Parent] = []
        self._looked: asyncio.Future[None] | None = None
        self._round: asyncio.Task[None] | None = None

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Announce that a job is being stopped whose children have to be searched for next."""
        self._coming += 1
        self._all_here.clear()
        try:
            yield
        finally:
            self._coming -= 1
            if not self._coming:
                self._all_here.set()

    async def stop(self, parents: Sequence[Parent], log: Any) -> None:
        """Stop the children of terminated jobs. Raises the errors of `insist`."""
        loop = asyncio.get_running_loop()
        if self._looked is None:
            self._looked = loop.create_future()
        self._parents += parents
        looked = self._looked
        if self._round is None or self._round.done():
            self._round = loop.create_task(self._rounds(log))
        await asyncio.shield(looked)

    async def _rounds(self, log: Any) -> None:
        """Run one search after another while there are parents. Those added during a search are in the next one."""
        while self._looked is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_here.wait(), GATHERING)
            parents, self._parents, looked, self._looked = self._parents, [], self._looked, None
            try:
                await insist(lambda: children.stop(self._clients(), parents), self._clients, log)  # noqa: B023 - awaited
            except FAILURES as error:
                looked.set_exception(error)
            else:
                looked.set_result(None)
