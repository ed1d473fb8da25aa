"""Whether something that runs on AWS is still needed, according to the ledger and to AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.core.tags import SHORT_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_batchemr.ledger import LedgerState

#: Seconds for which a cluster has to be idle before it is probably orphaned. Between two of its jobs, Airflow needs
#: seconds to minutes; a job that waits for work elsewhere may need longer, so "probably orphaned" is not "orphaned".
IDLE_LIMIT = 15 * 60.0


@dataclass(frozen=True)
class Verdict:
    """Whether a Batch job, cluster or job run is an orphan."""

    finding: Literal["orphaned", "probably orphaned", "duplicate", "in use", "kept alive", "unknown", "not ours"]
    """`orphaned`: no task needs it any more. `probably orphaned`: a cluster that nothing has used for a while.
    `duplicate`: two have the name of one submission, and the ledger does not record which one counts. `in use`: its
    submission is open. `kept alive`: a cluster that ends itself when it is idle. `unknown`: the ledger has no record of
    it. `not ours`: it has the tags of this package and not the name that belongs to them; it is never ended."""
    reason: str


def unplanned(state: LedgerState, number: int, kinds: Collection[str], name: str) -> str | None:
    """Compare a Batch job, a cluster or a job run with the intent of the submission in its tags.

    Args:
        state: `JobLedger.history()` of the job that its tags name.
        number: of the submission in its tags.
        kinds: kinds of submissions that start such a thing.
        name: its name on AWS.

    Returns:
        Why the submission did not start it; None if it may have.
    """
    intent = next((one.intent for one in state.submissions if one.number == number), None)
    if intent is None:
        return None
    if intent.kind in kinds and any(name in {one.name, one.name[-SHORT_NAME:]} for one in intent.requests):
        return None
    return f"submission {number} in the ledger has not requested it"


def judge(
    state: LedgerState, number: int | None, remote_id: str, *, unused: bool = False, twins: Sequence[str] = ()
) -> Verdict:
    """Decide whether a Batch job, a cluster or a job run is an orphan.

    Args:
        state: `JobLedger.history()` of the job that its tags name.
        number: of the submission in its tags; None: there is none.
        remote_id: its id on AWS.
        unused: whether it is a cluster for other jobs, all of which have succeeded.
        twins: ids of others that run under the same name.
    """
    if number is None:
        return Verdict("unknown", "started by hand (batchemr replay)")
    submission = next((one for one in state.submissions if one.number == number), None)
    if submission is None:
        return Verdict("unknown", f"the ledger has no submission {number} of this job")
    intent, handle = submission.intent, submission.handle
    if intent is not None and intent.details.get("keep_alive") is not None and submission.stop is None:
        return Verdict("kept alive", "on purpose: it ends itself when it is idle")
    if state.marker is not None:
        return Verdict("orphaned", "its job has succeeded")
    if number < state.since:
        return Verdict("orphaned", "a later rerun has replaced it")
    if submission.result is not None:
        return Verdict("orphaned", f"submission {number} has ended: {submission.result.outcome}")
    recorded = {handle.cluster_id, *(job.job_id for job in handle.jobs)} if handle is not None else set()
    if handle is not None and remote_id not in recorded:
        twin = next((id_ for id_ in twins if id_ in recorded), None)
        reason = f"submission {number} continued without it" if twin is None else f"it is a duplicate of {twin}"
        return Verdict("orphaned", reason)
    if submission.stop is not None:
        return Verdict("orphaned", f"a stop was requested: {submission.stop.reason}")
    if unused:
        return Verdict("orphaned", "all jobs that use it have succeeded")
    if twins and handle is None:
        same = f"submission {number} has no recorded id, and {', '.join(twins)} has the same name"
        return Verdict("duplicate", f"{same}: the next try of the task keeps the oldest one and ends the others")
    return Verdict("in use", f"submission {number} is open")


def judge_idle(verdict: Verdict, idle: float | None) -> Verdict:
    """Reconsider a cluster that is open in the ledger.

    Args:
        verdict: from `judge`.
        idle: seconds for which the cluster has been waiting for steps while nothing of its run was running on AWS;
            None: something runs, or that is unknown.
    """
    if verdict.finding != "in use" or idle is None or idle < IDLE_LIMIT:
        return verdict
    minutes = int(idle // 60)
    return Verdict("probably orphaned", f"{verdict.reason}, but the cluster has been idle for {minutes} minutes")
