"""A person's word to stop, carried out however long AWS cannot be reached."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.poller import PATIENCE as DENIED_FOR
from airflow_batchemr.operators.outage import FAILURES, PATIENCE, passing, pause, stale

if TYPE_CHECKING:
    from collections.abc import Callable

#: Stops at once. A thousand tasks that are cleared together neither fill the triggerer's own threads nor flood AWS.
THREADS = 8
#: Seconds to the second try, and at most between two.
FIRST, MOST = 2.0, 120.0

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="batchemr-stop")
_under_way: set[asyncio.Task[None]] = set()


async def insist(stop: Callable[[], None], renew: Callable[[], None], log: Any) -> None:
    """Carry out a stop in a thread of ours, again while AWS cannot be reached, for hours.

    It goes on when who waits for it is cancelled: Airflow gives a trigger's `on_kill` 30 s and does not ask twice.

    Args:
        stop: makes the calls; blocking, and to be repeated whole.
        renew: gets fresh credentials, where they may be what is wrong.
        log: the trigger's.

    Raises:
        AwsError, LedgerError: AWS has said no for minutes, or could not be reached for hours.
    """
    task = asyncio.get_running_loop().create_task(_insist(stop, renew, log))
    _under_way.add(task)
    task.add_done_callback(_done)
    await asyncio.shield(task)


def _done(task: asyncio.Task[None]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()  # it is in the log; perhaps nobody waits for it any more


async def _insist(stop: Callable[[], None], renew: Callable[[], None], log: Any) -> None:
    loop, began, tries = asyncio.get_running_loop(), time.monotonic(), 0
    while True:
        try:
            await loop.run_in_executor(_threads, copy_context().run, stop)  # whose lines are in the task's log
        except FAILURES as error:
            outage = passing(error)
            if time.monotonic() - began >= (PATIENCE if outage else DENIED_FOR):
                log.error("Not stopped, `batchemr orphans` finds what still runs: %s", error)  # noqa: TRY400 - no trace
                raise
            wait = pause(tries, first=FIRST, most=MOST)
            log.warning("Not stopped yet (%s): trying again in %.0f s", error, wait)
            if stale(error):
                renew()
            await asyncio.sleep(wait)
            tries += 1
        else:
            if tries:
                log.info("Stopped")
            return
