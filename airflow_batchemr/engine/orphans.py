"""Decide whether work on AWS is orphaned, based on the records in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from airflow_batchemr.ledger import LedgerState, Submission

Status = Literal["orphaned", "in use", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """Whether a Batch job, cluster or job run is orphaned, and the reason."""

    status: Status
    """`orphaned`: no run needs it any more; `in use`: a run needs it; `unknown`: it is not in the ledger."""
    reason: str


def judge(state: LedgerState, number: int | None, remote_id: str, *, served: list[str] | None = None) -> Verdict:
    """Judge a Batch job, cluster or job run.

    Args:
        state: `JobLedger.history()` of the job named by its tags.
        number: Number of the submission named by its tags; None if they do not name one.
        remote_id: Its id on AWS.
        served: For a shared cluster, the jobs that use it and have not succeeded; None for other work.
    """
    if number is None:
        return Verdict("unknown", "started by hand (batchemr replay)")
    submission = next((one for one in state.submissions if one.number == number), None)
    if submission is None:
        return Verdict("unknown", f"the ledger has no submission {number} for it")
    if (
        submission.intent is not None
        and submission.intent.details.get("keep_alive") is not None
        and not submission.stop
    ):
        return Verdict("in use", "kept alive on purpose; terminates when idle")
    if state.marker is not None:
        return Verdict("orphaned", "its job has succeeded")
    if number < state.since:
        return Verdict("orphaned", "superseded by a rerun")
    return _judge_submission(submission, remote_id, served)


def _judge_submission(submission: Submission, remote_id: str, served: list[str] | None) -> Verdict:
    if submission.result is not None:
        return Verdict("orphaned", f"submission {submission.number} has ended: {submission.result.outcome}")
    handle = submission.handle
    if handle is not None and remote_id not in {handle.cluster_id, *(job.job_id for job in handle.jobs)}:
        return Verdict("orphaned", f"submission {submission.number} continued without it")
    if submission.stop is not None:
        return Verdict("orphaned", f"stop requested: {submission.stop.reason}")
    if served is not None and not served:
        return Verdict("orphaned", "all jobs that use it have succeeded")
    return Verdict("in use", f"submission {submission.number} has not ended")
