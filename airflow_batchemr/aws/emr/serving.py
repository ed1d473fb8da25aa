"""The cluster that a job of this run may use: found through the ledger of the task that has set it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.errors import InvalidRequest

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import JobLedger


@dataclass(frozen=True)
class Serving:
    """A cluster that is up."""

    cluster_id: str
    master: str
    """DNS name of the master; the private one in a private subnet."""

    def environment(self) -> dict[str, str]:
        """What a Batch job beside the cluster is told."""
        return {"EMR_CLUSTER_ID": self.cluster_id, "EMR_MASTER": self.master}


def serving(clients: Clients, ledger: JobLedger) -> Serving:
    """The cluster that stands in a cluster's ledger, asked after on AWS: 1 DescribeCluster.

    Args:
        clients: AWS.
        ledger: of the cluster: `<job or cluster>.cluster`.

    Raises:
        InvalidRequest: there is none, or it is not up.
    """
    handles = [attempt.handle for attempt in ledger.read().open_attempts if attempt.handle is not None]
    known = [handle.cluster_id for handle in handles if handle.cluster_id is not None]
    if not known:
        raise InvalidRequest(
            f"no cluster is set up for this run ({ledger.uri}): clear the task that creates it, and this one with it"
        )
    said = clusters.describe(clients, known[-1])
    brief = None if said is None else Cluster.of(said)
    if said is None or brief is None or not brief.up:
        raise InvalidRequest(
            f"the cluster {known[-1]} is not up: {brief.why if brief else 'EMR does not know it'}. Clear the task that "
            "creates it, and this one with it"
        )
    return Serving(known[-1], said.get("MasterPublicDnsName", ""))
