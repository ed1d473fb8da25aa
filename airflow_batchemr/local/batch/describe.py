"""Jobs in the format of DescribeJobs and ListJobs."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import containers
from airflow_batchemr.local.batch.limits import refuse
from airflow_batchemr.local.batch.state import Job, arn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["JOB_STATUSES", "detail", "page"]

JOB_STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


def detail(job: Job) -> dict[str, Any]:
    """Return the JobDetail of a job."""
    container = containers.container(job)
    container["command"] = containers.arguments(job, container)
    if job.attempts:
        container |= job.attempts[-1]["container"]
    elif job.stream and job.status == "RUNNING":
        container["logStreamName"] = job.stream
    described = {
        **_common(job),
        "jobQueue": job.queue.detail["jobQueueArn"],
        "jobDefinition": job.definition["jobDefinitionArn"],
        "attempts": list(job.attempts),
        "dependsOn": job.request.get("dependsOn", []),
        "parameters": {**job.definition.get("parameters", {}), **job.request.get("parameters", {})},
        "tags": dict(job.tags),
        "propagateTags": job.request.get("propagateTags", False),
        "platformCapabilities": job.definition.get("platformCapabilities", ["EC2"]),
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
        "container": container,
    }
    if job.retry_strategy:
        described["retryStrategy"] = {"attempts": 1, "evaluateOnExit": [], **job.retry_strategy}
    if job.timeout is not None:
        described["timeout"] = {"attemptDurationSeconds": job.timeout}
    if "shareIdentifier" in job.request:
        described["shareIdentifier"] = job.request["shareIdentifier"]
    priority = job.request.get("schedulingPriorityOverride", job.definition.get("schedulingPriority"))
    if priority is not None:
        described["schedulingPriority"] = priority
    if job.children is not None:
        described["arrayProperties"] = {"size": len(job.children), "statusSummary": _summary(job)}
    elif job.parent is not None and job.parent.children is not None:
        described["arrayProperties"] = {"size": len(job.parent.children), "index": job.index, "statusSummary": {}}
    return described


def page(
    jobs: Iterable[Job], status: str | None, filters: list[dict[str, Any]], limit: int, token: str | None
) -> dict[str, Any]:
    """Return a page of ListJobs.

    Args:
        jobs: Candidate jobs in order.
        status: Status filter. Defaults to RUNNING without `filters`; ignored for JOB_NAME.
        filters: Filters of the request, such as JOB_NAME; all must match.
        limit: Maximum number of summaries per page.
        token: `nextToken` of the previous page.
    """
    if any(each["name"] == "JOB_NAME" for each in filters):
        status = None
    elif not filters:
        status = status or "RUNNING"
    if token is not None and not token.isdecimal():
        raise refuse("nextToken is not valid")
    chosen = [
        (position, job)
        for position, job in _positions(jobs)
        if position > int(token or 0)
        and (status is None or job.status == status)
        and all(_matches(job, each["name"], each["values"]) for each in filters)
    ]
    listed = chosen[:limit]
    answer: dict[str, Any] = {"jobSummaryList": [_list_entry(job) for _, job in listed]}
    if len(chosen) > limit:
        answer["nextToken"] = str(listed[-1][0])
    return answer


def _positions(jobs: Iterable[Job]) -> Iterator[tuple[int, Job]]:
    """Yield a position for each job that does not change when other jobs are added or removed."""
    for job in jobs:
        yield (job.number if job.index is None else job.index + 1), job


def _matches(job: Job, name: str, values: list[str]) -> bool:
    if name == "JOB_NAME":
        return any(fnmatch.fnmatchcase(job.name.lower(), value.lower()) for value in values)
    if name == "JOB_DEFINITION":
        known = (job.definition["jobDefinitionName"], job.definition["jobDefinitionArn"].rpartition("/")[2])
        return any(
            fnmatch.fnmatchcase(each.lower(), value.rpartition("/")[2].lower()) for value in values for each in known
        )
    if name == "BEFORE_CREATED_AT":
        return job.created_at < int(values[0])
    if name == "AFTER_CREATED_AT":
        return job.created_at > int(values[0])
    if name == "SHARE_IDENTIFIER":
        return job.request.get("shareIdentifier") in values
    raise refuse(f"unknown filter {name}")


def _common(job: Job) -> dict[str, Any]:
    common: dict[str, Any] = {
        "jobArn": arn(job.region, "job", job.id),
        "jobId": job.id,
        "jobName": job.name,
        "createdAt": job.created_at,
        "status": job.status,
    }
    if job.reason is not None:
        common["statusReason"] = job.reason
    if job.started_at is not None:
        common["startedAt"] = job.started_at
    if job.stopped_at is not None:
        common["stoppedAt"] = job.stopped_at
    return common


def _list_entry(job: Job) -> dict[str, Any]:
    entry = {**_common(job), "jobDefinition": job.definition["jobDefinitionArn"]}
    if job.attempts:
        last = job.attempts[-1]["container"]
        entry["container"] = {key: last[key] for key in ("exitCode", "reason") if key in last}
    if job.children is not None:
        entry["arrayProperties"] = {"size": len(job.children), "statusSummary": _summary(job)}
    elif job.index is not None:
        entry["arrayProperties"] = {"index": job.index}
    if job.cancelled or job.terminated:
        entry |= {"isCancelled": job.cancelled, "isTerminated": job.terminated}
    return entry


def _summary(parent: Job) -> dict[str, int]:
    return {status: parent.counts[status] for status in JOB_STATUSES}
