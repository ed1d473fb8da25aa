"""What is kept of a waiting job between two looks, and the lines that tell of it when it changes."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.logs import log_group

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Statuses of a job that has not begun to run, in order.
WAITING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING")


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What one look at a job keeps: small, since a thousand of them are kept."""

    job_id: str
    name: str
    status: str
    reason: str | None
    children: tuple[tuple[str, int], ...]
    """Number of children by status; empty for a single job."""
    log_stream: str | None
    log_group: str
    created_at: int
    """Milliseconds since the epoch, by AWS's clock."""

    def count(self, *statuses: str) -> int:
        """How many children are in one of the statuses; for a single job 1 or 0."""
        if not self.children:
            return int(self.status in statuses)
        return sum(number for status, number in self.children if status in statuses)

    @property
    def stuck(self) -> bool:
        """Whether something of it wants to run, and nothing of it does."""
        return self.count("RUNNABLE") > 0 and not self.count("STARTING", "RUNNING")


def summary_of(job: Mapping[str, Any]) -> JobSummary:
    """The summary of a job as DescribeJobs gives it."""
    counts = (job.get("arrayProperties") or {}).get("statusSummary") or {}
    return JobSummary(
        job_id=job["jobId"],
        name=job["jobName"],
        status=job["status"],
        reason=job.get("statusReason"),
        children=tuple(sorted((status, int(count)) for status, count in counts.items() if count)),
        log_stream=(job.get("container") or {}).get("logStreamName"),
        log_group=sys.intern(log_group(job)),
        created_at=int(job.get("createdAt", 0)),
    )


class Progress:
    """Turns looks at the jobs of a wait into lines, one whenever something has changed.

    Args:
        size: number of indices of the whole job.
        done: how many of them had succeeded before this wait.
    """

    def __init__(self, size: int, done: int) -> None:
        self._size = size
        self._done = done
        self._last: dict[str, JobSummary] = {}
        self._told: str | None = None

    def update(self, seen: Mapping[str, JobSummary]) -> list[str]:
        """Take in a look; gives the lines to tell."""
        self._last.update(seen)
        line = self.line()
        if line == self._told:
            return []
        self._told = line
        return [line]

    def line(self) -> str:
        """Where the work stands: `412/500 done, 3 failed, 85 running`; for a single job its status."""
        if self._size == 1 and len(self._last) == 1:
            (job,) = self._last.values()
            return f"job {job.job_id} ({job.name}): {job.status}{f' ({job.reason})' if job.reason else ''}"
        counts: Counter[str] = Counter()
        for job in self._last.values():
            counts.update(dict(job.children) if job.children else {job.status: 1})
        parts = [f"{self._done + counts['SUCCEEDED']}/{self._size} done"]
        waiting = sum(counts[status] for status in WAITING)
        for number, word in ((counts["FAILED"], "failed"), (counts["RUNNING"], "running"), (waiting, "waiting")):
            if number:
                parts.append(f"{number} {word}")
        return ", ".join(parts)


class Stuck:
    """For how long nothing of the jobs of a wait has run although it could."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def update(self, seen: Mapping[str, JobSummary], now: float) -> tuple[str | None, float]:
        """Take in a look; gives the job that is stuck for longest, and for how many seconds.

        A job of which nothing has ever run is stuck since it was created, whoever has been looking at it.
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
