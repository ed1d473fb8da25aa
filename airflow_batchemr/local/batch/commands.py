"""The command of a container: what runs, with which environment, memory and log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import containers, secrets
from airflow_batchemr.local.batch.secrets import SecretError
from airflow_batchemr.local.processes import Command, Ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_batchemr.local.batch.state import Job, Run
    from airflow_batchemr.local.logs import Logs
    from airflow_batchemr.local.upstream import Upstream

__all__ = ["CannotStartError", "Commands"]


class CannotStartError(Exception):
    """A container cannot be started. The message is the reason in the words of ECS or Kubernetes."""


class Commands:
    """Commands of containers.

    Args:
        upstream: moto, for secrets.
        logs: Stores the output.
        root: Parent folder of the working folders.
    """

    def __init__(self, upstream: Upstream, logs: Logs, root: Path) -> None:
        self._upstream = upstream
        self._logs = logs
        self._root = root
        self.unpullable: set[str] = set()

    def command(
        self,
        job: Job,
        run: Run,
        one: dict[str, Any],
        on_start: Callable[[int], None],
        on_end: Callable[[Ended], None],
    ) -> Command:
        """Return the command of a container, and open its log stream.

        Args:
            job: Job of the container.
            run: The container in the current attempt.
            one: The container in the form of a plain one.
            on_start: See `Command`.
            on_end: See `Command`.

        Raises:
            CannotStartError: The image cannot be pulled, there is no command, or a secret cannot be read.
        """
        image = one.get("image", "")
        if image in self.unpullable and containers.is_pod(job):
            raise CannotStartError("ImagePullBackOff")
        if image in self.unpullable:
            raise CannotStartError(
                f"CannotPullContainerError: Error response from daemon: pull access denied for {image}"
            )
        if not one["command"]:
            raise CannotStartError(
                "CannotStartContainerError: no command in job or definition (the local AWS does not read images)"
            )
        try:
            environment = self._environment(job, one)
        except SecretError as error:
            raise CannotStartError(str(error)) from error
        return Command(
            str(run.command),
            one["command"],
            environment,
            self._root / "jobs",
            self._logs.open(job.region, run.stream, one),
            None,
            containers.memory_bytes(one),
            on_start,
            on_end,
        )

    def _environment(self, job: Job, one: dict[str, Any]) -> dict[str, str]:
        environment = {item["name"]: item.get("value", "") for item in one["environment"]}
        environment |= secrets.resolve(self._upstream, job.region, one)
        environment |= {
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(len((job.whole or job).attempts) + 1),
            "AWS_BATCH_JQ_NAME": job.queue.name,
            "AWS_BATCH_CE_NAME": job.queue.environments[0].name,
        }
        if job.parent is not None and job.parent.children is not None:
            environment["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
            environment["AWS_BATCH_JOB_ARRAY_SIZE"] = str(len(job.parent.children))
        if job.whole is not None and job.whole.main_node is not None:
            environment |= {
                "AWS_BATCH_JOB_NODE_INDEX": str(job.node_index),
                "AWS_BATCH_JOB_MAIN_NODE_INDEX": str(job.whole.main_node.node_index),
                "AWS_BATCH_JOB_NUM_NODES": str(len(job.whole.nodes or ())),
            }
            if job is not job.whole.main_node:
                environment["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"] = "127.0.0.1"
        return environment
