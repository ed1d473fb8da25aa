"""A cluster for other jobs of the run: started once, found again, started anew where it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.own_cluster import start
from airflow_batchemr.aws.emr.submission_view import plain
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import NewSubmission, SubmissionPlan
from airflow_batchemr.engine.single_work import ONE, SingleWork
from airflow_batchemr.ledger import Handle, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.cluster_options import ClusterOptions
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, Submission


@dataclass(kw_only=True)
class SharedCluster(SingleWork):
    """See the module, and `engine.backend.Backend`.

    Its submission is idle, and the task succeeds, when the cluster is up; the teardown task concludes it.

    Attributes:
        options: of the cluster.
        clients: AWS.
        ledger: the cluster's own.
        identity: of the cluster.
        used_by: ledger names of the jobs that it is for; they are recorded for the search for orphans.
    """

    options: ClusterOptions
    clients: Clients
    ledger: JobLedger
    identity: JobIdentity
    used_by: Sequence[str] = ()

    def done(self, state: LedgerState) -> IndexSet:  # noqa: ARG002 - of the protocol
        """Nothing: a cluster that has ended, however well, serves nobody."""
        return IndexSet()

    def retried_at_once(self, state: LedgerState, failed: IndexSet, prior: frozenset[int]) -> IndexSet:
        """The cluster, where AWS had no room for it and there is another subnet or instance type to try."""
        return failed if self.options.next_variant(state, prior) else IndexSet()

    def plans(
        self,
        state: LedgerState,
        left: IndexSet,
        *,
        failed: IndexSet,
        busy: Sequence[Submission],  # noqa: ARG002 - a cluster that starts is not left to do
        prior: frozenset[int],
    ) -> list[SubmissionPlan]:
        """The cluster, of the variant that is due."""
        if failed:
            return []
        return [SubmissionPlan(state.next_number, left, self.options.next_variant(state, prior) or 0)]

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission:  # noqa: ARG002 - of the protocol
        """A new cluster, or the one that an earlier submission has kept alive."""
        request = self.options.request(
            self.identity,
            plan.number,
            (),
            stays=True,
            variant=self.options.variants[plan.variant],
            folder=self.ledger.document_uri(""),
        )
        self.options.prepare(self.clients, self.ledger, request)
        call = Request(name=request["Name"], indices=ONE, request=plain(request))
        details = {
            "variant": plan.variant,
            "keep_alive": self.options.emr.keep_alive,
            "used_by": list(self.used_by),
        }
        kept = self.options.kept_alive(self.clients, self.ledger, self.identity) if plan.number > 1 else None
        if kept is not None and not plan.variant:
            handle = Handle(kind="emr", cluster_id=kept)
            return NewSubmission("emr", [call], {**details, "cluster_id": kept}, handle)
        return NewSubmission("emr", [call], details)

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:
        """RunJobFlow."""
        return start(self.clients, request, sleep)

    def stays(self, submission: Submission) -> bool:  # noqa: ARG002 - of the protocol
        """The cluster that is up serves other jobs."""
        return True
