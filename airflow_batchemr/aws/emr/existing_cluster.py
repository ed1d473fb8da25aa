"""A job on a cluster that exists before it and outlives it: one shared by the run, or any other cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.clusters import ALIVE, Cluster
from airflow_batchemr.aws.emr.preflight import check_versions
from airflow_batchemr.aws.emr.request import check_steps
from airflow_batchemr.aws.emr.running_cluster import running_cluster
from airflow_batchemr.aws.emr.steps_backend import StepsBackend
from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_steps import JobSteps
    from airflow_batchemr.engine.backend import NewSubmission, SubmissionPlan
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState


def one_cluster(named: Mapping[str, str | None]) -> None:
    """Check that exactly one of the options that name a cluster is given.

    Raises:
        InvalidRequest: none or several are.
    """
    given = [option for option, value in named.items() if value]
    if len(given) != 1:
        raise InvalidRequest(
            f"exactly one of cluster, cluster_id and cluster_name is needed, not {' and '.join(given) or 'none'}"
        )


@dataclass(kw_only=True)
class ExistingCluster(StepsBackend):
    """See the module; exactly one of cluster, cluster_id and cluster_name is given."""

    cluster: str | None = None
    """Ledger name of a cluster of this run."""
    cluster_id: str | None = None
    cluster_name: str | None = None
    """Name of the only cluster of that name that is alive."""
    needs: Needs = field(default_factory=Needs)
    installed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        steps: JobSteps,
        *,
        cluster: str | None,
        cluster_id: str | None,
        cluster_name: str | None,
        resume: bool,
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
    ) -> Self:
        """The backend of a job, whose options are checked as a whole.

        Raises:
            InvalidRequest: names the option.
        """
        one_cluster({"cluster": cluster, "cluster_id": cluster_id, "cluster_name": cluster_name})
        if steps.installed and not cluster:
            raise InvalidRequest(
                f"python_env: {next(iter(steps.installed))} is installed when a cluster starts, and this one is "
                "running: give a packed environment (s3://….tar.gz)"
            )
        return cls(
            planned=steps.planned,
            resume=resume,
            one_by_one=True,
            execution_role=steps.execution_role,
            clients=clients,
            ledger=ledger,
            identity=identity,
            cluster=cluster,
            cluster_id=cluster_id,
            cluster_name=cluster_name,
            needs=steps.needs,
            installed=steps.installed,
        )

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission:  # noqa: ARG002 - of the protocol
        """The steps to add to the cluster."""
        cluster_id, concurrency = self.find_cluster()
        new = self.steps_on(plan.number, cluster_id, self.steps(plan.indices), "continue")
        check_steps(new.requests[0].request["Steps"], concurrency)  # type: ignore[arg-type]
        return new

    def find_cluster(self) -> tuple[str, int]:
        """Id and step concurrency of the cluster.

        Raises:
            InvalidRequest: the cluster does not exist, or cannot run the steps.
        """
        cluster_id = self._cluster_id()
        described = clusters.describe(self.clients, cluster_id)
        if described is None:
            raise InvalidRequest(f"cluster_id: EMR knows no cluster {cluster_id} in this account and region")
        brief = Cluster.of(described)
        if not brief.alive:
            raise InvalidRequest(f"cluster_id: the cluster {cluster_id} has ended: {brief.why}")
        check_versions(f"the cluster {cluster_id}", described, self.needs.applications, self.needs.requires)
        return cluster_id, int(described.get("StepConcurrencyLevel") or 1)

    def _cluster_id(self) -> str:
        if self.cluster:
            return self._cluster_of_the_run(self.cluster)
        if not self.cluster_name:
            return str(self.cluster_id)
        alive = clusters.listed(self.clients, states=sorted(ALIVE))
        named = clusters.in_order(entry for entry in alive if entry.get("Name") == self.cluster_name)
        if not named:
            raise InvalidRequest(f"cluster_name: no cluster named {self.cluster_name!r} is alive in this region")
        if len(named) > 1:  # anybody who may start clusters in the account can use the name
            ids = ", ".join(one.cluster_id for one in named)
            raise InvalidRequest(
                f"cluster_name: {len(named)} clusters named {self.cluster_name!r} are alive: {ids}. Set `cluster_id` "
                "to the one to use, or terminate the others"
            )
        return named[0].cluster_id

    def _cluster_of_the_run(self, name: str) -> str:
        found = running_cluster(self.clients, self.identity, name)
        lacking = [value for value, script in self.installed.items() if script not in found.bootstrap]
        if lacking:
            raise InvalidRequest(
                f"python_env: the cluster {found.cluster_id} was started without the current {lacking[0]}: clear the "
                "task that creates it together with this one (in a Dag of your own, add it to `needs` of that task)"
            )
        return found.cluster_id
