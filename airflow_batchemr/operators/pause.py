"""`schedule: {continuous: {pause: …}}`: the pause between two runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_batchemr.operators.options import duration
from airflow_batchemr.operators.retries import RetryingOperator
from airflow_batchemr.triggers.timer import TimerTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class PauseOperator(RetryingOperator):
    """Waits, without occupying a worker slot, until some time has passed since the end of the last run.

    Airflow starts the next run of a continuous Dag as soon as the last one has ended, and a timetable does not know
    when it ended, so the first task of the run waits. Manually triggered runs do not wait.

    Args:
        seconds: between the end of a run and the work of the next; a number, or a duration such as 15m.
        **kwargs: of Airflow's BaseOperator.
    """

    ui_color = "#eeeeee"

    def __init__(self, *, seconds: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = duration("seconds", seconds)

    def execute(self, context: Context) -> None:
        """Wait for the rest of the pause."""
        if context["dag_run"].run_type != "scheduled":
            return
        before = context["ti"].get_previous_dagrun()
        if before is None or before.end_date is None:
            return
        now, until = time.time(), before.end_date.timestamp() + self.seconds
        if until > now:
            self.log.info("The last run ended at %s: waiting for %.0f s", before.end_date, until - now)
            self.defer(trigger=TimerTrigger(wake_at=until, deferred_at=now), method_name="over")

    def over(self, context: Context, event: Any = None) -> None:
        """End the task after the pause."""
