"""Copy the log of a running step from CloudWatch or S3 to the task log."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.logs import StepTail
from airflow_batchemr.aws.logs import LogFollower
from airflow_batchemr.aws.poller import shared_poller
from airflow_batchemr.core.log_lines import program_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.poll import Sight

#: Seconds between two polls of the logs in S3. EMR uploads them every five minutes.
PAUSE = 60.0
#: Maximum seconds to get the last lines of a step that has ended.
LAST_LOOK = 10.0


class LiveSteps:
    """Logs the new lines of running steps.

    Args:
        clients: Clients shared by the triggers of the process.
        where: Connection and region, the key of shared pollers.
        log_uri: LogUri of the cluster, or None.
        cluster_id: Id of the cluster.
        streams: CloudWatch group and stream to which the program writes, by step id.
        log: Logger of the trigger, which writes to the task log.
        secrets: Returns the values that are not shown. Blocking; called before the first line is shown.
    """

    def __init__(
        self,
        clients: Clients,
        where: tuple[str | None, str | None],
        *,
        log_uri: str | None,
        cluster_id: str,
        streams: Mapping[str, Sequence[str]],
        log: Any,
        secrets: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._clients = clients
        self._where = where
        self._log_uri = log_uri
        self._cluster_id = cluster_id
        self._streams = streams
        self._log = log
        self._read_secrets = secrets
        self._secrets: frozenset[str] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tails: dict[str, StepTail] = {}

    async def __aenter__(self) -> LiveSteps:  # noqa: PYI034 - Self is Python 3.11's
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def update(self, sight: Sight) -> None:
        """Process a poll: follow the running steps."""
        for step_id, step in sight.steps.items():
            if step.state == "RUNNING" and step_id not in self._tasks:
                if step_id in self._streams:
                    self._begin(step_id, self._follow(*self._streams[step_id]))
                elif self._log_uri:
                    self._begin(step_id, self._tail(step_id))

    def _begin(self, step_id: str, work: Coroutine[Any, Any, None]) -> None:
        async def alone() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - additional log lines must not end the wait
                self._log.warning("The log of step %s cannot be shown: %s", step_id, error)

        self._tasks[step_id] = asyncio.create_task(alone())  # in the trigger's context, for its log

    async def _follow(self, group: str, stream: str) -> None:
        follower = self._follower()
        id_ = LogFollower.id_of(group, stream)
        async with aclosing(follower.poller.watch([id_])) as looks:
            async for _ in looks:
                await self._log_lines(follower.take(id_))

    async def _tail(self, step_id: str) -> None:
        tail = self._tails[step_id] = StepTail(self._clients, str(self._log_uri), self._cluster_id, step_id)
        while True:
            await asyncio.sleep(PAUSE)
            await self._log_lines(await asyncio.to_thread(tail.take))

    async def rest(self, sight: Sight) -> None:
        """Log the last lines of the steps that ran."""
        for step_id, step in sight.steps.items():
            if step.ended and step.state != "CANCELLED" and (step_id in self._streams or step_id in self._tails):
                look = self._look_again(step_id)
                with suppress(Exception):
                    await self._log_lines(await asyncio.wait_for(asyncio.to_thread(look), LAST_LOOK))

    def _look_again(self, step_id: str) -> Callable[[], list[str]]:
        if step_id not in self._streams:
            return self._tails[step_id].take
        follower = self._follower()
        id_ = LogFollower.id_of(*self._streams[step_id])
        return lambda: follower.look_again(id_)

    def _follower(self) -> LogFollower:
        return shared_poller((*self._where, "logs"), lambda: LogFollower(self._clients))

    async def _log_lines(self, lines: list[str]) -> None:
        if lines and self._secrets is None:
            self._secrets = await asyncio.to_thread(self._read_secrets)
        for line in lines:
            self._log.info("%s", program_line(line, self._secrets or ()))
