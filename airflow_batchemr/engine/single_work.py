"""What there is to do for a job that is one piece of work, such as a job run or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import SubmissionPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.ledger import LedgerState, Submission

#: The only unit of such a job.
ONE = IndexSet.of([0])


class SingleWork:
    """One unit, implementing `engine.backend.Work`."""

    def units(self, state: LedgerState) -> IndexSet:  # noqa: ARG002 - of the protocol
        """The unit."""
        return ONE

    def done(self, state: LedgerState) -> IndexSet:
        """The unit, if a submission has succeeded."""
        return state.done & ONE

    def retryable_units(self, state: LedgerState, failed: IndexSet) -> IndexSet:  # noqa: ARG002 - of the protocol
        """Nothing: the next try retries what failed."""
        return IndexSet()

    def plans(
        self,
        state: LedgerState,
        left: IndexSet,
        *,
        failed: IndexSet,  # noqa: ARG002 - of the protocol
        busy: Sequence[Submission],  # noqa: ARG002 - of the protocol
    ) -> list[SubmissionPlan]:
        """The unit."""
        return [SubmissionPlan(state.next_number, left)]
