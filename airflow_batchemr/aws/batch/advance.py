"""Bringing a Batch job forward as far as it can be: adopt, conclude, decide, claim, submit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.aws.batch.depend import LOOK_AGAIN
from airflow_batchemr.aws.batch.limits import check_same_size
from airflow_batchemr.aws.errors import Refused
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import Decision, SubmissionPlan, begun_with, closed, decide
from airflow_batchemr.ledger.state import CLAIM_LEASE, derive_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airflow_batchemr.aws.batch.submissions import BatchSubmissions
    from airflow_batchemr.ledger import Failure, JobLedger, LedgerState, Request, Submission

#: Seconds after which a submit that AWS would not take is tried again.
TURNED_AWAY = 30.0


@dataclass(frozen=True)
class Step:
    """What is to be done with a job now that it has been brought as far as it can be."""

    action: Literal["wait", "mark", "fail"]
    before: frozenset[int]
    """The attempts that had ended when this try began: their failures are forgiven."""
    state: LedgerState
    waits: list[Submission] = field(default_factory=list)
    wake_after: float | None = None
    """Seconds after which to come back although nothing has ended: AWS took no calls, or a claim is another's."""
    failed: IndexSet = field(default_factory=IndexSet)
    failures: list[Failure] = field(default_factory=list)
    hindered: Refused | None = None
    """Why nothing more could be submitted, where it is waited for what runs before the job fails of it."""


@dataclass
class Advance:
    """One job of a run, and how its attempts are made.

    Args:
        attempts: for the calls.
        ledger: the job's.
        size: number of its indices. What a run has begun with another one is waited for, and marked where all of that
            is done; nothing is submitted beside it.
        requests: makes the SubmitJobs of an attempt; called only where something is to be submitted. What they leave
            out has to wait for another job.
        memory_sizes: how many memory sizes there are to climb.
        resumable: False: what is left is the whole array or nothing.
    """

    submissions: BatchSubmissions
    ledger: JobLedger
    size: int
    requests: Callable[[SubmissionPlan], list[Request]]
    memory_sizes: int = 1
    resumable: bool = True
    before: frozenset[int] | None = field(default=None, init=False)
    """As `Step.before`, from the moment on at which it is known: also where a call fails after it."""

    def run(self, state: LedgerState, rerun_token: str | None, before: Collection[int] | None) -> Step:
        """Adopt what is open, conclude what has ended, claim and submit what is left.

        What AWS refuses fails the job once nothing of it runs any more.

        Args:
            state: the ledger as just read.
            fresh: token for claims; one other than `state.fresh` begins a rerun, for which what is open is stopped.
            before: None at the start of a try, else what the `Step` before said.

        Raises:
            Refused: AWS said no, or what was asked for is not there; nothing of the job runs.
            AwsError, LedgerError: a call failed.
            StoppedError: the task was killed.
        """
        begins = rerun_token != state.rerun_token
        just_started: set[int] = set()
        while True:
            known = closed(state)
            state = self._look(state, stop_all=begins, skip=just_started)
            forgiven = _forgiven(state, known) if before is None else frozenset(before)
            before = self.before = forgiven
            stale = [*state.stale_submissions, *(state.open_submissions if begins else [])]
            if stale:
                return Step("wait", forgiven, state, stale, self._wake(stale, state))
            decision = self._first_of_rerun(state) if begins else self._decide(state, forgiven)
            if decision.action != "claim":
                waits = decision.waits
                return Step(
                    decision.action,
                    forgiven,
                    state,
                    waits,
                    self._wake(waits, state),
                    decision.failed,
                    decision.failures,
                )
            for plan in decision.claims:
                try:
                    if not begins:
                        check_same_size(state, self.size)
                    requests = self.requests(plan)
                    if not requests:
                        return Step("wait", forgiven, state, state.open_submissions, LOOK_AGAIN)
                    submission = self.submissions.start(plan.number, requests, state, rerun_token, size=self.size)
                except Refused as error:
                    state = self.ledger.read()
                    waits = state.open_submissions
                    if not waits:
                        raise
                    # Nobody would look after what runs if the task failed now
                    return Step("wait", forgiven, state, waits, self._wake(waits, state), hindered=error)
                if (
                    submission is None
                ):  # somebody else was faster: see what is left now, and whether the rerun has begun
                    state = self.ledger.read()
                    begins = rerun_token != state.rerun_token
                    break
                begins = False
                just_started.add(plan.number)
                state = derive_state(
                    [*state.numbers, plan.number], [*state.submissions, submission], state.marker, state.now
                )
                if not submission.open:
                    return Step("wait", forgiven, state, state.open_submissions, TURNED_AWAY)

    def _decide(self, state: LedgerState, before: frozenset[int]) -> Decision:
        return decide(
            state, self.size_of(state), before=before, memory_sizes=self.memory_sizes, resumable=self.resumable
        )

    def size_of(self, state: LedgerState) -> int:
        """How many indices the job has in this run."""
        return begun_with(state) or self.size

    def _first_of_rerun(self, state: LedgerState) -> Decision:
        if self.size == 0:
            return Decision("mark")
        return Decision("claim", claims=[SubmissionPlan(state.next_number, IndexSet.range(self.size))])

    def _look(self, state: LedgerState, *, stop_all: bool, skip: set[int]) -> LedgerState:
        """Adopt and conclude what is open; stop what belongs to an earlier rerun, or was asked to stop."""
        looked: dict[int, Submission] = {}
        stale = {submission.number for submission in state.stale_submissions}
        for submission in state.submissions:
            if not submission.open or submission.number in skip:
                continue
            found = self.submissions.adopt(submission, state)
            if found.open:
                found = self.submissions.conclude(found, state)
            if found.open and (stop_all or submission.number in stale or submission.stop is not None):
                # A stop word may have been left by somebody who died before the jobs were ended.
                word = submission.stop
                self.submissions.stop(
                    [found], word.reason if word else "a rerun has begun", by=word.by if word else "rerun"
                )
            looked[submission.number] = found
        if not looked:
            return state
        merged = [looked.get(submission.number, submission) for submission in state.submissions]
        return derive_state(state.numbers, merged, state.marker, state.now)

    @staticmethod
    def _wake(waits: list[Submission], state: LedgerState) -> float | None:
        """Come back when the leases of attempts of which AWS shows nothing yet have ended."""
        unknown = [submission for submission in waits if submission.handle is None]
        if not unknown:
            return None
        ages = [(state.now - (submission.claimed_at or state.now)).total_seconds() for submission in unknown]
        return max(2.0, CLAIM_LEASE + 2.0 - max(ages))


def _forgiven(state: LedgerState, known: frozenset[int]) -> frozenset[int]:
    """The attempts whose failures this try forgives: those that had ended before it, told or not.

    Not those of which it is the first to find that AWS has forgotten them: they may have succeeded, so a person hears
    of it before they run again.
    """
    lost = {
        submission.number
        for submission in state.submissions
        if submission.result and submission.result.outcome == "lost"
    }
    return closed(state) - (lost - known)
