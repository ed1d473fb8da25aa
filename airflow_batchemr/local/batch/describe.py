"""Jobs in the format of DescribeJobs and ListJobs."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import containers
from airflow_batchemr.local.batch.limits import refuse
from airflow_batchemr.local.batch.state import ACCOUNT, INSTANCE, arn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_batchemr.local.batch.state import Attempt, Job, Run

__all__ = ["JOB_STATUSES", "detail", "page"]

_NO_NETWORK: dict[str, Any] = {"networkInterfaces": []}
JOB_STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


def detail(job: Job) -> dict[str, Any]:
    """Return the JobDetail of a job."""
    described = {
        **_common(job),
        "jobQueue": job.queue.detail["jobQueueArn"],
        "jobDefinition": job.definition["jobDefinitionArn"],
        "dependsOn": job.request.get("dependsOn", []),
        "parameters": {**job.definition.get("parameters", {}), **job.request.get("parameters", {})},
        "tags": dict(job.tags),
        "propagateTags": job.request.get("propagateTags", False),
        "platformCapabilities": job.definition.get("platformCapabilities", ["EC2"]),
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
        **_properties(job),
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


def _properties(job: Job) -> dict[str, Any]:
    """Return the members that depend on the kind of the job definition."""
    if job.main_node is not None and job.nodes is not None:
        ended = _properties(job.main_node)
        return {
            "nodeProperties": {**job.definition["nodeProperties"], "numNodes": len(job.nodes)},
            **{key: ended[key][: len(job.attempts)] for key in ("attempts", "eksAttempts") if key in ended},
        }
    found: dict[str, Any] = {}
    if job.whole is not None:
        found["nodeDetails"] = {"nodeIndex": job.node_index, "isMainNode": job is job.whole.main_node}
    runs = job.runs or (job.attempts[-1].runs if job.attempts else [])
    several = containers.merged(job)
    if runs:
        several = [{**one, **_shown(run)} for one, run in zip(several, runs, strict=True)]
    name = job.attempts[-1].task if job.attempts and not job.runs else job.command_name
    begun = bool(runs)
    if "ecsProperties" in job.definition:
        (task,) = job.definition["ecsProperties"]["taskProperties"]
        described = {**task, "containers": several} | (_task(job, name) if begun else {})
        return found | {
            "ecsProperties": {"taskProperties": [described]},
            "attempts": [
                {
                    "taskProperties": [
                        {
                            **_task(job, one.task),
                            "containers": [{**_named(run), **_shown(run), **_NO_NETWORK} for run in one.runs],
                        }
                    ],
                    **_times(one),
                }
                for one in job.attempts
            ],
        }
    if containers.is_pod(job):
        pod = {**job.definition["eksProperties"]["podProperties"], "containers": several}
        return found | {
            "eksProperties": {"podProperties": pod | (_pod(name) if begun else {})},
            "eksAttempts": [
                {
                    "containers": [{**_named(run), **_shown(run)} for run in one.runs],
                    "podNamespace": "local",
                    **_pod(one.task),
                    **_times(one),
                }
                for one in job.attempts
            ],
        }
    (container,) = several
    return found | {
        "container": container | (_task(job, name) if begun else {}),
        "attempts": [
            {"container": {**_task(job, one.task), **_shown(one.decisive), **_NO_NETWORK}, **_times(one)}
            for one in job.attempts
        ],
    }


def _shown(run: Run) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if run.exit_code is not None:
        shown["exitCode"] = run.exit_code
    if run.reason is not None:
        shown["reason"] = run.reason
    if run.started and run.shown:
        shown["logStreamName"] = run.stream
    return shown


def _named(run: Run) -> dict[str, Any]:
    return {} if run.name is None else {"name": run.name}


def _times(attempt: Attempt) -> dict[str, Any]:
    return {"startedAt": attempt.started_at, "stoppedAt": attempt.stopped_at, "statusReason": attempt.reason}


def _task(job: Job, name: str) -> dict[str, Any]:
    return {
        "containerInstanceArn": f"arn:aws:ecs:{job.region}:{ACCOUNT}:container-instance/local/{INSTANCE}",
        "taskArn": f"arn:aws:ecs:{job.region}:{ACCOUNT}:task/local/{name}",
    }


def _pod(name: str) -> dict[str, str]:
    return {"podName": f"aws-batch.{name}", "nodeName": "ip-127-0-0-1.ec2.internal"}


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
        if job.whole is not None:
            yield job.node_index + 1, job
        else:
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
    if job.attempts and "containerProperties" in job.definition:  # for other kinds, there is no container
        last = _shown(job.attempts[-1].decisive)
        entry["container"] = {key: last[key] for key in ("exitCode", "reason") if key in last}
    if job.nodes is not None:
        entry["nodeProperties"] = {"numNodes": len(job.nodes)}
    elif job.whole is not None:
        entry["nodeProperties"] = {
            "numNodes": len(job.whole.nodes or ()),
            "nodeIndex": job.node_index,
            "isMainNode": job is job.whole.main_node,
        }
    if job.children is not None:
        entry["arrayProperties"] = {"size": len(job.children), "statusSummary": _summary(job)}
    elif job.index is not None:
        entry["arrayProperties"] = {"index": job.index}
    if job.cancelled or job.terminated:
        entry |= {"isCancelled": job.cancelled, "isTerminated": job.terminated}
    return entry


def _summary(parent: Job) -> dict[str, int]:
    return {status: parent.counts[status] for status in JOB_STATUSES}
