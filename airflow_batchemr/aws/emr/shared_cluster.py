"""A cluster for other jobs of the run: started once, found again after a crash, restarted if it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.cluster_options import ClusterOptions
from airflow_batchemr.aws.emr.options import needs_options
from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.aws.emr.request import plain
from airflow_batchemr.aws.emr.steps_backend import start_cluster_or_steps
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import NewSubmission, SubmissionPlan
from airflow_batchemr.engine.single_work import ONE, SingleWork
from airflow_batchemr.ledger import Handle, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.core.errors import InvalidRequest
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, Ledger, LedgerState, Submission
    from airflow_batchemr.pipeline_file.models import Emr


@dataclass(kw_only=True)
class SharedCluster(SingleWork):
    """See the module, and `engine.backend.Backend`.

    Its submission is idle, and the task succeeds, when the cluster is up; the teardown task concludes it.
    """

    options: ClusterOptions
    clients: Clients
    ledger: JobLedger
    identity: JobIdentity
    used_by: Sequence[str] = ()
    """Ledger names of the jobs that use it; recorded for the detection of orphans."""

    @classmethod
    def of(
        cls,
        cluster: Emr,
        needs: Mapping[str, Any] | None,
        *,
        tags: Mapping[str, str],
        folder: Path,
        used_by: Sequence[str],
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
        invalid: InvalidRequest | None = None,
    ) -> Self:
        """The backend of a cluster, whose options are checked as a whole; `needs` are those of its steps.

        `invalid` is as in `ClusterOptions`.

        Raises:
            InvalidRequest: names the option.
        """
        wanted = needs_options(needs)
        pythons = environments(clients, wanted.python_env, folder)
        options = ClusterOptions(cluster, wanted, pythons, tags, invalid)
        options.request(ledger, identity, stays=True)
        return cls(options=options, clients=clients, ledger=ledger, identity=identity, used_by=used_by)

    def done(self, state: LedgerState) -> IndexSet:  # noqa: ARG002 - of the protocol
        """Nothing: a cluster that has ended is of no use, even if it succeeded."""
        return IndexSet()

    def retryable_units(self, state: LedgerState, failed: IndexSet) -> IndexSet:
        """The cluster, if AWS had no capacity for it and there is another subnet or instance type to try."""
        return failed if self.options.next_variant(state) else IndexSet()

    def plans(
        self,
        state: LedgerState,
        left: IndexSet,
        *,
        failed: IndexSet,
        busy: Sequence[Submission],  # noqa: ARG002 - a cluster that starts is not left to do
    ) -> list[SubmissionPlan]:
        """The cluster, of the next variant."""
        if failed:
            return []
        return [SubmissionPlan(state.next_number, left, self.options.next_variant(state) or 0)]

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission:  # noqa: ARG002 - of the protocol
        """A new cluster, or the one that an earlier submission has kept alive."""
        request = self.options.request(self.ledger, self.identity, plan.number, stays=True, variant=plan.variant)
        self.prepare(request)
        call = Request(name=request["Name"], indices=ONE, request=plain(request))
        keep_alive = self.options.emr.keep_alive
        details = {"variant": plan.variant, "keep_alive": keep_alive, "used_by": list(self.used_by)}
        kept = self.options.kept_alive(self.clients, self.ledger, self.identity, plan)
        if kept is not None:
            handle = Handle(kind="emr", cluster_id=kept)
            return NewSubmission("emr", [call], {**details, "cluster_id": kept}, handle)
        return NewSubmission("emr", [call], details)

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:
        """RunJobFlow."""
        return start_cluster_or_steps(self.clients, request, sleep)

    def stays(self, submission: Submission) -> bool:  # noqa: ARG002 - of the protocol
        """A running cluster stays for other jobs."""
        return True

    def prepare(self, request: Mapping[str, Any]) -> None:
        """Check that EMR has what the request needs, and upload its scripts."""
        self.options.prepare(self.clients, self.ledger, request)


def up_document(cluster_id: str) -> str:
    """Name of the document that the setup task writes when its cluster is up: id and address of the cluster."""
    return f"cluster/{cluster_id}.json"


def all_succeeded(ledger: Ledger, identity: JobIdentity, used_by: Sequence[str], again: Collection[str] = ()) -> bool:
    """Whether no job needs the cluster any more: all have markers.

    Those in `again`, which this run of Airflow reruns, have markers of this run after their reruns.
    """
    for name in used_by:
        marker = ledger.job(identity.dag_id, identity.run_key, name).read().marker
        if marker is None:
            return False
        if name in again and not (marker.rerun_token or "").startswith(f"{identity.run_id}#"):
            return False
    return bool(used_by)
