"""The result of a job that has ended: which indices succeeded, which failed, and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.errors import unexpected
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.job_container import container_of
from airflow_batchemr.engine.submission_records import MAX_FAILURES
from airflow_batchemr.ledger.records import Failure, Result

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger.records import HandleJob, Outcome

#: Failures that are described in full, including the log stream; the others have only what ListJobs returns.
DESCRIBED = 100
#: Up to this size the ledger keeps AWS's full description of every child.
KEPT_WHOLE = 1_000
#: Patterns of the reasons that AWS Batch and ECS give, by cause. The first match counts.
_CAUSES = {
    "oom": "OutOfMemory|OOMKilled",  # of ECS, of Kubernetes
    "spot": r"Host EC2|Spot Task was interrupted",
    "pull": r"CannotPull\w{0,40}Error|ImagePullBackOff|ErrImagePull",
    # Docker, the ECS agent or the network of the host failed: another attempt, elsewhere, may succeed
    "platform": (
        r"DockerTimeoutError|Cannot(Inspect|Stop)ContainerError|InternalError|\bAGENT\b|Unexpected EC2 error|"
        r"Timeout waiting for .{0,200}provisioning|Rate limit exceeded while preparing|Capacity is unavailable|"
        r"imminent node shutdown"  # of Kubernetes
    ),
    "timeout": "exceeded timeout",
    "dependency": "Dependent Job failed",
    # Mostly the user's: a program, secret, log group or volume that does not exist or may not be read
    "start": r"Cannot(Start|Create)Container|CannotCreateVolume|ResourceInitializationError|failed to start",
}


@dataclass
class JobEnd:
    """One job of a submission that has ended."""

    indices: IndexSet
    succeeded: IndexSet
    failures: list[Failure] = field(default_factory=list)
    lost: bool = False
    """AWS no longer knows the job."""
    job: dict[str, Any] = field(default_factory=dict)
    children: list[dict[str, Any]] = field(default_factory=list)


def collect(clients: Clients, handle: HandleJob, job: Mapping[str, Any] | None) -> JobEnd:
    """Find out how a job of a submission ended.

    An index whose program exited with 0 has succeeded, even if this package terminated it at that moment and AWS
    therefore reports it as failed.

    An array whose children all succeeded needs no further call; else ListJobs of the failed ones, 100 per call, and one
    DescribeJobs for up to 100 of them; for all of them if ListJobs has no exit codes, as for ECS tasks and pods. Arrays
    of up to 1,000 children are described in full.

    Args:
        clients: for the calls.
        handle: the job, and the indices that its children run.
        job: as DescribeJobs gives it (SUCCEEDED or FAILED); None if AWS does not know it.

    Raises:
        UnexpectedAnswer: AWS describes an array of another size, or a child without its index.
    """
    members = list(handle.indices)
    if job is None:
        return JobEnd(handle.indices, IndexSet(), lost=True)
    ended = JobEnd(handle.indices, handle.indices, job=dict(job))
    size = (job.get("arrayProperties") or {}).get("size", 1)
    if size != len(members):  # it would not be known which indices have succeeded
        raise unexpected("batch:DescribeJobs", f"an array size of {size} instead of {len(members)}", job)
    if size > 1:
        failed = _failed_children(clients, handle, job, len(members))
        whole = len(members) <= KEPT_WHOLE
        ids = {f"{handle.job_id}:{place}": place for place in (range(len(members)) if whole else failed)}
        needed = list(ids) if whole or not job.get("container") else list(ids)[:DESCRIBED]
        described = jobs.describe(clients, needed)
        failed |= {ids[id_]: child for id_, child in described.items() if ids[id_] in failed}
        ended.failures = [failure_of(child, members[place]) for place, child in failed.items()]
        ended.succeeded -= IndexSet.of(members[place] for place in failed)
        ended.children = [described[id_] for id_ in ids if id_ in described] if whole else []
    elif job["status"] != "SUCCEEDED":
        ended.failures, ended.succeeded = [failure_of(job, members[0])], IndexSet()
    finished = [one for one in ended.failures if one.cause == "stopped" and one.exit_code == 0]
    ended.succeeded |= IndexSet.of(one.index for one in finished if one.index is not None)
    ended.failures = [one for one in ended.failures if one not in finished]
    return ended


def _failed_children(
    clients: Clients, handle: HandleJob, job: Mapping[str, Any], size: int
) -> dict[int, dict[str, Any]]:
    """The children that did not succeed, by position in order."""
    summary = job["arrayProperties"].get("statusSummary") or {}
    succeeded = int(summary.get("SUCCEEDED", 0))
    if job["status"] == "SUCCEEDED" or succeeded == size:
        return {}
    listed = {position(child, size): child for child in jobs.children(clients, handle.job_id, "FAILED")}
    if len(listed) == size - succeeded:
        return dict(sorted(listed.items()))
    # The counts differ: only children that are listed as SUCCEEDED count as such
    good = {position(child, size) for child in jobs.children(clients, handle.job_id, "SUCCEEDED")}
    unknown = {"statusReason": job.get("statusReason", ""), "status": "FAILED"}
    return {place: listed.get(place, unknown) for place in range(size) if place not in good}


def position(child: Mapping[str, Any], size: int) -> int:
    """The position of a child in an array of a size; raises `UnexpectedAnswer`."""
    if "index" not in (child.get("arrayProperties") or {}):
        raise unexpected("batch:ListJobs", "a child without its index", child)
    place = int(child["arrayProperties"]["index"])
    if not 0 <= place < size:
        raise unexpected("batch:ListJobs", f"a child with index {place} in an array of size {size}", child)
    return place


def failure_of(job: Mapping[str, Any], index: int) -> Failure:
    """Why a job or child failed.

    Args:
        job: as DescribeJobs or ListJobs gives it.
        index: that it ran.
    """
    container = container_of(job)
    reasons = (job.get("statusReason"), container.get("reason"))
    reason = "; ".join(dict.fromkeys(str(one) for one in reasons if one)) or "AWS gave no reason"
    return Failure(
        index=index,
        reason=reason,
        exit_code=container.get("exitCode"),
        job_id=job.get("jobId"),
        log_stream=container.get("logStreamName"),
        cause=cause(reason, container.get("exitCode")),
    )


def cause(reason: str, exit_code: int | None) -> str:
    """The cause of a failure: `stopped`, one of `_CAUSES`, `exit N` or `other`."""
    if reason.startswith(jobs.OUR_REASON):
        return "stopped"
    for name, pattern in _CAUSES.items():
        if re.search(pattern, reason):
            return name
    return "other" if exit_code is None else f"exit {exit_code}"


def result_of(ended: list[JobEnd], *, rerun_token: str | None, ignored: Collection[str]) -> Result:
    """Combine the ended jobs of a submission into its result.

    Failures with an ignored cause, such as jobs that were stopped, do not count: their indices are free again.
    `details.causes` lists all indices of each cause; decisions are based on it. `failures` has at most 1,000, for
    display: the first ones of each cause.
    """
    indices = IndexSet.union(one.indices for one in ended)
    succeeded = IndexSet.union(one.succeeded for one in ended)
    everything = [failure for one in ended for failure in one.failures]
    failures = [failure for failure in everything if failure.cause not in ignored]
    outcome: Outcome = "failed"
    if succeeded == indices:
        outcome = "succeeded"
    elif any(one.lost for one in ended):
        outcome = "lost"
        failures += [
            Failure(reason="AWS Batch no longer knows the job", cause="lost", index=index)
            for one in ended
            for index in (one.indices - one.succeeded if one.lost else ())
        ]
    elif len(failures) < len(everything):
        outcome = "stopped"
    causes: dict[str, list[int]] = {}
    for failure in failures:
        if failure.index is not None:
            causes.setdefault(failure.cause or "other", []).append(failure.index)
    return Result(
        kind="batch",
        outcome=outcome,
        indices=indices,
        succeeded=succeeded,
        rerun_token=rerun_token,
        failures=_first_of_each(failures),
        details={
            "causes": {name: IndexSet.of(members).text() for name, members in causes.items()},
            "jobs": [jobs.plain(one.job) for one in ended],
        },
    )


def _first_of_each(failures: list[Failure]) -> list[Failure]:
    """The failures that a result keeps: a cause with thousands of failures leaves room for the others."""
    seen: Counter[str | None] = Counter()
    ranked = []
    for place, failure in enumerate(failures):
        ranked.append((seen[failure.cause], place))
        seen[failure.cause] += 1
    return [failures[place] for place in sorted(place for _, place in sorted(ranked)[:MAX_FAILURES])]
