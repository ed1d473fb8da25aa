"""The cluster that a job of this run uses, found through the ledger of the task that started it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.engine.ownership import difference, refuse

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.job_identity import JobIdentity


@dataclass(frozen=True)
class RunningCluster:
    """A cluster that is up."""

    cluster_id: str
    master: str
    """DNS name of the master; the private one in a private subnet."""
    bootstrap: frozenset[str] = frozenset()
    """Names of its bootstrap actions."""

    def environment(self) -> dict[str, str]:
        """Environment variables of a Batch job that uses the cluster."""
        return {"EMR_CLUSTER_ID": self.cluster_id, "EMR_MASTER": self.master}


def running_cluster(clients: Clients, identity: JobIdentity, name: str) -> RunningCluster:
    """The running cluster that is recorded in the ledger of `<job or cluster>.cluster`: 1 DescribeCluster.

    Args:
        clients: for the calls.
        identity: of any job of the run.
        name: of the cluster in the ledger.

    Raises:
        InvalidRequest: there is none, or it is not up.
        ForeignWorkError: the record names somebody else's.
    """
    who = replace(identity, job=name)
    ledger = clients.ledger(who.state).job(who.dag_id, who.run_key, name)
    known = [
        (one.number, one.handle.cluster_id, one.intent)
        for one in ledger.read().open_submissions
        if one.handle is not None and one.handle.cluster_id is not None
    ]
    if not known:
        raise InvalidRequest(
            f"no cluster is running for this run ({ledger.uri}): clear the task that creates it together with this one"
        )
    number, cluster_id, intent = known[-1]
    description = clusters.describe(clients, cluster_id)
    if description is None or not Cluster.of(description).up:
        why = Cluster.of(description).why if description else "EMR does not know it"
        raise InvalidRequest(
            f"the cluster {cluster_id} is not up: {why}. Clear the task that creates it together with this one"
        )
    tags = clusters.tags_of(description)
    problem = difference(who, number, Cluster.of(description).name, tags, earlier=True)
    refuse(ledger, number, {cluster_id: problem})
    actions: Any = intent.first.get("BootstrapActions") if intent else None
    names = frozenset(str(action.get("Name")) for action in actions or [])
    return RunningCluster(cluster_id, description.get("MasterPublicDnsName", ""), names)
