"""Facts about a submission and about one of its indices, as names and values for display."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.container_overrides import recorded
from airflow_batchemr.core.preamble import unwrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.ledger import LedgerState, Result, Submission

#: A name and its value, such as ("Batch job", "0f31…").
Fact = tuple[str, str]


def request_facts(submission: Submission) -> list[Fact]:
    """What ran where: the ids on AWS, and what was requested."""
    facts = [
        ("Batch job", f"{job.job_id} (indices {job.indices})")
        for job in (submission.handle.jobs if submission.handle else ())
    ]
    if submission.handle is not None and submission.handle.cluster_id:
        facts.append(("EMR cluster", submission.handle.cluster_id))
    requests = submission.intent.requests if submission.intent else []
    if requests and "jobQueue" in requests[0].request:
        facts += _batch_facts(requests[0].request, submission.result.details if submission.result else {})
    elif requests:
        facts += _emr_facts(requests[0].request, submission.result.steps if submission.result else [])
    return facts


def _batch_facts(request: Mapping[str, Any], details: Mapping[str, Any]) -> list[tuple[str, str]]:
    overrides = recorded(request)
    jobs = details.get("jobs") or [{}]
    image = (jobs[0].get("container") or {}).get("image")
    resources = {str(one["type"]): str(one["value"]) for one in overrides.get("resourceRequirements", [])}
    return [
        (name, value)
        for name, value in (
            ("queue", str(request["jobQueue"]).rpartition("/")[2]),
            ("definition", str(request["jobDefinition"]).rpartition("/")[2]),
            ("image", image),
            ("resources", ", ".join(f"{kind} {value}" for kind, value in resources.items())),
            ("command", " ".join(unwrap(overrides.get("command", [])))),
        )
        if value
    ]


def _emr_facts(request: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    facts = [("release", str(request["ReleaseLabel"]))] if request.get("ReleaseLabel") else []
    for step in steps:
        status = step.get("Status") or {}
        facts.append(("step", f"{step.get('Name', step.get('Id', '?'))}: {status.get('State', '?')}"))
    return facts


def ended_on_aws(result: Result) -> datetime | None:
    """When the work ended according to AWS; None if AWS gives no time."""
    jobs: Any = result.details.get("jobs") or []
    stopped = [int(job["stoppedAt"]) for job in jobs if job.get("stoppedAt")]
    if stopped:
        return datetime.fromtimestamp(max(stopped) / 1000, timezone.utc)
    cluster: Any = result.details.get("cluster") or {}
    run: Any = result.details.get("job_run") or {}
    timelines: list[Any] = [(one.get("Status") or {}).get("Timeline") or {} for one in (cluster, *result.steps)]
    times = [timeline["EndDateTime"] for timeline in timelines if timeline.get("EndDateTime")]
    times += [run[name] for name in ("endedAt", "finishedAt") if run.get(name)]
    return max((datetime.fromisoformat(str(time)) for time in times), default=None)


def index_history_of(
    state: LedgerState, children: Mapping[int, Sequence[Mapping[str, Any]]], index: int
) -> list[list[tuple[str, str]]]:
    """The facts about one index, for each submission that includes it.

    Args:
        state: `JobLedger.history()`.
        children: AWS's descriptions of the children of each submission's arrays: its document `children_document`.
        index: of the array; 0 for a single job.
    """
    found = []
    for submission in state.submissions:
        if index not in submission.indices:
            continue
        facts = [("submission", str(submission.number)), ("outcome", _outcome(submission, index))]
        child = _child(submission, children.get(submission.number, ()), index)
        container = child.get("container") or {}
        failure = next(
            (one for one in (submission.result.failures if submission.result else ()) if one.index == index), None
        )
        code = container.get("exitCode", failure.exit_code if failure else None)
        facts += [
            (name, str(value))
            for name, value in (
                ("reason", failure.reason if failure else None),
                ("exit code", code),
                ("Batch job", child.get("jobId") or (failure.job_id if failure else None)),
                ("started", _moment(child.get("startedAt"))),
                ("stopped", _moment(child.get("stoppedAt"))),
                ("attempts by Batch", len(child.get("attempts") or ()) or None),
                ("machine", container.get("containerInstanceArn")),
                ("log stream", container.get("logStreamName") or (failure.log_stream if failure else None)),
            )
            if value is not None
        ]
        found.append(facts)
    return found


def _outcome(submission: Submission, index: int) -> str:
    if index in submission.succeeded:
        return "succeeded"
    if submission.result is None:
        return "running"
    return (
        "failed"
        if any(index in indices for indices in submission.result.causes.values())
        else submission.result.outcome
    )


def _child(submission: Submission, children: Sequence[Mapping[str, Any]], index: int) -> Mapping[str, Any]:
    """AWS's description of the child that ran the index, or of the single job."""
    for job in submission.handle.jobs if submission.handle else ():
        if index not in job.indices:
            continue
        child = f"{job.job_id}:{list(job.indices).index(index)}"
        jobs: Any = submission.result.details.get("jobs", []) if submission.result else []
        single = [
            one for one in jobs if one.get("jobId") == job.job_id and "size" not in (one.get("arrayProperties") or {})
        ]
        return next((one for one in [*children, *single] if one.get("jobId") in {child, job.job_id}), {})
    return {}


def _moment(milliseconds: int | None) -> str | None:
    """A time in milliseconds, as Batch gives it, in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
