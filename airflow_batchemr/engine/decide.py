"""What runs, what runs again, and what a try does next: pure decisions on one reading of the ledger.

`succeeded` and `token_for_claims` decide whether finished work runs again; `decide` determines which units are left.
What a crashed worker has started is adopted instead (`submissions.adopt`). Whether Airflow retries a failed try is
decided in `operators/base.py` and `operators/retries.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_batchemr.engine.backend import SubmissionPlan, Work
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import Failure, LedgerState, Result, Submission


@dataclass(frozen=True)
class Decision:
    """What to do next: claim submissions, wait for open ones, or end the try."""

    action: Literal["claim", "wait", "succeed", "fail"]
    claims: list[SubmissionPlan] = field(default_factory=list)
    failed: IndexSet = field(default_factory=IndexSet)
    failures: list[Failure] = field(default_factory=list)


def succeeded(state: LedgerState, identity: JobIdentity, *, skip_if_succeeded: bool, rerun_wanted: bool) -> bool:
    """Whether the work is done and does not have to run again.

    Args:
        state: the ledger.
        identity: of the job and this try.
        skip_if_succeeded: whether a marker of any run counts.
        rerun_wanted: whether this run requests that the job runs again.
    """
    if state.marker is None:
        return False
    again = not skip_if_succeeded or rerun_wanted
    return not again or state.marker.rerun_token == identity.token


def token_for_claims(
    state: LedgerState, identity: JobIdentity, *, skip_if_succeeded: bool, rerun_wanted: bool
) -> str | None:
    """The rerun token for claims of this try.

    A rerun begins if there is a marker that does not count, or if the run requests a rerun and has not begun one.
    A retry continues the rerun of the previous try; so does a try after a clear of a failed rerun.

    Args:
        state: the ledger.
        identity: of the job and this try.
        skip_if_succeeded: whether a marker of any run counts.
        rerun_wanted: whether this run requests that the job runs again.
    """
    done = succeeded(state, identity, skip_if_succeeded=skip_if_succeeded, rerun_wanted=rerun_wanted)
    if state.marker is not None and not done:
        return identity.token
    if rerun_wanted and not (state.rerun_token or "").startswith(f"{identity.run_id}#"):
        return identity.token
    if not skip_if_succeeded and not state.numbers:
        return identity.token  # so that a retry in this run recognizes the marker as its own
    return state.rerun_token


def closed(state: LedgerState) -> frozenset[int]:
    """The numbers of the submissions that have ended."""
    return frozenset(submission.number for submission in state.submissions if not submission.open)


def lost_submissions(state: LedgerState) -> frozenset[int]:
    """The numbers of the submissions that AWS no longer shows, and that may have succeeded."""
    return frozenset(one.number for one in state.submissions if one.result and one.result.outcome == "lost")


def ended_before_try(state: LedgerState, known: frozenset[int], undecided: Collection[int] = ()) -> frozenset[int]:
    """The submissions that ended before this try began: their failures do not count.

    Lost submissions may have succeeded, so their units run again only after a user has cleared the task. Until then,
    they count as failures of this try.

    Args:
        state: the ledger after the first check of everything open.
        known: numbers of the submissions whose end was recorded before that check.
        undecided: numbers of lost submissions since whose end no user has cleared the task.
    """
    return closed(state) - (lost_submissions(state) - known) - frozenset(undecided)


def as_rerun(state: LedgerState, rerun_token: str | None) -> LedgerState:
    """The state from a rerun's point of view: nothing is done, and everything open has to be stopped first."""
    return replace(state, marker=None, rerun_token=rerun_token, since=state.next_number)


def original_size(state: LedgerState) -> int | None:
    """How many units the job had when what is done, runs, or has failed in this try, was submitted.

    None: there is no such submission, or the number was not recorded.
    """

    def counts(one: Submission) -> bool:
        failed = one.result is not None and one.number not in state.prior_submissions and failed_units(one.result)
        return one.open or bool(one.succeeded) or bool(failed)

    sizes = (one.size for one in state.current if counts(one))
    return next((size for size in sizes if size is not None), None)


def decide(work: Work, state: LedgerState, *, idle: Collection[int] = ()) -> Decision:
    """Decide what a try does next.

    Each try runs each unit that is left once to its end. A unit that was stopped, or whose submission never reached
    AWS, is claimed again in the same try.

    Args:
        work: what there is to do.
        state: the ledger. The failures of its `prior_submissions` do not count.
        idle: numbers of the open submissions that have nothing left to do.

    Returns:
        `claim` while units can be started, also with submissions still open; `wait` while submissions are open;
        `succeed` when everything is done; else `fail`.
    """
    if state.marker is not None:
        return Decision("succeed")
    units = work.units(state)
    busy = [one for one in state.open_submissions if one.number not in idle]
    done = work.done(state) & units
    settled = done | IndexSet.union([one.indices for one in state.open_submissions if one.number in idle])
    if settled & units == units:
        # An open submission may still run what another one has finished
        return Decision("wait" if busy else "succeed")
    failed, failures = _failures(state)
    failed = (failed & units) - done
    failed -= work.retryable_units(state, failed)
    left = units - settled - failed - state.running
    plans = work.plans(state, left, failed=failed, busy=busy) if left else []
    if plans:
        return Decision("claim", claims=plans)
    if busy:
        return Decision("wait")
    reasons = [failure for failure in failures if failure.index is None or failure.index in failed]
    return Decision("fail", failed=failed, failures=reasons)


def _failures(state: LedgerState) -> tuple[IndexSet, list[Failure]]:
    failed = IndexSet()
    failures: dict[int | None, Failure] = {}
    for submission in state.current:
        if submission.result is not None and submission.number not in state.prior_submissions:
            failed |= failed_units(submission.result)
            failures |= {failure.index: failure for failure in submission.result.failures}
    return failed, list(failures.values())


def failed_units(result: Result) -> IndexSet:
    """The units that failed on their own; of a stopped submission, only those with a recorded cause."""
    named = IndexSet.union(result.causes.values())
    if result.outcome == "abandoned":
        return IndexSet()
    if result.outcome == "stopped":
        return named - result.succeeded
    return (named | result.indices) - result.succeeded
