"""What there is to do for an array: which indices are left, and with how much memory they run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import SubmissionPlan
from airflow_batchemr.engine.decide import original_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_batchemr.ledger import LedgerState, Result, Submission

OUT_OF_MEMORY = "oom"
"""`Failure.cause` of an index that ran out of memory: it runs again with the next memory size."""


@dataclass
class ArrayWork:
    """The indices of a job, implementing `engine.backend.Work`.

    Attributes:
        size: number of indices of the job.
        memory_sizes: how many memory sizes the job has.
        resumable: False for a job without the preamble: what is left is then the whole array or nothing.
    """

    size: int
    memory_sizes: int = 1
    resumable: bool = True

    def units(self, state: LedgerState) -> IndexSet:
        """All indices; a run that started with another array size keeps that size."""
        return IndexSet.range(original_size(state) or self.size)

    def done(self, state: LedgerState) -> IndexSet:
        """The indices that have succeeded."""
        if state.marker is not None:
            return state.marker.indices
        return IndexSet.union(result.succeeded for result in _results(state))

    def retryable_units(self, state: LedgerState, failed: IndexSet) -> IndexSet:
        """The indices that ran out of memory, while there is a larger size."""
        results = _results(state)
        steps = _memory_steps(results)
        last = IndexSet()
        for result in results:
            for cause, indices in result.causes.items():
                last = last | indices if cause == OUT_OF_MEMORY else last - indices
        return IndexSet.of(index for index, step in steps.items() if step < self.memory_sizes) & failed & last

    def plans(
        self,
        state: LedgerState,
        left: IndexSet,
        *,
        failed: IndexSet,
        busy: Sequence[Submission],
    ) -> list[SubmissionPlan]:
        """One submission for each memory size that the indices need."""
        steps = _memory_steps(_results(state))
        if not self.resumable:
            if failed or busy:
                return []
            # A part of it would see wrong indices, so all of it runs with the largest memory that any index needs
            left = self.units(state)
            steps = Counter(dict.fromkeys(left, max(steps.values(), default=0)))
        grown: dict[int, list[int]] = {}
        for index, step in steps.items():
            if index in left:
                grown.setdefault(min(step, self.memory_sizes - 1), []).append(index)
        groups = {step: IndexSet.of(indices) for step, indices in sorted(grown.items()) if step > 0}
        first = left - IndexSet.union(groups.values())
        if first:
            groups = {0: first, **groups}
        return [
            SubmissionPlan(number, indices, step)
            for number, (step, indices) in enumerate(groups.items(), state.next_number)
        ]


def _results(state: LedgerState) -> list[Result]:
    """Results of Batch jobs; for other kinds of work the indices mean other units."""
    return [one.result for one in state.current if one.result is not None and one.result.kind == "batch"]


def _memory_steps(results: Iterable[Result]) -> Counter[int]:
    """How often each index ran out of memory, which is the position of its next memory size."""
    return Counter(index for result in results for index in result.causes.get(OUT_OF_MEMORY, ()))
