"""Wait for job runs of EMR Serverless and EMR on EKS. All waits of a triggerer share one poll loop per target."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.aws.emr.job_run import job_run_target
from airflow_batchemr.aws.poller import Poller, shared_poller
from airflow_batchemr.connections import shared_clients
from airflow_batchemr.core.secret_values import without
from airflow_batchemr.triggers.base import LedgerTrigger
from airflow_batchemr.triggers.missing import MissingWork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_run_targets import JobRun, JobRunTarget


class JobRunTrigger(LedgerTrigger):
    """Waits until a job run has ended, and writes its states to the task log.

    Args:
        on: Plain values of `on:`.
        run_id: Id of the job run; None while it is unknown whether the request reached AWS.
        **kwargs: Arguments of `LedgerTrigger`.
    """

    def __init__(self, *, on: dict[str, Any], run_id: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on = on
        self.run_id = run_id

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that create this trigger again."""
        return {"on": self.on, "run_id": self.run_id, **super().arguments()}

    async def wait(self) -> dict[str, Any]:
        """Return when the run has ended: status `ended`, `deadline` or `wake`."""
        if self.run_id is None:
            await asyncio.sleep(self.time_left() or 0.0)
            return self.timed_out()
        target = job_run_target(self.on)
        clients = shared_clients(self.aws_conn_id, self.region)
        key = (self.aws_conn_id, self.region, target.kind, target.where)
        poller = shared_poller(key, lambda: runs_poller(clients, target))
        missing = MissingWork(settings.engine_policy().visibility_grace)
        async with aclosing(poller.watch([self.run_id], self.log.warning)) as looks:
            while True:
                try:
                    seen = await asyncio.wait_for(anext(looks), self.time_left())
                except (TimeoutError, asyncio.TimeoutError):
                    return self.timed_out()
                sighting = seen[self.run_id]
                run = sighting.value
                if missing.update(self.run_id, visible=run is not None):
                    return self.payload(status="ended", missing=missing.ids)
                if run is None:
                    continue
                if sighting.changed:
                    reason = run.reason and await asyncio.to_thread(self._masked, run.reason)
                    self.log.info("Job run %s: %s %s", run.run_id, run.state, reason)
                if run.ended:
                    return self.payload(status="ended")

    def _masked(self, reason: str) -> str:
        """Return a reason without secrets: EMR Serverless quotes the log of the driver."""
        try:
            return without(self.secrets(), reason)
        except Exception as error:  # noqa: BLE001 - it must not end the wait
            return f"(the reason is not shown, because its secrets are not known: {error})"


def runs_poller(clients: Clients, target: JobRunTarget) -> Poller[JobRun]:
    """Return a poll loop over the runs of a target. A page of ListJobRuns has fifty active runs."""

    def describe(ids: Sequence[str]) -> dict[str, JobRun]:
        found: dict[str, JobRun] = {}
        with clients.renewing():
            if len(ids) > 1:
                wanted, living = set(ids), target.listed(clients, states=list(target.living))
                found = {run.run_id: run for run in living if run.run_id in wanted}
            for run_id in ids:
                if run_id not in found and (run := target.describe(clients, run_id)) is not None:
                    found[run_id] = run
        return found

    policy = settings.engine_policy()
    return Poller(
        describe,
        chunk=100_000,
        shortest=policy.emr_poll_shortest,
        longest=policy.emr_poll_longest,
        patience=policy.refusal_limit,
    )
