"""Wait for Batch jobs. All waits of a triggerer share one poll loop."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.progress import Progress, Stuck, summary_of
from airflow_batchemr.aws.batch.remote import BatchRemote
from airflow_batchemr.aws.poller import Poller, shared_poller
from airflow_batchemr.connections import secret_name, shared_clients
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger import LedgerError
from airflow_batchemr.triggers.base import LedgerTrigger
from airflow_batchemr.triggers.batch_live import Live
from airflow_batchemr.triggers.missing import MissingWork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.batch.progress import JobSummary
    from airflow_batchemr.aws.clients import Clients

#: Seconds after which the task log explains why a job is stuck in RUNNABLE.
EXPLAIN_AFTER = 600.0


class BatchJobsTrigger(LedgerTrigger):
    """Waits until all jobs of some submissions have ended, and writes the progress to the task log.

    Args:
        jobs: Ids of single jobs and array parents, with the indices that each runs (`IndexSet` text).
        size: Number of indices of the whole job, for progress lines.
        done: Number of indices that had succeeded before.
        children: Ids of jobs that the programs have started, to wait for.
        runnable_timeout: Seconds that the jobs may be stuck in RUNNABLE; None means no limit.
        **kwargs: Arguments of `LedgerTrigger`.
    """

    def __init__(
        self,
        *,
        jobs: dict[str, str],
        size: int = 1,
        done: int = 0,
        children: list[str] | None = None,
        runnable_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.jobs = jobs
        self.size = size
        self.done = done
        self.children = children or []
        self.runnable_timeout = runnable_timeout

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that create this trigger again."""
        return {
            "jobs": self.jobs,
            "size": self.size,
            "done": self.done,
            "children": self.children,
            "runnable_timeout": self.runnable_timeout,
            **super().arguments(),
        }

    async def wait(self) -> dict[str, Any]:
        """Return when all jobs have ended: status `ended`, `deadline`, `runnable` or `wake`."""
        ids = [*self.jobs, *self.children]
        if not ids:  # AWS does not show the jobs yet, or another task has to submit first
            if not self.submissions and self.trigger_id is None:  # no triggerer: `dag.test()` runs one task at a time
                return self.payload(status="wake", one_task_at_a_time=True)
            await asyncio.sleep(self.time_left() or 0.0)
            return self.timed_out()
        waiting, missing = set(ids), MissingWork(settings.engine_policy().visibility_grace)
        progress, stuck = Progress(self.size, self.done), Stuck()
        if self.children:
            self.log.info("Waiting for %s jobs that the program has started: %s", len(self.children), self.children[:9])
        clients = shared_clients(self.aws_conn_id, self.region)
        where = (self.aws_conn_id, self.region)
        poller = shared_poller((*where, "batch"), lambda: jobs_poller(clients))
        watch = poller.watch(ids, self.log.warning)
        async with Live(clients, where, self.jobs, self.log) as live, aclosing(watch) as looks:
            while True:
                try:
                    sightings = await asyncio.wait_for(anext(looks), self.time_left())
                except (TimeoutError, asyncio.TimeoutError):
                    return self.timed_out()
                for id_, sighting in sightings.items():
                    gone = missing.update(id_, visible=sighting.value is not None)
                    if gone or (sighting.value is not None and sighting.value.status in jobs.FINAL):
                        waiting.discard(id_)
                seen = {id_: one.value for id_, one in sightings.items() if one.value is not None and id_ in self.jobs}
                for line in progress.update(seen) if self.jobs else ():
                    self.log.info("%s", line)
                live.update(seen)
                if not waiting:
                    await live.rest()
                    return self.payload(status="ended", missing=missing.ids)
                job_id, seconds = stuck.update(seen, time.time())
                if job_id is None:
                    continue
                if self.runnable_timeout is not None and seconds >= self.runnable_timeout:
                    return self.payload(status="runnable", job=job_id, seconds=int(seconds))
                if seconds >= EXPLAIN_AFTER:
                    live.explain(job_id, seconds)

    def stop(self, clients: Clients, reason: str, by: str) -> Sequence[Any]:
        """Stop as in the base class. If the ledger cannot be used, only terminate the jobs."""
        try:
            return super().stop(clients, reason, by)
        except LedgerError:
            # Airflow calls on_kill only once. The status reason of the job tells the next try that a user has acted
            remote = BatchRemote(clients, self.job_ledger(clients), JobIdentity(**self.identity))
            remote.end(self.submissions, list(self.jobs), reason)
            raise


def jobs_poller(clients: Clients) -> Poller[JobSummary]:
    """Return a poll loop over DescribeJobs, with 100 ids per call."""

    def describe(ids: Sequence[str]) -> dict[str, JobSummary]:
        with clients.renewing("batch:DescribeJobs"):
            answer = clients.polling("batch").describe_jobs(jobs=list(ids))
        return {id_: summary_of(job, secret_name) for id_, job in jobs.described(answer).items()}

    def same(before: JobSummary | None, after: JobSummary | None) -> bool:
        return (before and before.status) == (after and after.status)

    policy = settings.engine_policy()
    return Poller(
        describe,
        chunk=jobs.DESCRIBE_CHUNK,
        same=same,
        shortest=policy.batch_poll_shortest,
        longest=policy.batch_poll_longest,
        patience=policy.refusal_limit,
    )
