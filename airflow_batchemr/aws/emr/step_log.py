"""New log lines of a running step, from the parts that EMR uploads to S3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.logs import ClusterLogs

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients

#: Log4j's messages of low levels, which hide the output of the program.
_NOISE = re.compile(r"^(\d\d/\d\d/\d\d|\d{4}-\d\d-\d\d)[ T][\d:.,]+\s+(INFO|DEBUG|TRACE)|^\s*$|^\s+at ")


class StepTail:
    """New lines of a step: all of stdout, and stderr without log4j's messages of low levels.

    Args:
        clients: AWS.
        log_uri: the cluster's LogUri.
        cluster_id: the cluster.
        step_id: the step.
    """

    def __init__(self, clients: Clients, log_uri: str, cluster_id: str, step_id: str) -> None:
        self._logs = ClusterLogs(clients, log_uri, cluster_id)
        self._step_id = step_id
        self._seen: dict[str, int] = {}

    def take(self) -> list[str]:
        """The lines since the last call. Blocking: 3 GETs and, for YARN, a LIST."""
        lines = []
        for log in self._logs.step(self._step_id):
            if log.name == "controller" or log.name.startswith("executor"):
                continue
            now = log.text.splitlines()
            new = now[self._seen.get(log.uri, 0) :]
            self._seen[log.uri] = len(now)
            lines += [line for line in new if not _NOISE.match(line)]
        return lines
