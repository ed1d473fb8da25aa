"""Checks of a pipeline: its schedule, dates, params and shared clusters."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.checks.clusters import cluster
from airflow_batchemr.pipeline_file.checks.names import name as name_of
from airflow_batchemr.pipeline_file.checks.params import param
from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.needs import needs_of
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Pipeline


def pipeline(pipeline: Pipeline) -> Iterator[Problem]:
    """Check a pipeline, except for its jobs."""
    yield from _times(pipeline)
    yield from _clusters(pipeline)
    # A custom timetable may have no scheduled runs.
    scheduled = pipeline.schedule is not None and pipeline.schedule.timetable is None
    for name, model in pipeline.params.items():
        yield from param(name, model, scheduled=scheduled)


def _times(pipeline: Pipeline) -> Iterator[Problem]:
    if pipeline.timezone != "UTC":
        try:
            zoneinfo.ZoneInfo(pipeline.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            hint = guess(pipeline.timezone, zoneinfo.available_timezones())
            yield Problem(
                ("timezone",),
                f"unknown time zone {pipeline.timezone}",
                hint or "use an IANA name such as Europe/Berlin",
            )
            return
    start, end = (_moment(moment) for moment in (pipeline.start_date, pipeline.end_date))
    if start is not None and end is not None and end < start:
        yield Problem(("end_date",), "`end_date` is before `start_date`")
    cron = pipeline.schedule.cron if pipeline.schedule is not None else None
    if cron is not None and not cron.startswith("@") and _never_fires(cron):
        yield Problem(("schedule",), f"the schedule never fires: {cron}", "none of its months has that day", "warning")
    if pipeline.catchup and pipeline.start_date is None:
        yield Problem(("catchup",), "`catchup` requires a `start_date`")
    if pipeline.overlap is not None and (pipeline.max_active_runs or 1) > 1:
        message = f"`overlap: {pipeline.overlap}` contradicts `max_active_runs: {pipeline.max_active_runs}`"
        yield Problem(("overlap",), message, "`overlap` allows one active run: remove one of them")


def _moment(moment: Any) -> Any:
    return moment.replace(tzinfo=None) if moment is not None else None


def _never_fires(cron: str) -> bool:
    """Whether the cron expression only selects days that its months do not have, such as 30 February."""
    _, _, days, months, weekdays = cron.split()
    if weekdays != "*" or days == "*":
        return False
    from croniter import croniter  # noqa: PLC0415 - as in the model

    expanded = croniter.expand(cron)[0]
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    numbers = [day for day in expanded[2] if isinstance(day, int)]
    if len(numbers) < len(expanded[2]):
        return False
    named = [month for month in expanded[3] if isinstance(month, int)] if months != "*" else list(range(1, 13))
    return all(min(numbers) > longest.get(month, 31) for month in named)


def _clusters(pipeline: Pipeline) -> Iterator[Problem]:
    used = {job.emr.cluster for job in pipeline.jobs.values() if job.emr is not None}
    for name, emr in pipeline.clusters.items():
        at = ("clusters", name)
        yield from name_of(name, "cluster", at)
        if name in pipeline.jobs:
            yield Problem(at, f"a job and a cluster have the same name: {name}", "rename one of them", key=True)
        if emr.existing:
            message = "`clusters` defines clusters that are created for each run"
            yield Problem(at, message, "to use an existing cluster, set `emr: {cluster_id: …}` in its jobs", key=True)
            continue
        if name not in used:
            yield Problem(
                at,
                f"no job uses the cluster `{name}`",
                f"set `emr: {{cluster: {name}}}` in a job, or remove the cluster",
                "warning",
                key=True,
            )
        users = [job for job in pipeline.jobs.values() if job.emr is not None and job.emr.cluster == name]
        yield from cluster(emr, at, needs_of(users), waits_for_jobs=True)
