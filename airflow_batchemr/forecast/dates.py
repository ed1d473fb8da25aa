"""The logical date of the run that a forecast is about."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file import Pipeline


def run_date(pipeline: Pipeline, date: str | None) -> dt.datetime:
    """The logical date of a run, in UTC.

    Args:
        pipeline: whose run it is.
        date: ISO date or date and time, in the time zone of the pipeline; a date alone is the first run that is due on
            that day. None: the last run that was due; without a cron schedule, now.

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
    """When the cron schedule is due before or after a moment; None where there is none, or it never is."""
    cron = pipeline.schedule.cron if pipeline.schedule else None
    if cron is None or cron in ("@once", "@continuous"):
        return None
    try:
        due: dt.datetime = getattr(croniter(cron, moment), which)(dt.datetime)
    except CroniterBadDateError:
        return None
    return due
