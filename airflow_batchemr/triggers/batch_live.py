"""Additional task log of a deferred Batch task: the job's log, the first failure, and why a job does not start."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.progress import summary_of
from airflow_batchemr.aws.batch.results import failure_of, position
from airflow_batchemr.aws.batch.runnable import explain
from airflow_batchemr.aws.logs import SHORTEST, LogFollower, log_group, tail
from airflow_batchemr.aws.poller import shared_poller
from airflow_batchemr.connections import secret_name
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.log_lines import program_line
from airflow_batchemr.core.secret_values import without

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from airflow_batchemr.aws.batch.progress import JobSummary
    from airflow_batchemr.aws.clients import Clients

#: Maximum seconds to get the last lines of a job that has ended.
LAST_LOOK = 5.0


class Live:
    """Background tasks of one wait. They end with it, and their failures do not affect it.

    Args:
        clients: Clients shared by the triggers of the process.
        where: Connection and region, the key of shared pollers.
        jobs: Text of the indices by job id.
        log: Logger of the trigger, which writes to the task log.
    """

    def __init__(
        self, clients: Clients, where: tuple[str | None, str | None], jobs: Mapping[str, str], log: Any
    ) -> None:
        self._clients = clients
        self._where = where
        self._indices = jobs
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._follower: LogFollower | None = None
        self._stream: tuple[str, str] | None = None
        self._logged_failure = self._logged_stuck = self._looked = False
        self._secrets: frozenset[str] = frozenset()

    async def __aenter__(self) -> Live:  # noqa: PYI034 - Self is Python 3.11's
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._follower is not None and self._stream is not None:
            self._follower.forget(LogFollower.id_of(*self._stream))

    def _in_background(self, work: Callable[..., Coroutine[Any, Any, None]], *about: Any) -> None:
        async def alone() -> None:
            try:
                await work(*about)
            except Exception as error:  # noqa: BLE001 - additional log lines must not end the wait
                self._log.warning("Could not get logs or reasons from AWS: %s", error)

        task = asyncio.create_task(alone())  # in the trigger's context, so that it writes to the task log
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def update(self, seen: Mapping[str, JobSummary]) -> None:
        """Process a poll: follow the log of a single job, and show the first failing index of an array."""
        for id_, job in seen.items():
            self._secrets |= job.secrets
            if len(self._indices) == 1 and not job.children:
                if job.log_stream and self._stream != (job.log_group, job.log_stream):
                    self._stream = (job.log_group, job.log_stream)
                    if job.status not in jobs.FINAL:
                        self._in_background(self._follow, *self._stream)
                elif job.main_node is not None and job.status == "RUNNING" and not self._looked:
                    self._looked = True
                    self._in_background(self._follow_node, job.main_node)
                elif job.status != "RUNNING":
                    self._looked = False
            elif job.count("FAILED") and not self._logged_failure:
                self._logged_failure = True
                self._in_background(self._first_failure, id_)

    def explain(self, job_id: str, seconds: float) -> None:
        """Log once why a job does not start."""
        if not self._logged_stuck:
            self._logged_stuck = True
            self._in_background(self._explain, job_id, seconds)

    async def rest(self) -> None:
        """Log the last lines of a single job that has ended."""
        if self._stream is None:
            return
        id_ = LogFollower.id_of(*self._stream)
        with suppress(Exception):
            lines = await asyncio.wait_for(asyncio.to_thread(self._shared().look_again, id_), LAST_LOOK)
            self._log_lines(lines)

    def _shared(self) -> LogFollower:
        if self._follower is None:
            self._follower = shared_poller((*self._where, "logs"), lambda: LogFollower(self._clients))
        return self._follower

    async def _follow(self, group: str, stream: str) -> None:
        follower = self._shared()
        id_ = LogFollower.id_of(group, stream)
        async with aclosing(follower.poller.watch([id_])) as looks:
            async for _ in looks:
                self._log_lines(follower.take(id_))

    async def _follow_node(self, node: str) -> None:
        while True:
            described = await asyncio.to_thread(jobs.describe, self._clients, [node])
            for job in (summary_of(one, secret_name) for one in described.values()):
                self._secrets |= job.secrets
                if job.log_stream:
                    self._stream = (job.log_group, job.log_stream)
                    return await self._follow(*self._stream)
                if job.status in jobs.FINAL:
                    return None
            await asyncio.sleep(SHORTEST)

    def _log_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._log.info("%s", program_line(line, self._secrets))

    async def _first_failure(self, parent: str) -> None:
        members = list(IndexSet.parse(self._indices[parent]))

        def look() -> tuple[Any, list[str]]:
            child = next(jobs.children(self._clients, parent, "FAILED"), None)
            if child is None:
                return None, []
            described = jobs.describe(self._clients, [child["jobId"]]).get(child["jobId"], child)
            failure = failure_of(described, members[position(child, len(members))])
            lines = tail(self._clients, log_group(described), failure.log_stream) if failure.log_stream else []
            return failure, lines

        failure, lines = await asyncio.to_thread(look)
        if failure is not None:
            code = "" if failure.exit_code is None else f", exit code {failure.exit_code}"
            reason = without(self._secrets, failure.reason)
            self._log.warning("Index %s has failed%s: %s", failure.index, code, reason)
            self._log_lines(lines)

    async def _explain(self, job_id: str, seconds: float) -> None:
        reasons = await asyncio.to_thread(explain, self._clients, job_id)
        self._log.warning("Job %s has been RUNNABLE for %.0f s: %s", job_id, seconds, "; ".join(reasons))
