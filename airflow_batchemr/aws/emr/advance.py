"""What a try does about a job on EMR: go on with what runs, start what is left, say what failed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.aws.emr.step_configs import remaining
from airflow_batchemr.aws.emr.submission_view import numbers_of
from airflow_batchemr.aws.errors import Refused
from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.aws.emr.submission_view import Look, Open
    from airflow_batchemr.aws.emr.submissions import EmrSubmissions
    from airflow_batchemr.ledger import JobLedger, LedgerState, Result

#: Seconds between two looks at an attempt that another process may just be starting. That lasts a minute at most.
UNKNOWN_PAUSE = 3.0


@dataclass(frozen=True)
class Failed:
    """An attempt that did not succeed."""

    opened: Open
    look: Look
    result: Result


@dataclass
class Move:
    """What is to be done next."""

    action: Literal["wait", "mark", "fail"]
    state: LedgerState
    waits: list[Open] = field(default_factory=list)
    before: set[int] = field(default_factory=set)
    """Attempts whose failures are those of earlier tries."""
    failed: list[Failed] = field(default_factory=list)
    cluster_id: str | None = None
    """The last cluster that worked for the job."""


class Advance(ABC):
    """Brings a job forward as far as it goes without waiting.

    Args:
        attempts: of the job.
        ledger: of the job.
        planned: all steps of the job.
        resume: whether what earlier tries have completed counts.
        ordered: whether steps run one after another.
        sleep: waits.
    """

    def __init__(
        self,
        submissions: EmrSubmissions,
        ledger: JobLedger,
        planned: Sequence[PlannedStep],
        *,
        resume: bool = True,
        ordered: bool = True,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._attempts = submissions
        self._ledger = ledger
        self._planned = planned
        self._resume = resume
        self._ordered = ordered
        self._sleep = sleep
        self.before: Collection[int] | None = None
        """Attempts whose failures are those of earlier tries, from the moment on at which they are known."""

    @abstractmethod
    def begin(self, number: int, left: list[PlannedStep], rerun_token: str | None, last: Failed | None) -> Open | None:
        """Claim an attempt and start the first of what is left.

        Args:
            number: of the attempt.
            left: the steps that are left to do.
            fresh: token for the claim.
            last: the attempt that has just failed and is to be made good, where there is one.
        """

    def go_on(
        self, cluster: tuple[Open, Look], number: int, left: list[PlannedStep], rerun_token: str | None
    ) -> Open | None:  # noqa: ARG002 - for subclasses
        """After steps that have all succeeded, add the next ones to the same cluster; None where that cannot be."""
        return None

    def close(self, opened: Open, look: Look) -> None:  # noqa: B027 - for subclasses
        """Before an attempt's end is recorded: make sure that nothing of it goes on costing money."""

    def retried_at_once(self, failed: Failed) -> bool:  # noqa: ARG002 - for subclasses
        """Whether a failure is made good within the same try."""
        return False

    def run(self, state: LedgerState, rerun_token: str | None, before: Iterable[int] | None) -> Move:
        """Read, adopt, look, conclude, start.

        Args:
            state: the ledger as just read.
            fresh: token for new claims; one other than the state's begins a rerun.
            before: attempts whose failures are those of earlier tries; None at the start of a try.

        Raises:
            Refused: AWS said no; nothing of the job is left running.
            AwsError: a call failed.
            StoppedError: the task was killed.
        """
        forgiven = None if before is None else set(before)
        rerun = rerun_token != state.rerun_token
        self._stop(state, [*state.stale_submissions, *(state.open_submissions if rerun else [])])
        last: Failed | None = None
        cluster_id: str | None = None
        while True:
            current = [] if rerun else state.current
            opens = self._adopted(state) if not rerun else []
            if any(one.cluster_id is None for one in opens):
                self._sleep(UNKNOWN_PAUSE)
                state = self._ledger.read()
                continue
            pairs = [(one, self._look(one)) for one in opens]
            if forgiven is None:
                forgiven = {submission.number for submission in current if not submission.open}
                forgiven |= {one.number for one, look in pairs if self._attempts.over(one, look)}
            self.before = forgiven
            if any(not self._attempts.over(one, look) for one, look in pairs):
                return Move("wait", state, opens, forgiven, cluster_id=opens[-1].cluster_id)
            done = {} if rerun else done_steps(state, pairs, resume=self._resume)
            left = remaining(self._planned, done, ordered=self._ordered)
            good = all(look.succeeded == numbers_of([one]) for one, look in pairs)
            refused: Refused | None = None
            if pairs and good and left:
                try:
                    added = self.go_on(pairs[0], state.next_number, left, rerun_token)
                except Refused as error:  # the cluster, which now waits for steps that do not come, is not left alone
                    added, refused = None, error
                if added is not None:
                    state = self._ledger.read()
                    continue
            failed = []
            for one, look in reversed(pairs):  # a cluster's own attempt last: until then it is known to be there
                cluster_id = cluster_id or one.cluster_id
                self.close(one, look)
                result = self._conclude(one, look, good=good)
                last = Failed(one, look, result)
                if result.outcome not in {"succeeded", "stopped"}:
                    failed.append(last)
            if refused is not None:
                raise refused
            failed = [one for one in failed if one.opened.number not in forgiven]
            if failed and not all(self.retried_at_once(one) for one in failed):
                return Move("fail", self._ledger.read(), before=forgiven, failed=failed, cluster_id=cluster_id)
            if pairs and good and not left:
                return Move("mark", state, before=forgiven, cluster_id=cluster_id)
            if pairs:
                state = self._ledger.read()
            done = {} if rerun else done_steps(state, [], resume=self._resume)
            left = remaining(self._planned, done, ordered=self._ordered)
            if not left:
                return Move("mark", state, before=forgiven, cluster_id=cluster_id)
            started = self.begin(state.next_number, left, rerun_token, failed[0] if failed else None)
            if started is not None and started.cluster_id is not None:
                return Move("wait", state, [started], forgiven, cluster_id=started.cluster_id)
            state = self._ledger.read()
            rerun = rerun_token != state.rerun_token  # the claim has begun it

    def _adopted(self, state: LedgerState) -> list[Open]:
        adopted = [self._attempts.adopt(submission, state) for submission in state.open_submissions]
        return [one for one in adopted if one is not None]

    def _look(self, opened: Open) -> Look:
        look = self._attempts.look(opened)
        if (
            opened.submission is not None
            and opened.submission.stop is not None
            and not self._attempts.over(opened, look)
        ):
            # Whoever left the word may not have got to the call
            self._attempts.end(opened)
            look = self._attempts.look(opened)
        return look

    def _conclude(self, opened: Open, look: Look, *, good: bool) -> Result:
        submission = opened.submission
        stopped = submission is not None and submission.stop is not None
        return self._attempts.conclude(
            opened,
            look,
            rerun_token=submission.rerun_token if submission else None,
            indices=numbers_of([opened]) if opened.titles else IndexSet.of([0]),
            for_good=self._resume or good,
            stopped=stopped,
        )

    def _stop(self, state: LedgerState, submissions: Iterable[object]) -> None:
        """End what a rerun has overtaken."""
        wanted = {submission.number for submission in submissions}  # type: ignore[attr-defined]
        for submission in reversed([one for one in state.submissions if one.number in wanted]):
            opened = self._attempts.adopt(submission, state)
            while opened is not None and opened.cluster_id is None:
                self._sleep(UNKNOWN_PAUSE)
                opened = self._attempts.adopt(submission, self._ledger.read())
            if opened is None:
                continue
            self._attempts.stop(opened, "a rerun was asked for", by="rerun")
            opened.submission = submission
            self._attempts.conclude(
                opened,
                self._attempts.look(opened),
                rerun_token=submission.rerun_token,
                indices=submission.indices,
                for_good=False,
                stopped=True,
            )


def done_steps(state: LedgerState, pairs: Sequence[tuple[Open, Look]], *, resume: bool) -> dict[int, str]:
    """Digests of the steps that need not be done again: out of the ledger, and of what AWS has just said.

    Without `resume` only what has been done since the last attempt that did not succeed counts.
    """
    done: dict[int, str] = {}
    for submission in state.current:
        if submission.result is None:
            continue
        if submission.result.outcome != "succeeded" and not resume:
            done = {}
            continue
        known = submission.result.details.get("digests")
        if isinstance(known, dict):
            done.update({int(number): str(digest) for number, digest in known.items()})
    for opened, look in pairs:
        intent = opened.submission.intent if opened.submission else None
        steps = intent.details.get("steps") if intent else None
        if isinstance(steps, dict):
            done.update({n: str(steps[str(n)]["digest"]) for n in look.succeeded if str(n) in steps})  # type: ignore[index,call-overload]
    return done
