"""Waiting for job runs of EMR Serverless and EMR on EKS: all waits of a triggerer share one poll loop a service."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_batchemr.aws.emr.job_run_submissions import JobRunSubmissions, job_run_target
from airflow_batchemr.aws.errors import AwsError
from airflow_batchemr.aws.poller import Poller, shared_poller
from airflow_batchemr.connections import shared_clients
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.triggers.base import LedgerTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_runs import JobRun, JobRunTarget

#: Seconds between two looks: shortest, and longest at what does not change.
SHORTEST, LONGEST = 4.0, 12.0
#: Seconds after which a run that AWS does not know is lost.
INVISIBLE = 120.0


class JobRunTrigger(LedgerTrigger):
    """Waits until a job run has ended; tells its states in the task's log.

    Args:
        on: plain values of `on:`, which say where it runs.
        run_id: the job run.
        **kwargs: of `LedgerTrigger`.
    """

    def __init__(self, *, on: dict[str, Any], run_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on = on
        self.run_id = run_id

    def arguments(self) -> dict[str, Any]:
        """The arguments that make this trigger again."""
        return {"on": self.on, "run_id": self.run_id, **super().arguments()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, whose `status` is `ended`, `deadline`, `wake` or `denied`."""
        try:
            payload = await self._wait()
        except AwsError as error:
            payload = self.payload(status="denied", message=str(error))
        await self.leave()
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        place = job_run_target(self.on)
        clients = shared_clients(self.aws_conn_id, self.region)
        key = (self.aws_conn_id, self.region, place.kind, place.where)
        poller = shared_poller(key, lambda: runs_poller(clients, place))
        missing: float | None = None
        async with aclosing(poller.watch([self.run_id], self.log.warning)) as looks:
            while True:
                try:
                    seen = await asyncio.wait_for(anext(looks), self.time_left())
                except (TimeoutError, asyncio.TimeoutError):
                    return self.payload(status="deadline" if self.past_deadline() else "wake")
                sighting = seen[self.run_id]
                run = sighting.value
                if run is None:
                    missing = missing or time.monotonic()
                    if time.monotonic() - missing > INVISIBLE:
                        return self.payload(status="ended")
                    continue
                missing = None
                if sighting.changed:
                    self.log.info("Job run %s: %s %s", run.run_id, run.state, run.reason)
                if run.ended:
                    return self.payload(status="ended")

    def stop(self, clients: Clients, reason: str, by: str) -> tuple[()]:
        """Leave word, then cancel the run."""
        identity = JobIdentity.of(self.identity)
        submissions = JobRunSubmissions(clients, self.job_ledger(clients), identity, job_run_target(self.on))
        submissions.stop_all(self.submissions, reason, by=by)
        return ()


def runs_poller(clients: Clients, place: JobRunTarget) -> Poller[JobRun]:
    """A poll loop over the runs of a place: one page of ListJobRuns has fifty of those that live."""

    def describe(ids: Sequence[str]) -> dict[str, JobRun]:
        found: dict[str, JobRun] = {}
        with clients.renewing():
            if len(ids) > 1:
                wanted, living = set(ids), place.listed(clients, states=list(place.living))
                found = {run.run_id: run for run in living if run.run_id in wanted}
            for run_id in ids:
                if run_id not in found and (run := place.describe(clients, run_id)) is not None:
                    found[run_id] = run
        return found

    return Poller(describe, chunk=100_000, shortest=SHORTEST, longest=LONGEST)
