"""The poll of all EMR waits of a connection and region: ListClusters for states, ListSteps for clusters with steps."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore import xform_name

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.clusters import CLOCK_SKEW, Cluster
from airflow_batchemr.aws.emr.steps import LIST_CHUNK, Step
from airflow_batchemr.aws.errors import NotFound, Throttled, member
from airflow_batchemr.aws.poller import SHARE_OF_AGE, Poller
from airflow_batchemr.engine.policy import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients

log = logging.getLogger(__name__)

#: Seconds between two polls of the steps of a cluster that runs only the job's own steps. When the last step ends, or
#: one that ends the cluster, the state of the cluster changes; polls in between only show progress.
PROGRESS = 60.0
#: All waits go into one call of `describe`, which shares the pages of ListClusters among them.
ALL = 100_000
#: States in which no step can change.
_NO_STEP_RUNS = frozenset({"STARTING", "BOOTSTRAPPING"})
_LONG_AGO = datetime.fromtimestamp(0, timezone.utc)
#: Up to this many steps, each one gets its own lines; above, only counts are logged.
EACH = 50


@dataclass(frozen=True)
class Sight:
    """A cluster and those of its steps that a task waits for."""

    cluster: Cluster
    steps: dict[str, Step] = field(default_factory=dict, hash=False)
    """By step id; a step that has not been polled yet is missing."""
    unseen: frozenset[str] = frozenset()
    """Steps that the last poll requested and EMR did not show."""


@dataclass
class _Watched:
    created: datetime
    """Not later than the cluster's creation."""
    step_ids: Counter[str] = field(default_factory=Counter)
    """How many waits there are for each step, in the order in which they were added."""
    waits: int = 0
    guests: int = 0
    """Waits for steps on a cluster that may run other steps, too."""
    steps: dict[str, Step] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    state: str = ""
    changed: float = 0.0
    listed: float = float("-inf")


class EmrPoller(Poller[Sight]):
    """Polls clusters and steps. The ids of its waits are cluster ids, registered with `expecting` before `watch`.

    One round costs the pages of ListClusters since the oldest cluster (50 per page; DescribeCluster if that needs fewer
    calls), and one ListSteps for each cluster that runs steps, when it is due: once a minute if only the job's own
    steps run on the cluster, and whenever its state has changed.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        shortest: float = DEFAULT.emr_poll_shortest,
        longest: float = DEFAULT.emr_poll_longest,
        patience: float = DEFAULT.refusal_limit,
    ) -> None:
        super().__init__(self._look, chunk=ALL, shortest=shortest, longest=longest, patience=patience)
        self._clients = clients
        self._watched: dict[str, _Watched] = {}
        self._pages = 1
        self._pace = (shortest, longest)

    @contextmanager
    def expecting(
        self, cluster_id: str, created: datetime | None, step_ids: Sequence[str], *, own: bool = False
    ) -> Iterator[None]:
        """Register the steps of a cluster that a wait is for, while it waits.

        Args:
            cluster_id: the cluster.
            created: a time not later than its creation; None: unknown.
            step_ids: the steps, in the order in which they run.
            own: whether these are the only steps that run on the cluster.
        """
        watched = self._watched.setdefault(cluster_id, _Watched(created or _LONG_AGO))
        watched.created = min(watched.created, created or _LONG_AGO)
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
        """Poll AWS; runs in a thread.

        A round lists steps for at most the longest interval between two polls, and only until EMR throttles, so that
        the states of clusters do not get old. The other steps come first in the next round.
        """
        found = self._states(set(ids))
        watched = {id_: self._watched[id_] for id_ in found if id_ in self._watched}
        ends = time.monotonic() + self._pace[1]
        for cluster_id, one in sorted(watched.items(), key=lambda item: item[1].listed):
            try:
                self._steps(one, found[cluster_id])
            except Throttled as error:
                one.listed = float("-inf")
                log.warning("Polling steps more slowly: %s", error)
                break
            if time.monotonic() > ends:
                break
        nothing = _Watched(_LONG_AGO)
        known = {id_: watched.get(id_, nothing) for id_ in found}
        return {id_: Sight(found[id_], dict(one.steps), one.unseen) for id_, one in known.items()}

    def _call(self, operation: str, **arguments: Any) -> Any:
        call = getattr(self._clients.polling("emr"), xform_name(operation))
        with clusters.RATE.turn(), self._clients.renewing(f"elasticmapreduce:{operation}"):
            return call(**arguments)

    def _states(self, wanted: set[str]) -> dict[str, Cluster]:
        found = self._listed(wanted) if len(wanted) > self._pages else {}
        for cluster_id in wanted - set(found):
            try:
                answer = self._call("DescribeCluster", ClusterId=cluster_id)
            except NotFound:  # no such cluster
                continue
            found[cluster_id] = Cluster.of(member(answer, "Cluster", "elasticmapreduce:DescribeCluster"))
        return found

    def _listed(self, wanted: set[str]) -> dict[str, Cluster]:
        oldest = min((self._watched[id_].created for id_ in wanted if id_ in self._watched), default=_LONG_AGO)
        arguments: dict[str, Any] = {} if oldest <= _LONG_AGO else {"CreatedAfter": oldest - CLOCK_SKEW}
        found: dict[str, Cluster] = {}
        pages = 0
        while pages <= len(wanted):  # beyond that, DescribeCluster for each is cheaper
            page = self._call("ListClusters", **arguments)
            pages += 1
            listed = map(Cluster.of, member(page, "Clusters", "elasticmapreduce:ListClusters"))
            found.update({one.cluster_id: one for one in listed if one.cluster_id in wanted})
            if not page.get("Marker") or len(found) == len(wanted):
                break
            arguments["Marker"] = page["Marker"]
        self._pages = pages
        return found

    def _steps(self, watched: _Watched, cluster: Cluster) -> None:
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
        while True:
            # Steps run in the order in which they were added, so only the first ones can change
            live = [id_ for id_ in list(watched.step_ids) if not (id_ in watched.steps and watched.steps[id_].ended)]
            if not live:
                watched.unseen = frozenset()
                return
            chunk = live[:LIST_CHUNK]
            try:
                answer = self._call("ListSteps", ClusterId=cluster.cluster_id, StepIds=chunk)
            except NotFound:
                watched.unseen = frozenset(chunk)
                return
            listed = map(Step.of, member(answer, "Steps", "elasticmapreduce:ListSteps"))
            seen = {step.step_id: step for step in listed}
            if any(watched.steps.get(id_) != step for id_, step in seen.items()):
                watched.changed = now
            watched.steps.update(seen)
            watched.unseen = frozenset(chunk).difference(seen)
            if not seen or not all(step.ended for step in seen.values()):
                return


class Progress:
    """Turns polls of a cluster into log lines about what has changed; `names` are those of the steps, in order."""

    def __init__(self, cluster_id: str, names: Mapping[str, str]) -> None:
        self._cluster_id = cluster_id
        self._names = dict(names)
        self._cluster = ""
        self._steps: dict[str, str] = {}
        self._ended = 0

    def update(self, sight: Sight) -> list[str]:
        """Lines for what has changed since the last poll; empty if nothing has."""
        lines = []
        if sight.cluster.why != self._cluster:
            self._cluster = sight.cluster.why
            lines.append(f"Cluster {self._cluster_id}: {self._cluster}")
        if len(self._names) > EACH:
            ended = sum(step.ended for step in sight.steps.values())
            if ended != self._ended:
                self._ended = ended
                failed = sum(step.state == "FAILED" for step in sight.steps.values())
                lines.append(f"Steps: {ended}/{len(self._names)} ended, {failed} failed")
            return lines
        for number, (id_, name) in enumerate(self._names.items(), 1):
            step = sight.steps.get(id_)
            if step is not None and step.state not in {"PENDING", self._steps.get(id_)}:
                status = f"{step.state}: {step.reason}" if step.reason else step.state
                lines.append(f"Step {number}/{len(self._names)} {name} ({id_}): {status}")
        self._steps.update({id_: step.state for id_, step in sight.steps.items()})
        return lines
