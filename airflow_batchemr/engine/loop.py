"""One try of one job: read, adopt, observe, conclude, decide, claim, start. The only loop, for every kind of work."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_batchemr.core.errors import AwsError, Refused, Unknown
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import as_rerun, closed, decide, ended_before_try, lost_submissions
from airflow_batchemr.engine.outcome import Outcome
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.engine.submission_records import REFUSED, difference, merged, part_of, refused_result
from airflow_batchemr.engine.submissions import adopt, conclude, find_and_end_duplicates, lost, stop
from airflow_batchemr.engine.waiters import still_ours, undecided
from airflow_batchemr.ledger import Handle, StopRequest, Submission
from airflow_batchemr.ledger.state import derive_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from airflow_batchemr.engine.backend import Backend, NewSubmission, Observation, RemoteWork, SubmissionPlan
    from airflow_batchemr.engine.decide import Decision
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.engine.policy import Policy
    from airflow_batchemr.ledger import JobLedger, LedgerState, Request


class StoppedError(Exception):
    """The task was killed while it was running. Everything that it had started has been stopped."""

    def __init__(self) -> None:
        super().__init__("the task was killed; the work that it had started on AWS has been stopped")


class SupersededError(Exception):
    """A later try of the same task has taken over: this one must not start anything."""

    def __init__(self, try_number: int) -> None:
        super().__init__(
            f"try {try_number} of this task has taken over its work, so this try ends without touching it. "
            "Airflow no longer considered this try alive"
        )


class NotRunningError(Exception):
    """Airflow considers this try to have ended: nobody would watch what it starts."""

    def __init__(self) -> None:
        super().__init__(
            "this worker was suspended, and Airflow has ended this try in the meantime: it leaves nothing running"
        )


@dataclass
class Engine:
    """Advances one job of a run as far as possible without waiting.

    Attributes:
        backend: what there is to do, and with which calls.
        remote: submissions of any kind, from their ledger records.
        ledger: of the job.
        identity: of the job and this try.
        policy: grace periods and limits.
        began: when this try began, by Airflow's clock; None: nobody else can have taken over.
        sleep: waits a number of seconds.
        stopping: whether the task has been killed; checked before each call that starts something.
        running: whether Airflow still considers this try to be running; asked only if much time has passed between
            reading the ledger and claiming.
        prior_submissions: as `Outcome.prior_submissions`; also set if a later call fails.
        refused: why AWS refused the last submission.
        unavailable: why AWS accepted no call of the last submission, such as throttling.
        claimed: whether this pass has claimed a submission.
    """

    backend: Backend
    remote: RemoteWork
    ledger: JobLedger
    identity: JobIdentity
    policy: Policy = DEFAULT
    began: datetime | None = None
    sleep: Callable[[float], object] = time.sleep
    stopping: Callable[[], bool] = lambda: False
    running: Callable[[], bool] = lambda: True
    prior_submissions: frozenset[int] | None = field(default=None, init=False)
    refused: Refused | None = field(default=None, init=False)
    unavailable: AwsError | None = field(default=None, init=False)
    claimed: bool = field(default=False, init=False)
    _observations: dict[int, Observation] = field(default_factory=dict, init=False)
    _others: set[int] = field(default_factory=set, init=False)
    """Numbers of submissions whose handle somebody else has recorded: they have to be observed."""

    def run(
        self,
        state: LedgerState,
        rerun_token: str | None,
        prior_submissions: Collection[int] | None = None,
        missing: Collection[str] = (),
    ) -> Outcome:
        """Adopt and conclude what is open, then claim and start what is left.

        Every claim takes the number that follows the state on which it was decided, so that a try that was suspended in
        between loses the claim and decides again. A request that AWS refuses fails the job once none of its work runs.

        Args:
            state: the ledger as just read.
            rerun_token: token for claims; one other than `state.rerun_token` begins a rerun.
            prior_submissions: None at the start of a try, else `Outcome.prior_submissions` of the previous pass.
            missing: AWS ids that were invisible for the whole grace period.

        Raises:
            Refused: AWS refused the request, or something that it names does not exist; nothing of the job runs.
            AwsError, LedgerError: a call failed.
            StoppedError: the task was killed.
            SupersededError: a later try has taken over.
            NotRunningError: Airflow has ended this try, and no later one has taken over.
        """
        self.prior_submissions = None if prior_submissions is None else frozenset(prior_submissions)
        just_started: set[int] = set()
        overtaken = state.rerun_token
        while True:
            if rerun_token != state.rerun_token:
                self._check_superseded(state)
                state = as_rerun(state, rerun_token)
            known = closed(state)
            state = self._look(state, missing, skip=just_started)
            if self.prior_submissions is None:
                self.prior_submissions = ended_before_try(
                    state, known, undecided(self.ledger, self.identity, lost_submissions(state))
                )
            state = replace(state, prior_submissions=self.prior_submissions)
            if stale := state.stale_submissions:
                return self._wait(state, stale)
            decision = decide(self.backend, state, idle=self._idle(state))
            if decision.action == "wait":
                return self._wait(state, state.open_submissions)
            if decision.action != "claim":
                released = self._release(state, keep=decision.action == "succeed")
                if released is state:
                    return self._end(state, decision)
                state = released
                continue
            self._check_superseded(state)
            for plan in decision.claims:
                try:
                    submission = self.submit(plan, state, rerun_token)
                except Refused as error:
                    self.refused = error
                    state = self._with_released(self.ledger.read())
                    if not state.open_submissions:
                        raise
                    # Nobody would watch what runs if the task failed now
                    return replace(self._wait(state, state.open_submissions), blocked=error)
                if submission is None:  # another try was faster: decide on what is left now
                    state = self.ledger.read()
                    if state.rerun_token != overtaken:  # it has begun a rerun, which this try must not stop
                        rerun_token = state.rerun_token
                    break
                if submission.intent is None:  # the requests wait for another job
                    return self._wait(state, state.open_submissions, wake_after=self.policy.dependency_pause)
                if submission.number not in self._others:
                    just_started.add(submission.number)
                derived = derive_state(
                    [*state.numbers, submission.number], [*state.submissions, submission], state.marker, state.now
                )
                state = replace(derived, prior_submissions=self.prior_submissions)
                if not submission.open:  # AWS accepted no call
                    return self._wait(state, state.open_submissions, wake_after=self.policy.resubmit_pause)

    # Observing

    def _look(self, state: LedgerState, missing: Collection[str], *, skip: set[int]) -> LedgerState:
        """Adopt, observe and conclude what is open; stop what a rerun replaces or a stop request names."""
        observed: dict[int, Submission] = {}
        stale = {submission.number for submission in state.stale_submissions}
        # A submission that owns a cluster comes before those that add steps to it, and is concluded after them
        for submission in reversed([one for one in state.submissions if one.open and one.number not in skip]):
            found = adopt(self.ledger, self.remote, submission, state, self.policy, sleep=self.sleep)
            if found.open and found.handle is not None:
                found = self._observe(found, missing, unwanted=submission.number in stale)
            observed[submission.number] = found
        if not observed:
            return state
        merged = [observed.get(one.number, one) for one in state.submissions]
        return replace(state, submissions=merged)

    def _observe(self, submission: Submission, missing: Collection[str], *, unwanted: bool) -> Submission:
        observation = self.remote.observe(submission)
        request = submission.stop
        if observation.status == "running" and (unwanted or request is not None):
            # Whoever requested the stop may have died before making the call
            reason, by = (request.reason, request.by) if request else ("a rerun has started", "rerun")
            stop(self.ledger, self.remote, [submission], reason, by=by)
            submission = replace(submission, stop=request or StopRequest(reason=reason, by=by))
            observation = replace(self.remote.observe(submission), idle=False)
        self._observations[submission.number] = observation
        self.remote.close(submission, observation)
        if observation.status == "running" or (observation.status == "not_visible" and not lost(submission, missing)):
            return submission
        return conclude(self.ledger, self.remote, submission, observation)

    def _idle(self, state: LedgerState) -> set[int]:
        return {
            one.number
            for one in state.open_submissions
            if (seen := self._observations.get(one.number)) is not None and seen.idle
        }

    def _release(self, state: LedgerState, *, keep: bool) -> LedgerState:
        """Conclude idle submissions now that nothing more is added to them; the same state if there are none."""
        idle = self._idle(state)
        ended = {
            one.number: self._conclude_idle(one)
            for one in state.open_submissions
            if one.number in idle and not (keep and self.backend.stays(one))
        }
        if not ended:
            return state
        return replace(state, submissions=[ended.get(one.number, one) for one in state.submissions])

    def _conclude_idle(self, submission: Submission) -> Submission:
        ended = replace(self._observations[submission.number], status="ended", idle=False)
        self.remote.close(submission, ended)
        return conclude(self.ledger, self.remote, submission, ended)

    def _with_released(self, state: LedgerState) -> LedgerState:
        """Do not leave an idle cluster waiting for steps that cannot be added."""
        return self._release(state, keep=True)

    def _check_superseded(self, state: LedgerState) -> None:
        """Check for claims that a later try of this task has made since this one began.

        Raises:
            SupersededError: there is one. Nobody would watch what this try starts.
        """
        who = self.identity
        for submission in state.submissions:
            owner = submission.owner
            if self.began is None or owner is None or submission.claimed_at is None:
                continue
            later = owner.try_number > who.try_number and submission.claimed_at > self.began
            if later and (owner.run_id, owner.task_id) == (who.run_id, who.task_id):
                raise SupersededError(owner.try_number)

    # Ending the pass

    def _wait(self, state: LedgerState, waits: list[Submission], *, wake_after: float | None = None) -> Outcome:
        assert self.prior_submissions is not None  # noqa: S101 - set by the first look
        return Outcome(
            "wait", state, self.prior_submissions, waits, self._observations, wake_after or self._wake(waits, state)
        )

    def _end(self, state: LedgerState, decision: Decision) -> Outcome:
        assert self.prior_submissions is not None  # noqa: S101 - set by the first look
        return Outcome(
            "succeed" if decision.action == "succeed" else "fail",
            state,
            self.prior_submissions,
            state.open_submissions,
            self._observations,
            failed=decision.failed,
            failures=decision.failures,
        )

    def _wake(self, waits: list[Submission], state: LedgerState) -> float | None:
        """Seconds until the next search for submissions that AWS does not show yet, or until they are abandoned."""
        unknown = [submission for submission in waits if submission.handle is None]
        if not unknown:
            return None
        ages = [(state.now - (submission.claimed_at or state.now)).total_seconds() for submission in unknown]
        return max(2.0, min(self.policy.resubmit_pause, self.policy.abandon_after + 2.0 - max(ages)))

    # Starting

    def submit(self, plan: SubmissionPlan, state: LedgerState, rerun_token: str | None) -> Submission | None:
        """Claim a submission and make its calls; None if another try has claimed the number.

        The submission that is returned has no intent if its requests have to wait for another job. It is abandoned if
        its lease expired, or AWS accepted no call, before anything was started: its units are free again. It may run
        only some of them. It has no handle if an answer was lost and the work cannot be found yet.

        Raises:
            Refused: AWS refused a request. What had been started of the submission is stopped, and the refusal is
                recorded, so that its units do not run again in this try.
            StoppedError: the task was killed. Nothing runs.
            NotRunningError: Airflow has ended this try while its worker was suspended. Nothing runs.
        """
        new = self.backend.new_submission(plan, state)
        if new is None:
            return Submission(plan.number, None)
        indices = IndexSet.union(request.indices for request in new.requests)
        intent = self.identity.intent(
            plan.number, new.kind, list(new.requests), indices, rerun_token=rerun_token, details=dict(new.details)
        )
        if self.stopping():
            raise StoppedError
        if not self.ledger.claim(plan.number, intent):
            return None
        self.claimed = True
        submission = Submission(plan.number, state.now, intent=intent)
        # From here on the lease limits how late a call can be
        if self.ledger.age() > self.policy.claim_lease and not self.running():
            self._record(submission, merged(new, []))
            raise NotRunningError
        handles, failure = self._call(submission, new)
        if isinstance(failure, Unknown):  # it may run, so it must not be recorded as abandoned
            if not self.stopping():
                return submission  # a later pass finds it by its name, or abandons it
            self._kill(submission)
        submission = replace(submission, handle=self._record(submission, merged(new, handles)))
        if self.stopping():
            self._kill(submission)
        late = self.ledger.lease_left(plan.number, self.policy.claim_lease) <= 0
        if submission.open and late and not self.running():  # the worker was suspended in the middle of the call
            stop(self.ledger, self.remote, [submission], "Airflow has ended the try that started it", by="submit")
            raise NotRunningError
        if submission.open and (request := self.ledger.stop_request(plan.number)) is not None:
            # Whoever requested the stop during the call could not find the work yet
            stop(self.ledger, self.remote, [submission], request.reason, by=request.by)
            submission = replace(submission, stop=request)
        self.unavailable = failure
        if isinstance(failure, Refused):
            if submission.open:
                stop(self.ledger, self.remote, [submission], str(failure), by=REFUSED)
            else:
                self.ledger.record_result(plan.number, refused_result(submission, str(failure)))
            raise failure
        return submission

    def _kill(self, submission: Submission) -> None:
        """Stop what this try has just started, unless a later try has taken it over in the meantime."""
        if still_ours(self.ledger, self.identity, [submission], self.began):
            stop(self.ledger, self.remote, [submission], "the task was killed", by="submit")
        raise StoppedError

    def _call(self, submission: Submission, new: NewSubmission) -> tuple[list[Handle], AwsError | None]:
        """Make the calls until one fails; return the handles of those that succeeded, and the failure."""
        if new.handle is not None:
            return [new.handle], None
        handles: list[Handle] = []
        for request in new.requests:
            try:
                self._guard(submission.number)
                handles.append(self._start(submission, request))
            except AwsError as error:
                return handles, error
            except (StoppedError, TimeoutError):
                return handles, None
        return handles, None

    def _guard(self, number: int) -> None:
        """Raise if no further call may be made."""
        if self.stopping():
            raise StoppedError
        if self.ledger.lease_left(number, self.policy.claim_lease) < self.policy.call_margin:
            raise TimeoutError

    def _start(self, submission: Submission, request: Request) -> Handle:
        def sleep(seconds: float) -> None:
            self.sleep(seconds)
            self._guard(submission.number)

        try:
            return self.backend.start(request, sleep)
        except Unknown:
            for pause in self.policy.find_pauses:
                self.sleep(pause)
                try:
                    found = find_and_end_duplicates(self.remote, submission)
                except AwsError:  # it is still unknown: a later pass searches again
                    break
                part = part_of(found.handle, request) if found is not None else None
                if part is not None:
                    return part
            raise

    def _record(self, submission: Submission, mine: Handle) -> Handle:
        """Record what was started; terminate what is not part of the handle in the ledger."""
        recorded = self.ledger.record_handle(submission.number, mine)
        if recorded.writer != mine.writer:
            self._others.add(submission.number)
        extra = difference(mine, recorded)
        if extra is not None:
            self.remote.terminate(replace(submission, handle=extra), "another try has taken the submission over")
        return recorded
