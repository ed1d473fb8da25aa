"""Calls about clusters: create, find again, describe, end."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from botocore import xform_name

from airflow_batchemr.aws.errors import InvalidRequest, NotFound, Throttled, member
from airflow_batchemr.aws.rate import Rate
from airflow_batchemr.aws.retry import call_again, call_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients

#: States in which a cluster accepts steps, now or later.
ALIVE = frozenset({"STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"})
#: Half of what EMR allows an account for all operations: 5 calls per second, 25 at once (defaults in Service Quotas).
#: All reads of this process share it, whatever their connection. ListClusters and ListSteps by themselves are allowed
#: 0.5 per second after 20 or 10 at once; if EMR throttles one operation, all get slower.
RATE = Rate(per_second=2.5, burst=10)
#: AWS: clusters per TerminateJobFlows or SetTerminationProtection.
TERMINATE_CHUNK = 10
#: Searches by creation time begin this much earlier, because clocks differ.
CLOCK_SKEW = timedelta(minutes=10)


@dataclass(frozen=True)
class Cluster:
    """A cluster as AWS describes it."""

    cluster_id: str
    name: str
    state: str
    code: str = ""
    """StateChangeReason.Code, such as ALL_STEPS_COMPLETED, USER_REQUEST, BOOTSTRAP_FAILURE."""
    message: str = ""
    """StateChangeReason.Message."""
    created: datetime | None = field(default=None, compare=False)
    ready: bool = False
    """Whether it has ever been up: if so, a cluster that ended did not fail to start."""

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Cluster:
        """Read DescribeCluster's `Cluster` or an entry of ListClusters; raises `UnexpectedAnswer`.

        Without its state it would count as ended.
        """
        call = "elasticmapreduce:DescribeCluster"
        status = member(description, "Status", call)
        reason, timeline = status.get("StateChangeReason", {}), status.get("Timeline", {})
        return cls(
            member(description, "Id", call),
            description.get("Name", ""),
            member(status, "State", call),
            reason.get("Code", ""),
            reason.get("Message", ""),
            timeline.get("CreationDateTime"),
            timeline.get("ReadyDateTime") is not None,
        )

    @property
    def alive(self) -> bool:
        """Whether it accepts steps, now or later."""
        return self.state in ALIVE

    @property
    def up(self) -> bool:
        """Whether its instances are running."""
        return self.state in {"RUNNING", "WAITING"}

    @property
    def why(self) -> str:
        """State and reason in one line."""
        reason = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.state} ({reason})" if reason else self.state


def emr_call(clients: Clients, operation: str, **arguments: Any) -> Any:
    """Make a call of EMR that may be repeated, by its name in AWS's documentation. Reads share `RATE`."""
    call = getattr(clients.emr, xform_name(operation))
    with RATE.turn() if operation.startswith(("Describe", "List")) else nullcontext():
        return call_again(lambda: call(**arguments), f"elasticmapreduce:{operation}")


def entries(clients: Clients, operation: str, key: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """The entries of a list of EMR, one call per page when it is needed."""
    token: dict[str, Any] = {}
    while True:
        page = emr_call(clients, operation, **arguments, **token)
        yield from member(page, key, f"elasticmapreduce:{operation}")
        if not page.get("Marker"):
            return
        token = {"Marker": page["Marker"]}


def create(clients: Clients, request: dict[str, Any], sleep: Callable[[float], object]) -> str:
    """Call RunJobFlow; returns the cluster id.

    Raises:
        Refused, Throttled: the call was not carried out.
        Unknown: it may have been carried out: search for the cluster by its name. Also if the answer has no id.
    """
    client = clients.once("emr")
    answer = call_once(lambda: client.run_job_flow(**request), "elasticmapreduce:RunJobFlow", sleep=sleep)
    return str(member(answer, "JobFlowId", "elasticmapreduce:RunJobFlow"))


def listed(
    clients: Clients, *, created_after: datetime | None = None, states: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Entries of ListClusters, 50 per page, in EMR's order."""
    filters = {"CreatedAfter": created_after, "ClusterStates": list(states)}
    given = {name: value for name, value in filters.items() if value}
    return entries(clients, "ListClusters", "Clusters", **given)


def find(clients: Clients, name: str, since: datetime) -> list[Cluster]:
    """Clusters with a name that were created after `since` (with ten minutes of clock skew allowed), in order."""
    recent = listed(clients, created_after=since - CLOCK_SKEW)
    return in_order(entry for entry in recent if entry.get("Name") == name)


def in_order(entries: Iterable[Mapping[str, Any]]) -> list[Cluster]:
    """Clusters sorted by creation time, oldest first."""
    long_ago = datetime.fromtimestamp(0, timezone.utc)
    return sorted((Cluster.of(entry) for entry in entries), key=lambda one: one.created or long_ago)


def describe(clients: Clients, cluster_id: str) -> dict[str, Any] | None:
    """DescribeCluster's answer; None if AWS does not know the id. Raises `AwsError`."""
    try:
        answer = emr_call(clients, "DescribeCluster", ClusterId=cluster_id)
    except NotFound:
        return None
    return dict(member(answer, "Cluster", "elasticmapreduce:DescribeCluster"))


def tags_of(description: Mapping[str, Any]) -> dict[str, str]:
    """The tags in DescribeCluster's `Cluster`."""
    return {tag.get("Key", ""): tag.get("Value", "") for tag in description.get("Tags") or ()}


def is_alive(clients: Clients, cluster_id: str) -> bool:
    """Whether EMR knows the cluster and it accepts steps, now or later: 1 DescribeCluster."""
    description = describe(clients, cluster_id)
    return description is not None and Cluster.of(description).alive


def terminate(clients: Clients, cluster_ids: Sequence[str]) -> None:
    """Terminate our own clusters, also protected ones. Those that are ending or have ended are no error."""
    for start in range(0, len(cluster_ids), TERMINATE_CHUNK):
        ids = list(cluster_ids[start : start + TERMINATE_CHUNK])
        try:
            emr_call(clients, "TerminateJobFlows", JobFlowIds=ids)
        except InvalidRequest:
            # EMR refuses the whole call if one of them is protected
            for one in ids:
                _end(clients, one)


def terminate_unseen(clients: Clients, cluster_id: str) -> None:
    """Terminate a cluster that EMR does not show yet, or does not have, unless it is protected.

    Raises:
        Throttled: it is protected, and its name and tags are needed to lift that.
    """
    try:
        emr_call(clients, "TerminateJobFlows", JobFlowIds=[cluster_id])
    except InvalidRequest as error:
        if "protected" in str(error):
            raise Throttled(f"{error} (cluster {cluster_id}, which EMR does not show yet)") from error


def _end(clients: Clients, cluster_id: str) -> None:
    ids = [cluster_id]
    try:
        emr_call(clients, "SetTerminationProtection", JobFlowIds=ids, TerminationProtected=False)
        emr_call(clients, "TerminateJobFlows", JobFlowIds=ids)
    except InvalidRequest:
        if is_alive(clients, cluster_id):
            raise
