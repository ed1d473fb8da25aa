"""Delay a trigger's event until Airflow's scheduler can handle it.

A worker that defers a task first reports the deferral and then exits. The scheduler of Airflow 3.3 processes that exit
later, as "success" of the same try. If the task instance is queued or running again by then, the scheduler assumes that
it was killed and fails it (`SchedulerJobRunner.process_executor_events`). The states deferred, and scheduled with a
`next_method`, are safe. So an event is safe once the scheduler has processed the exit. Airflow does not record when it
has, so a trigger can only use the time since the deferral.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from airflow_batchemr import settings

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger


async def hold_event(trigger: BaseTrigger, deferred_at: float | None) -> None:
    """Wait until the trigger may yield an event that resumes its task. Call it right before the `yield`.

    Returns immediately if the task was deferred long enough ago, or without a scheduler, as in `dag.test()`.
    Never waits longer than the setting, even if the worker's clock is ahead of the triggerer's.

    Args:
        trigger: Trigger that is about to fire.
        deferred_at: Time of the deferral, in seconds since the epoch. None means unknown; then it does not wait.
    """
    if deferred_at is None or trigger.trigger_id is None:  # only a triggerer sets the id
        return
    minimum = settings.engine_policy().min_deferral
    left = min(deferred_at + minimum - time.time(), minimum)
    if left > 0:
        trigger.log.info("Resuming the task in %.0f s: a deferral lasts at least %.0f s", left, minimum)
        await asyncio.sleep(left)
