"""The cluster that a job of this run may use: found through the ledger of the task that has set it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.errors import InvalidRequest

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import JobLedger


@dataclass(frozen=True)
class RunningCluster:
    """A cluster that is up."""

    cluster_id: str
    master: str
    """DNS name of the master; the private one in a private subnet."""
    bootstrap: frozenset[str] = frozenset()
    """Names of its bootstrap actions."""

    def environment(self) -> dict[str, str]:
        """What a Batch job beside the cluster is told."""
        return {"EMR_CLUSTER_ID": self.cluster_id, "EMR_MASTER": self.master}


def running_cluster(clients: Clients, ledger: JobLedger) -> RunningCluster:
    """The cluster that stands in a cluster's ledger, asked after on AWS: 1 DescribeCluster.

    Args:
        clients: AWS.
        ledger: of the cluster: `<job or cluster>.cluster`.

    Raises:
        InvalidRequest: there is none, or it is not up.
    """
    known = [
        (one.handle.cluster_id, one.intent)
        for one in ledger.read().open_submissions
        if one.handle is not None and one.handle.cluster_id is not None
    ]
    if not known:
        raise InvalidRequest(
            f"no cluster is set up for this run ({ledger.uri}): clear the task that creates it, and this one with it"
        )
    cluster_id, intent = known[-1]
    said = clusters.describe(clients, cluster_id)
    brief = None if said is None else Cluster.of(said)
    if said is None or brief is None or not brief.up:
        raise InvalidRequest(
            f"the cluster {cluster_id} is not up: {brief.why if brief else 'EMR does not know it'}. Clear the task "
            "that creates it, and this one with it"
        )
    actions: Any = intent.requests[0].request.get("BootstrapActions") if intent else None
    names = frozenset(str(action["Name"]) for action in actions or [])
    return RunningCluster(cluster_id, said.get("MasterPublicDnsName", ""), names)
