"""Wait for EMR clusters and steps. All waits of a triggerer share one poll loop."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.aws.emr.poll import EmrPoller, Progress
from airflow_batchemr.aws.poller import shared_poller
from airflow_batchemr.connections import shared_clients
from airflow_batchemr.triggers.base import LedgerTrigger
from airflow_batchemr.triggers.emr_live import LiveSteps
from airflow_batchemr.triggers.missing import MissingWork

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.poll import Sight


class EmrTrigger(LedgerTrigger):
    """Waits until a cluster is up, or until its steps end, and writes the progress to the task log.

    Args:
        cluster_id: Id of the cluster; None while it is unknown whether the request reached EMR.
        step_ids: Ids of the steps to wait for, in execution order. If empty, wait until the cluster is up.
        names: Display names of the steps.
        created: ISO time not later than the creation of the cluster; None if unknown.
        own: Whether no other steps run on the cluster.
        log_uri: LogUri of the cluster, for the logs of the steps.
        streams: CloudWatch group and stream to which the program writes, by step id.
        **kwargs: Arguments of `LedgerTrigger`.
    """

    def __init__(
        self,
        *,
        cluster_id: str | None,
        step_ids: list[str],
        names: list[str],
        created: str | None = None,
        own: bool = False,
        log_uri: str | None = None,
        streams: dict[str, list[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.step_ids = step_ids
        self.names = names
        self.created = created
        self.own = own
        self.log_uri = log_uri
        self.streams = streams

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that create this trigger again."""
        own = {
            "cluster_id": self.cluster_id,
            "step_ids": self.step_ids,
            "names": self.names,
            "created": self.created,
            "own": self.own,
            "log_uri": self.log_uri,
            "streams": self.streams,
        }
        return {**own, **super().arguments()}

    async def wait(self) -> dict[str, Any]:
        """Return when the steps have ended, or the cluster is up: status `ended`, `deadline` or `wake`."""
        if self.cluster_id is None:
            await asyncio.sleep(self.time_left() or 0.0)
            return self.timed_out()
        clients = shared_clients(self.aws_conn_id, self.region)
        where = (self.aws_conn_id, self.region)
        poller = shared_poller((*where, "emr"), lambda: emr_poller(clients))
        created = datetime.fromisoformat(self.created) if self.created else None
        progress = Progress(self.cluster_id, dict(zip(self.step_ids, self.names, strict=True)))
        missing = MissingWork(settings.engine_policy().visibility_grace)
        live = LiveSteps(
            clients,
            where,
            log_uri=self.log_uri,
            cluster_id=self.cluster_id,
            streams=self.streams or {},
            log=self.log,
            secrets=self.secrets,
        )
        with poller.expecting(self.cluster_id, created, self.step_ids, own=self.own):
            async with live, aclosing(poller.watch([self.cluster_id], self.log.warning)) as looks:
                while True:
                    try:
                        seen = await asyncio.wait_for(anext(looks), self.time_left())
                    except (TimeoutError, asyncio.TimeoutError):
                        return self.timed_out()
                    sight = seen[self.cluster_id].value
                    unlisted = sight is not None and self._unlisted(sight)
                    if missing.update(self.cluster_id, visible=sight is not None and not unlisted):
                        return self.payload(status="ended", missing=missing.ids)
                    if sight is None or unlisted:
                        continue
                    unseen = [missing.update(id_, visible=id_ not in sight.unseen) for id_ in self.step_ids]
                    if any(unseen):
                        return self.payload(status="ended", missing=missing.ids)
                    for line in progress.update(sight):
                        self.log.info("%s", line)
                    live.update(sight)
                    if sight.unseen.isdisjoint(self.step_ids) and self._over(sight):
                        await live.rest(sight)
                        return self.payload(status="ended")

    def _unlisted(self, sight: Sight) -> bool:
        """Return whether the job's own cluster ran and ended, and EMR never listed its steps."""
        return self.own and not self.step_ids and sight.cluster.ready and not sight.cluster.alive

    def _over(self, sight: Sight) -> bool:
        if not sight.cluster.alive:
            return True
        if not self.step_ids:
            return sight.cluster.up
        return all(id_ in sight.steps and sight.steps[id_].ended for id_ in self.step_ids)


def emr_poller(clients: Clients) -> EmrPoller:
    """Return a poll loop over clusters and their steps, with the configured intervals."""
    policy = settings.engine_policy()
    return EmrPoller(
        clients,
        shortest=policy.emr_poll_shortest,
        longest=policy.emr_poll_longest,
        patience=policy.refusal_limit,
    )
