"""`schedule: {continuous: {pause: …}}`: the pause between two runs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PauseOperator(BaseOperator):
    """Waits, without occupying a worker slot, until a number of seconds have passed since the end of the last run.

    Airflow starts the next run of a continuous Dag as soon as the last one has ended, and a timetable does not know
    when it ended, so the first task of the run waits. Manually triggered runs do not wait.

    Args:
        seconds: between the end of a run and the work of the next.
        **kwargs: of Airflow's BaseOperator.
    """

    ui_color = "#eeeeee"

    def __init__(self, *, seconds: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds

    def execute(self, context: Context) -> None:
        """Wait for the rest of the pause."""
        if context["dag_run"].run_type != "scheduled":
            return
        before = context["ti"].get_previous_dagrun()
        if before is None or before.end_date is None:
            return
        until = before.end_date + dt.timedelta(seconds=self.seconds)
        if until > dt.datetime.now(dt.timezone.utc):
            self.log.info("The last run ended at %s: waiting until %s", before.end_date, until)
            self.defer(trigger=DateTimeTrigger(moment=until), method_name="over")

    def over(self, context: Context, event: Any = None) -> None:
        """End the task after the pause."""
