"""What the records of a submission contain: handles of several calls, the result of a refusal, names of documents."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import Failure, Handle, Result

if TYPE_CHECKING:
    from airflow_batchemr.engine.backend import NewSubmission
    from airflow_batchemr.ledger import Request, Submission

#: `Failure.cause` of what AWS refused, and `StopRequest.by` if AWS had accepted a part, which is then stopped.
REFUSED = "refused"
#: Failures that a result lists one by one; it records the cause of all of them.
MAX_FAILURES = 1_000


def children_document(number: int) -> str:
    """Name of the document with AWS Batch's description of each child of a submission's arrays."""
    return f"children/{number:04d}.json"


def report_document(number: int) -> str:
    """Name of the document with the failure report of a submission on EMR, whose logs may be deleted later."""
    return f"report/{number:04d}.txt"


def merged(new: NewSubmission, handles: list[Handle]) -> Handle:
    """One handle for all calls of a submission; abandoned if none was made."""
    if not handles:
        return Handle(kind=new.kind, abandoned=True)
    return handles[-1].model_copy(update={"jobs": [job for handle in handles for job in handle.jobs]})


def part_of(handle: Handle, request: Request) -> Handle | None:
    """The part of a handle that one request started."""
    if handle.cluster_id is not None:
        return handle
    jobs = [job for job in handle.jobs if job.name == request.name]
    return handle.model_copy(update={"jobs": jobs}) if jobs else None


def difference(mine: Handle, recorded: Handle) -> Handle | None:
    """What one handle lists and the other does not; None if there is no difference."""
    if mine.writer == recorded.writer or mine.abandoned:
        return None
    known = {job.job_id for job in recorded.jobs}
    jobs = [job for job in mine.jobs if job.job_id not in known]
    same_work = mine.cluster_id == recorded.cluster_id and (
        mine.kind == "emr" or not mine.step_ids or set(mine.step_ids.values()) == set(recorded.step_ids.values())
    )
    if not jobs and (mine.cluster_id is None or same_work):
        return None
    return mine.model_copy(update={"jobs": jobs})


def refused_result(submission: Submission, reason: str, ended: Result | None = None) -> Result:
    """The result of a submission of which AWS refused a part: every index that has not succeeded has failed.

    Args:
        submission: with its intent.
        reason: what AWS answered.
        ended: how the part ended that AWS had accepted; None: it accepted nothing.
    """
    intent = submission.intent
    indices = intent.indices if intent is not None else IndexSet()
    succeeded, causes = (ended.succeeded, ended.causes) if ended is not None else (IndexSet(), {})
    left = indices - succeeded - IndexSet.union(causes.values())
    causes = {**causes, REFUSED: left}
    failures = [Failure(index=index, reason=reason, cause=REFUSED) for index in islice(left, MAX_FAILURES)]
    return Result(
        kind=submission.kind or "batch",
        outcome="failed",
        indices=indices,
        succeeded=succeeded,
        rerun_token=submission.rerun_token,
        owner=submission.owner,
        failures=[*ended.failures, *failures] if ended is not None else failures,
        details={
            **(ended.details if ended is not None else {}),
            "causes": {cause: members.text() for cause, members in causes.items()},
        },
    )
