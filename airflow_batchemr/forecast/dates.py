"""The logical date of the forecast run."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file import Pipeline


def run_date(pipeline: Pipeline, date: str | None) -> dt.datetime:
    """Return the logical date of a run, in UTC.

    Args:
        pipeline: Pipeline of the run.
        date: ISO date or date and time, in the time zone of the pipeline; a date alone is the first run that is due on
            that day. None: the last run that was due, or now without a cron schedule.

    Raises:
        ValueError: `date` is not an ISO date.
    """
    zone = ZoneInfo(pipeline.timezone)
    if date is None:
        now = dt.datetime.now(zone).replace(microsecond=0)
        return (_due(pipeline, now, "get_prev") or now).astimezone(dt.timezone.utc)
    moment = dt.datetime.fromisoformat(date.replace("Z", "+00:00"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    if len(date) == len("2026-11-20"):
        first = _due(pipeline, moment - dt.timedelta(seconds=1), "get_next")
        moment = first if first and first.date() == moment.date() else moment
    return moment.astimezone(dt.timezone.utc)


def _due(pipeline: Pipeline, moment: dt.datetime, which: Literal["get_prev", "get_next"]) -> dt.datetime | None:
    """Return when the cron schedule is due before or after a time; None if there is none, or it is never due."""
    cron = pipeline.schedule.cron if pipeline.schedule else None
    if cron is None or cron in ("@once", "@continuous"):
        return None
    try:
        due: dt.datetime = getattr(croniter(cron, moment), which)(dt.datetime)
    except CroniterBadDateError:
        return None
    return due
