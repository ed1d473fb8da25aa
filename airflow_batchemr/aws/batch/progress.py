"""What a wait keeps of a job between two polls, and the progress lines that it logs when something changes."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.logs import log_group
from airflow_batchemr.core.job_container import container_of
from airflow_batchemr.core.secret_values import secret_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Statuses of a job that has not begun to run, in order.
WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING")


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a poll keeps of a job. Small, since a triggerer keeps a thousand of them."""

    job_id: str
    name: str
    status: str
    reason: str | None
    children: tuple[tuple[str, int], ...]
    """Number of children by status; empty for a single job."""
    log_stream: str | None
    log_group: str
    main_node: str | None
    """Id of the main node of a multi-node job, which shows the log stream while the job is running."""
    created_at: int
    """Milliseconds since the epoch, by AWS's clock."""
    secrets: frozenset[str] = frozenset()
    """Secret values in its environment and command."""

    def count(self, *statuses: str) -> int:
        """How many children are in one of the statuses; for a single job 1 or 0."""
        if not self.children:
            return int(self.status in statuses)
        return sum(number for status, number in self.children if status in statuses)

    @property
    def stuck(self) -> bool:
        """Whether a part of it is RUNNABLE, and none of it is running."""
        return self.count("RUNNABLE") > 0 and not self.count("STARTING", "RUNNING")


def summary_of(job: Mapping[str, Any], secret_name: Callable[[str], bool] = lambda _: False) -> JobSummary:
    """The summary of a job as DescribeJobs gives it; `secret_name` decides which variables are secret."""
    counts = (job.get("arrayProperties") or {}).get("statusSummary") or {}
    nodes = job.get("nodeProperties")
    container = container_of(job)
    return JobSummary(
        job_id=job["jobId"],
        name=job["jobName"],
        status=job["status"],
        reason=job.get("statusReason"),
        children=tuple(sorted((status, int(count)) for status, count in counts.items() if count)),
        log_stream=container.get("logStreamName"),
        log_group=sys.intern(log_group(job)),
        main_node=f"{job['jobId']}#{nodes.get('mainNode', 0)}" if nodes else None,
        created_at=int(job.get("createdAt", 0)),
        secrets=secret_values([container.get("environment"), container.get("command")], secret_name),
    )


class Progress:
    """Turns polls of the jobs of a wait into log lines, one whenever something has changed.

    Args:
        size: number of indices of the whole job.
        done: how many of them had succeeded before this wait.
    """

    def __init__(self, size: int, done: int) -> None:
        self._size = size
        self._done = done
        self._last: dict[str, JobSummary] = {}
        self._logged: str | None = None

    def update(self, seen: Mapping[str, JobSummary]) -> list[str]:
        """Process a poll; returns the lines to log."""
        self._last.update(seen)
        line = self._line()
        if line == self._logged:
            return []
        self._logged = line
        return [line]

    def _line(self) -> str:
        """The state of the work: `412/500 done, 3 failed, 85 running`; for a single job its status."""
        if self._size == 1 and len(self._last) == 1:
            (job,) = self._last.values()
            return f"job {job.job_id} ({job.name}): {job.status}{f' ({job.reason})' if job.reason else ''}"
        counts: Counter[str] = Counter()
        for job in self._last.values():
            counts.update(dict(job.children) if job.children else {job.status: 1})
        waiting = sum(counts[status] for status in WAITING)
        parts = ((counts["FAILED"], "failed"), (counts["RUNNING"], "running"), (waiting, "waiting"))
        done = f"{self._done + counts['SUCCEEDED']}/{self._size} done"
        return ", ".join([done, *(f"{number} {label}" for number, label in parts if number)])


class Stuck:
    """For how long the jobs of a wait have been RUNNABLE without anything running."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def update(self, seen: Mapping[str, JobSummary], now: float) -> tuple[str | None, float]:
        """Process a poll; returns the job that has been stuck for the longest time, and for how many seconds.

        A job that has never run anything is stuck since it was created, even if this wait is newer.
        """
        for id_, job in seen.items():
            if not job.stuck:
                self._since.pop(id_, None)
            elif id_ not in self._since:
                never_ran = not job.count("SUCCEEDED", "FAILED")
                self._since[id_] = job.created_at / 1000 if never_ran and job.created_at else now
        if not self._since:
            return None, 0.0
        id_ = min(self._since, key=self._since.__getitem__)
        return id_, max(0.0, now - self._since[id_])
