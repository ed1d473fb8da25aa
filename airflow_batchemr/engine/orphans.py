"""Whether something that runs on AWS is still wanted, by what the ledger says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from airflow_batchemr.ledger import LedgerState, Submission

Word = Literal["over", "wanted", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """Whether a Batch job or cluster is an orphan."""

    word: Word
    """`over`: nobody waits for it any more; `wanted`: it is in hand; `unknown`: the ledger does not know it."""
    why: str


def judge(state: LedgerState, number: int | None, remote_id: str, *, served: list[str] | None = None) -> Verdict:
    """Judge a Batch job or a cluster.

    Args:
        state: `JobLedger.history()` of the job that its tags name.
        number: of the attempt that its tags name; None: they name none.
        remote_id: the job's or cluster's id on AWS.
        served: of a cluster that serves other jobs: those that have not succeeded. None: it serves none.
    """
    if number is None:
        return Verdict("unknown", "started by hand (batchemr replay)")
    submission = next((one for one in state.submissions if one.number == number), None)
    if submission is None:
        return Verdict("unknown", f"the ledger has no attempt {number} of it")
    if (
        submission.intent is not None
        and submission.intent.details.get("keep_alive") is not None
        and not submission.stop
    ):
        return Verdict("wanted", "kept alive on purpose: it ends itself when it is idle")
    if state.marker is not None:
        return Verdict("over", "its job has succeeded")
    if number < state.since:
        return Verdict("over", "a rerun has begun after it")
    return _judge_submission(submission, remote_id, served)


def _judge_submission(submission: Submission, remote_id: str, served: list[str] | None) -> Verdict:
    if submission.result is not None:
        return Verdict("over", f"attempt {submission.number} has ended: {submission.result.outcome}")
    handle = submission.handle
    if handle is not None and remote_id not in {handle.cluster_id, *(job.job_id for job in handle.jobs)}:
        return Verdict("over", f"attempt {submission.number} went on without it")
    if submission.stop is not None:
        return Verdict("over", f"it was asked to end: {submission.stop.reason}")
    if served is not None and not served:
        return Verdict("over", "all jobs that it is for have succeeded")
    return Verdict("wanted", f"attempt {submission.number} is in hand")
