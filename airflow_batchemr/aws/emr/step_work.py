"""What there is to do for a job of EMR steps: which steps are left, and which of them run together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.request import STEPS_AT_CREATION
from airflow_batchemr.aws.emr.step_configs import numbers, remaining
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import SubmissionPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.ledger import LedgerState, Submission


@dataclass(kw_only=True)
class StepWork:
    """The steps of a job, implementing `engine.backend.Work`.

    Attributes:
        planned: all steps.
        resume: whether steps that completed in earlier tries count.
        concurrency: how many steps run at once; with more than one, each stage waits for the one before it.
        one_by_one: whether a step whose failure must keep the next one from running is submitted alone: on a cluster
            that others use EMR would go on to the next step, cancel other people's steps, or end their cluster.
    """

    planned: Sequence[PlannedStep]
    resume: bool = True
    concurrency: int = 1
    one_by_one: bool = False

    def units(self, state: LedgerState) -> IndexSet:  # noqa: ARG002 - of the protocol
        """All steps."""
        return numbers(self.planned)

    def done(self, state: LedgerState) -> IndexSet:
        """The steps that have completed and are still the same."""
        if state.marker is not None:
            return state.marker.indices
        left = remaining(self.planned, done_digests(state, resume=self.resume), ordered=self.concurrency == 1)
        return numbers(self.planned) - numbers(left)

    def retried_at_once(self, state: LedgerState, failed: IndexSet, prior: frozenset[int]) -> IndexSet:  # noqa: ARG002 - of the protocol
        """A step that failed is retried by the next try."""
        return IndexSet()

    def plans(
        self,
        state: LedgerState,
        left: IndexSet,
        *,
        failed: IndexSet,
        busy: Sequence[Submission],
        prior: frozenset[int],  # noqa: ARG002 - of the protocol
    ) -> list[SubmissionPlan]:
        """The next steps, once the ones before them have all succeeded."""
        if failed or busy:
            return []
        return [SubmissionPlan(state.next_number, numbers(self.batch(left)))]

    def batch(self, left: IndexSet) -> list[PlannedStep]:
        """The steps to submit together, out of those that are left."""
        steps = [step for step in self.planned if step.number in left][:STEPS_AT_CREATION]
        if self.concurrency > 1 or self.one_by_one:
            steps = [step for step in steps if step.stage == steps[0].stage]
        if self.one_by_one:
            alone = next((position for position, step in enumerate(steps) if step.on_failure is None), len(steps))
            steps = steps[: alone + 1]
        return steps

    def steps(self, indices: IndexSet) -> list[PlannedStep]:
        """The steps with these numbers."""
        return [step for step in self.planned if step.number in indices]


def done_digests(state: LedgerState, *, resume: bool) -> dict[int, str]:
    """Digests of the steps that need not run again, by number.

    Without `resume` only what was done since the last submission that did not succeed counts.
    """
    done: dict[int, str] = {}
    for submission in state.current:
        result = submission.result
        if result is None or result.kind not in {"emr", "steps"}:
            continue
        if result.outcome != "succeeded" and not resume:
            done = {}
            continue
        known = result.details.get("digests")
        if isinstance(known, dict):
            done.update({int(number): str(digest) for number, digest in known.items()})
    return done
