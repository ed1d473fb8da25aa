"""Jobs in the format of DescribeJobs and ListJobs."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import containers
from airflow_batchemr.local.batch.limits import refuse
from airflow_batchemr.local.batch.state import ACCOUNT, INSTANCE, arn, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_batchemr.local.batch.state import Attempt, Job, Run

__all__ = ["JOB_STATUSES", "detail", "page"]

_NO_NETWORK: dict[str, Any] = {"networkInterfaces": []}
JOB_STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
#: Members that AWS leaves out of summaries in a list with a filter. Source: github.com/boto/boto3/issues/3315 and
#: github.com/aws/aws-sdk-js/issues/4587.
UNFILTERED = ("container", "startedAt", "statusReason", "stoppedAt")


def detail(job: Job) -> dict[str, Any]:
    """Return the JobDetail of a job."""
    described = {
        **_common(job),
        "jobQueue": job.queue.detail["jobQueueArn"],
        "jobDefinition": job.definition["jobDefinitionArn"],
        # Required by the model. AWS leaves it out before the job has started (github.com/getmoto/moto/pull/2202)
        "startedAt": job.started_at or 0,
        "dependsOn": job.request.get("dependsOn", []),
        "parameters": {**job.definition.get("parameters", {}), **job.request.get("parameters", {})},
        "tags": dict(job.tags),
        "propagateTags": job.request.get("propagateTags", job.definition.get("propagateTags", False)),
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
    return shown(described)


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
    jobs: Iterable[Job], status: str | None, only: tuple[str, str] | None, limit: int, token: str | None
) -> dict[str, Any]:
    """Return a page of ListJobs.

    The newest job is first, as documented for filters. With JOB_NAME, jobs of one name and definition are together.
    Children are in the order of their indices.

    Args:
        jobs: Candidate jobs.
        status: Status filter. Defaults to RUNNING without a filter; ignored with a filter other than SHARE_IDENTIFIER.
        only: Name and value of the filter, such as JOB_NAME.
        limit: Maximum number of summaries per page.
        token: `nextToken` of the previous page.
    """
    if only is None:
        status = status or "RUNNING"
    elif only[0] != "SHARE_IDENTIFIER":
        status = None
    by_name = only is not None and only[0] == "JOB_NAME"
    start = _key(token, [str, str, int] if by_name else [int]) if token else None
    chosen = [(_place(job, by_name=by_name), job) for job in jobs if only is None or _matches(job, *only)]
    chosen = [
        (place, job)
        for place, job in sorted(chosen, key=lambda each: each[0])
        if (status is None or job.status == status) and (start is None or place > start)
    ]
    listed = chosen[:limit]
    left_out = () if only is None else UNFILTERED
    answer: dict[str, Any] = {
        "jobSummaryList": [
            {key: value for key, value in _list_entry(job).items() if key not in left_out} for _, job in listed
        ]
    }
    if len(chosen) > limit:
        answer["nextToken"] = base64.urlsafe_b64encode(json.dumps(listed[-1][0]).encode()).decode()
    return answer


def _place(job: Job, *, by_name: bool) -> list[Any]:
    """Return the sort key of a job, which does not change when other jobs are added or removed."""
    if job.index is not None:
        return [job.index]
    if job.whole is not None:
        return [job.node_index]
    return [job.name, job.definition["jobDefinitionArn"], -job.number] if by_name else [-job.number]


def _key(token: str, kinds: list[type]) -> list[Any]:
    """Return the place in a `nextToken`, which is one of a list with the same kind of places."""
    try:
        key = list(json.loads(base64.urlsafe_b64decode(token)))
    except (TypeError, ValueError):
        key = []
    if [type(part) for part in key] != kinds:
        raise refuse("nextToken is not valid")
    return key


def _matches(job: Job, name: str, value: str) -> bool:
    if name == "JOB_NAME":
        return _like(job.name.lower(), value.lower())
    if name == "JOB_DEFINITION":
        if value.startswith("arn:"):
            return bool(job.definition["jobDefinitionArn"] == value)
        return _like(job.definition["jobDefinitionName"], value)
    if name == "SHARE_IDENTIFIER":
        return bool(job.request.get("shareIdentifier") == value)
    if name not in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT") or not value.isdecimal():
        raise refuse(f"filter {name} with the value {value} is not valid")
    return job.created_at < int(value) if name == "BEFORE_CREATED_AT" else job.created_at > int(value)


def _like(text: str, pattern: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


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
    # Only present when they are true
    requested = {"isCancelled": job.cancelled, "isTerminated": job.terminated}
    return entry | {name: value for name, value in requested.items() if value}


def _summary(parent: Job) -> dict[str, int]:
    return {status: parent.counts[status] for status in JOB_STATUSES}
