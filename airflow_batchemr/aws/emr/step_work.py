"""What there is to do for a job of EMR steps: which steps are left, and which of them run together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.job_steps import numbers, remaining
from airflow_batchemr.aws.emr.request import STEPS_AT_CREATION
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import SubmissionPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.emr.job_steps import PlannedStep
    from airflow_batchemr.ledger import LedgerState, Submission


@dataclass(kw_only=True)
class StepWork:
    """The steps of a job, implementing `engine.backend.Work`.

    Attributes:
        planned: all steps.
        resume: whether steps that completed in earlier tries count.
        concurrency: how many steps run at once; with more than one, each stage waits for the previous one.
        one_by_one: whether a step whose failure must prevent the next one is submitted alone: on a shared cluster EMR
            would run the next step, cancel the steps of others, or end their cluster.
    """

    planned: Sequence[PlannedStep]
    resume: bool = True
    concurrency: int = 1
    one_by_one: bool = False

    def units(self, state: LedgerState) -> IndexSet:  # noqa: ARG002 - of the protocol
        """All steps."""
        return numbers(self.planned)

    def done(self, state: LedgerState) -> IndexSet:
        """The steps that have completed in this try, or in an earlier one and are still the same.

        Airflow renders templates again after each deferral, so a step may differ from the one that this try has run.
        """
        if state.marker is not None:
            return state.marker.indices
        ran = IndexSet.union(one.succeeded for one in state.current if one.number not in state.prior_submissions)
        digests = self._done_digests(state) | {step.number: step.digest for step in self.planned if step.number in ran}
        left = remaining(self.planned, digests, ordered=self._ordered)
        return numbers(self.planned) - numbers(left)

    @property
    def _ordered(self) -> bool:
        return self.concurrency == 1

    def _done_digests(self, state: LedgerState) -> dict[int, str]:
        """Digests of the steps that do not have to run again, by number.

        Without `resume`, only steps since the last submission that did not succeed count. If a step has run again
        because it had changed, later steps count only if they have run again, too.
        """
        done: dict[int, str] = {}
        for submission in state.current:
            result = submission.result
            if result is None or result.kind not in {"emr", "steps"} or result.outcome == "abandoned":
                continue
            if result.outcome != "succeeded" and not self.resume:
                done = {}
                continue
            recorded = result.details.get("digests")
            known = recorded.items() if isinstance(recorded, dict) else ()
            ran = {int(number): str(digest) for number, digest in known}
            changed = [number for number in sorted(ran) if done.get(number, ran[number]) != ran[number]]
            if changed:
                done = {number: digest for number, digest in done.items() if not self._follows(number, changed[0])}
            done.update(ran)
        return done

    def _follows(self, number: int, first: int) -> bool:
        """Whether a step may use the output of another one."""
        if self._ordered:
            return number > first
        stages = {step.number: step.stage for step in self.planned}
        return stages.get(number, 0) > stages.get(first, 0)

    def retryable_units(self, state: LedgerState, failed: IndexSet) -> IndexSet:  # noqa: ARG002 - of the protocol
        """Nothing: the next try retries a failed step."""
        return IndexSet()

    def plans(
        self,
        state: LedgerState,
        left: IndexSet,
        *,
        failed: IndexSet,
        busy: Sequence[Submission],
    ) -> list[SubmissionPlan]:
        """The next steps, once the ones before them have all succeeded."""
        if failed or busy:
            return []
        return [SubmissionPlan(state.next_number, numbers(self.batch(left)))]

    def batch(self, left: IndexSet) -> list[PlannedStep]:
        """The steps to submit together, from those that are left."""
        steps = [step for step in self.planned if step.number in left][:STEPS_AT_CREATION]
        if self.concurrency > 1 or self.one_by_one:
            steps = [step for step in steps if step.stage == steps[0].stage]
        if self.one_by_one:
            alone = next((position for position, step in enumerate(steps) if step.on_failure is None), len(steps))
            steps = steps[: alone + 1]
        if self.concurrency == 1:
            # EMR would run the next step although the program has not written its object
            ends = (n for n, step in enumerate(steps) if step.explicit and step.on_failure != "continue")
            steps = steps[: next(ends, len(steps)) + 1]
        return steps

    def steps(self, indices: IndexSet) -> list[PlannedStep]:
        """The steps with these numbers."""
        return [step for step in self.planned if step.number in indices]
