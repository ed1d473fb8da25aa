"""Trigger that waits for a time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batchemr.task_log import CleanLog
from airflow_batchemr.triggers.hold import hold_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TimerTrigger(CleanLog, BaseTrigger):
    """Waits until a time. Unlike Airflow's DateTimeTrigger, it does not end a deferral too early; see `hold_event`.

    Args:
        wake_at: Time at which to fire, in seconds since the epoch.
        event: Payload of the event.
        deferred_at: Time at which the task was deferred, in seconds since the epoch.
    """

    def __init__(
        self, *, wake_at: float, event: dict[str, Any] | None = None, deferred_at: float | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wake_at = wake_at
        self.event = event
        self.deferred_at = deferred_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "wake_at": self.wake_at,
            "event": self.event,
            "deferred_at": self.deferred_at,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        await asyncio.sleep(max(0.0, self.wake_at - time.time()))
        await hold_event(self, self.deferred_at)
        yield TriggerEvent(self.event)  # type: ignore[no-untyped-call]
