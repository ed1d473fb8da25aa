"""Wait during an outage of AWS, without occupying a worker slot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.triggers.base import LedgerTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.ledger import Submission

#: `status` of its event.
AGAIN = "again"


class OutageTrigger(LedgerTrigger):
    """Waits until `wake_at`, when the operator repeats its pass.

    Args:
        event: Event that the operator was called with, for the next call; None at the start of a try.
        since: Time at which AWS could not be reached for the first time, in seconds since the epoch.
        looks: Number of tries since then.
        **kwargs: Arguments of `LedgerTrigger`. `submissions` are those known to be open; the try may have claimed more.
    """

    def __init__(self, *, event: dict[str, Any] | None, since: float, looks: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.event = event
        self.since = since
        self.looks = looks

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that create this trigger again."""
        return {"event": self.event, "since": self.since, "looks": self.looks, **super().arguments()}

    async def wait(self) -> dict[str, Any]:
        """Return at `wake_at`, with the status `again`."""
        await asyncio.sleep(self.time_left() or 0.0)
        return self.payload(status=AGAIN, event=self.event, since=self.since, looks=self.looks)

    def wanted(self, submissions: Sequence[Submission]) -> list[Submission]:
        """The known open submissions, and those that this try or an earlier one claimed without recording a wait."""
        who = JobIdentity(**self.identity)
        return [
            one
            for one in submissions
            if one.open
            and (
                one.number in self.submissions
                or (
                    one.intent is not None
                    and (one.intent.run_id, one.intent.task_id) == (who.run_id, who.task_id)
                    and one.intent.try_number <= who.try_number
                )
            )
        ]
