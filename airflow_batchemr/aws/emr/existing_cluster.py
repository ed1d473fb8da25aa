"""A job on a cluster that was there before it and outlives it: shared by a run, or somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.own_cluster import StepsBackend
from airflow_batchemr.aws.emr.request import check_steps

if TYPE_CHECKING:
    from airflow_batchemr.engine.backend import NewSubmission, SubmissionPlan
    from airflow_batchemr.ledger import LedgerState


@dataclass(kw_only=True)
class ExistingCluster(StepsBackend):
    """See the module.

    Attributes:
        cluster: returns the cluster's id and step concurrency; called when there is something to submit. Raises
            `InvalidRequest` where the cluster cannot run the steps.
    """

    cluster: Callable[[], tuple[str, int]]

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission:  # noqa: ARG002 - of the protocol
        """The steps, added to the cluster."""
        cluster_id, concurrency = self.cluster()
        new = self.steps_on(plan.number, cluster_id, self.steps(plan.indices), "continue", {})
        check_steps(new.requests[0].request["Steps"], concurrency)  # type: ignore[arg-type]
        return new
