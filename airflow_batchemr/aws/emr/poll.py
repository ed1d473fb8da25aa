"""The poll of all EMR waits of a connection and region: ListClusters for the states, ListSteps where one may change."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.clusters import CLOCK_SKEW, Cluster
from airflow_batchemr.aws.emr.steps import LIST_CHUNK, Step
from airflow_batchemr.aws.errors import NotFound
from airflow_batchemr.aws.poller import SHARE_OF_AGE, Poller
from airflow_batchemr.engine.policy import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_batchemr.aws.clients import Clients

#: Seconds between two looks at the steps of a cluster on which nobody else's steps run: when the last of them ends, or
#: one that ends the cluster, the cluster's own state changes, and that is seen at once. In between it is for progress.
PROGRESS = 60.0
#: All waits go into one call of `describe`, which shares the pages of ListClusters among them.
ALL = 100_000
#: Before a step can change, its cluster has to be up.
_NO_STEP_RUNS = frozenset({"STARTING", "BOOTSTRAPPING"})


@dataclass(frozen=True)
class Sight:
    """A cluster and those of its steps that somebody waits for."""

    cluster: Cluster
    steps: dict[str, Step] = field(default_factory=dict, hash=False)
    """By step id; a step that has not been looked at yet is missing."""
    unseen: frozenset[str] = frozenset()
    """Steps that EMR was asked for last and did not show."""


@dataclass
class _Watched:
    created: datetime
    """Not later than the cluster's creation."""
    step_ids: Counter[str] = field(default_factory=Counter)
    """How many waits want each step, in the order in which they were asked for."""
    waits: int = 0
    guests: int = 0
    """Waits on a cluster on which others' steps may run."""
    steps: dict[str, Step] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    state: str = ""
    changed: float = 0.0
    listed: float = float("-inf")


class EmrPoller(Poller[Sight]):
    """Watches clusters and steps; ids of its waits are cluster ids, announced by `expecting` before `watch`.

    One round costs the pages of ListClusters since the oldest of the clusters (50 a page; DescribeCluster where that
    is fewer calls), and one ListSteps for each cluster that runs steps, when that one is due: once a minute where
    nobody else's steps run on the cluster, and whenever its state has changed.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        shortest: float = DEFAULT.emr_poll_shortest,
        longest: float = DEFAULT.emr_poll_longest,
    ) -> None:
        super().__init__(self._look, chunk=ALL, shortest=shortest, longest=longest)
        self._clients = clients
        self._watched: dict[str, _Watched] = {}
        self._pages = 1
        self._pace = (shortest, longest)

    @contextmanager
    def expecting(
        self, cluster_id: str, created: datetime | None, step_ids: Sequence[str], *, own: bool = False
    ) -> Iterator[None]:
        """Say what a wait wants to know of a cluster, for as long as it waits.

        Args:
            cluster_id: the cluster.
            created: a time not later than its creation; None: unknown.
            step_ids: steps that the wait is for, in the order in which they run.
            own: whether these are the only steps that run on the cluster.
        """
        long_ago = datetime.fromtimestamp(0, timezone.utc)
        watched = self._watched.setdefault(cluster_id, _Watched(created or long_ago))
        watched.created = min(watched.created, created or long_ago)
        watched.step_ids.update(step_ids)
        watched.waits += 1
        watched.guests += not own
        if step_ids:
            watched.listed = float("-inf")
        try:
            yield
        finally:
            watched.step_ids.subtract(step_ids)
            for step_id in [one for one, waits in watched.step_ids.items() if waits <= 0]:
                del watched.step_ids[step_id]
                watched.steps.pop(step_id, None)
            watched.waits -= 1
            watched.guests -= not own
            if watched.waits <= 0:
                self._watched.pop(cluster_id, None)

    def _look(self, ids: Sequence[str]) -> dict[str, Sight]:
        """What AWS says now; runs in a thread."""
        client = self._clients.polling("emr")
        found = self._states(client, ids)
        for cluster_id, cluster in found.items():
            watched = self._watched.get(cluster_id)
            if watched is not None:
                self._steps(client, watched, cluster)
        return {
            id_: Sight(cluster, dict(watched.steps), watched.unseen)
            if (watched := self._watched.get(id_))
            else Sight(cluster)
            for id_, cluster in found.items()
        }

    def _states(self, client: object, ids: Sequence[str]) -> dict[str, Cluster]:
        wanted = set(ids)
        found: dict[str, Cluster] = {}
        if len(wanted) > self._pages:
            found = self._listed(client, wanted)
        for cluster_id in wanted - set(found):
            try:
                with self._clients.renewing("elasticmapreduce:DescribeCluster"):
                    answer = client.describe_cluster(ClusterId=cluster_id)  # type: ignore[attr-defined]
            except NotFound:  # no such cluster
                continue
            found[cluster_id] = Cluster.of(answer["Cluster"])
        return found

    def _listed(self, client: object, wanted: set[str]) -> dict[str, Cluster]:
        times = [self._watched[id_].created for id_ in wanted if id_ in self._watched]
        oldest = min(times, default=datetime.fromtimestamp(0, timezone.utc))
        arguments: dict[str, object] = {} if oldest.timestamp() <= 0 else {"CreatedAfter": oldest - CLOCK_SKEW}
        found: dict[str, Cluster] = {}
        pages = 0
        while pages <= len(wanted):  # more pages than clusters: asking for each is cheaper
            with self._clients.renewing("elasticmapreduce:ListClusters"):
                page = client.list_clusters(**arguments)  # type: ignore[attr-defined]
            pages += 1
            found.update({one["Id"]: Cluster.of(one) for one in page["Clusters"] if one["Id"] in wanted})
            if not page.get("Marker") or len(found) == len(wanted):
                break
            arguments["Marker"] = page["Marker"]
        self._pages = pages
        return found

    def _steps(self, client: object, watched: _Watched, cluster: Cluster) -> None:
        now = time.monotonic()
        if cluster.state != watched.state:
            watched.state, watched.changed = cluster.state, now
            watched.listed = float("-inf")
        pace = min(self._pace[1], max(self._pace[0], (now - watched.changed) * SHARE_OF_AGE))
        if not watched.guests and watched.steps:
            pace = PROGRESS
        if cluster.state in _NO_STEP_RUNS or now - watched.listed < pace * 0.8:
            return
        watched.listed = now
        watched.unseen = frozenset()
        while True:
            # Steps run in the order in which they were added: only the first ones can change.
            live = [id_ for id_ in list(watched.step_ids) if not (id_ in watched.steps and watched.steps[id_].ended)]
            if not live:
                return
            asked = live[:LIST_CHUNK]
            try:
                with self._clients.renewing("elasticmapreduce:ListSteps"):
                    answer = client.list_steps(  # type: ignore[attr-defined]
                        ClusterId=cluster.cluster_id, StepIds=asked
                    )
            except NotFound:
                watched.unseen = frozenset(asked)
                return
            seen = {one["Id"]: Step.of(one) for one in answer["Steps"]}
            if any(watched.steps.get(id_) != step for id_, step in seen.items()):
                watched.changed = now
            watched.steps.update(seen)
            watched.unseen = frozenset(asked).difference(seen)
            if not seen or not all(step.ended for step in seen.values()):
                return
