"""A person's word to stop, carried out for many tasks at once, and however long AWS cannot be reached."""

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

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from airflow_batchemr.aws.batch.children import Parent
    from airflow_batchemr.aws.clients import Clients

T = TypeVar("T")

#: Stops at once. A thousand tasks that are cleared together neither fill the triggerer's own threads nor flood AWS.
THREADS = 8
#: Seconds to the second try, and at most between two.
FIRST, MOST = 2.0, 120.0
#: Seconds at most in which the stops of other tasks are waited for, to look for the children of all together.
GATHERING = 10.0

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="batchemr-stop")
_under_way: set[asyncio.Task[None]] = set()


async def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work that goes on when who waits is cancelled: Airflow gives `on_kill` 30 s and does not ask twice."""
    task = asyncio.get_running_loop().create_task(work)
    _under_way.add(task)
    task.add_done_callback(_done)
    await asyncio.shield(task)


def _done(task: asyncio.Task[None]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()  # it is in the log; perhaps nobody waits for it any more


async def insist(call: Callable[[], T], clients: Callable[[], Clients], log: Any) -> T:
    """Make calls in a thread of ours, again while AWS cannot be reached, for hours.

    Args:
        call: blocking, and repeated whole.
        clients: gives the clients that it uses; they are renewed where their credentials may be what is wrong.
        log: the trigger's.

    Raises:
        AwsError, LedgerError: AWS has said no for minutes, or could not be reached for hours.
    """
    loop, began, tries = asyncio.get_running_loop(), time.monotonic(), 0
    while True:
        try:
            # In a context whose lines are in the task's log
            return await loop.run_in_executor(_threads, copy_context().run, call)
        except FAILURES as error:
            policy = settings.engine_policy()
            if time.monotonic() - began >= (policy.outage_limit if passing(error) else policy.refusal_limit):
                log.error("Not stopped, `batchemr orphans` finds what still runs: %s", error)  # noqa: TRY400 - no trace
                raise
            wait = pause(tries, first=FIRST, longest=MOST)
            log.warning("Not stopped yet (%s): trying again in %.0f s", error, wait)
            if stale(error):  # in a thread: who holds the clients' lock may be asking Airflow, which this loop serves
                await loop.run_in_executor(_threads, clients().renew)
            await asyncio.sleep(wait)
            tries += 1


class Gathering:
    """The children of stopped Batch jobs, looked for together: one of a connection, region and loop.

    A look for one job costs as many calls as a look for a thousand.
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
        """While a job is being stopped whose children are then to be looked for."""
        self._coming += 1
        self._all_here.clear()
        try:
            yield
        finally:
            self._coming -= 1
            if not self._coming:
                self._all_here.set()

    async def stop(self, parents: Sequence[Parent], log: Any) -> None:
        """Stop the children of jobs that have been ended; raises as `insist` does."""
        loop = asyncio.get_running_loop()
        if self._looked is None:
            self._looked = loop.create_future()
        self._parents += parents
        looked = self._looked
        if self._round is None or self._round.done():
            self._round = loop.create_task(self._rounds(log))
        await asyncio.shield(looked)

    async def _rounds(self, log: Any) -> None:
        """One look after the other, while there are parents; who comes during a look is in the next one."""
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
