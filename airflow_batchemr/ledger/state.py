"""What stands in the ledger for one job of one run, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger.records import Owner

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_batchemr.ledger.records import Handle, Intent, Marker, Result, StopRequest

CLAIM_LEASE = 60.0
"""Seconds, by S3's clock, in which whoever claimed an attempt may make the call; after them, nobody will."""


@dataclass(frozen=True)
class Submission:
    """One attempt as it stands. Of a closed one only the result is read, unless the whole history is asked for."""

    number: int
    claimed_at: datetime | None
    """LastModified of the intent, by S3's clock."""
    intent: Intent | None = None
    handle: Handle | None = None
    result: Result | None = None
    stop: StopRequest | None = None

    @property
    def rerun_token(self) -> str | None:
        """The token of the rerun it belongs to."""
        record = self.result or self.intent
        return record.rerun_token if record else None

    @property
    def owner(self) -> Owner | None:
        """The try that claimed it; None where that is not recorded."""
        if self.intent is not None:
            return Owner(run_id=self.intent.run_id, task_id=self.intent.task_id, try_number=self.intent.try_number)
        return self.result.owner if self.result is not None else None

    @property
    def open(self) -> bool:
        """Whether it may still do something on AWS: nobody has recorded its end."""
        return self.result is None and not (self.handle is not None and self.handle.abandoned)

    @property
    def indices(self) -> IndexSet:
        """What it does: of an attempt that was only half submitted, what reached AWS."""
        if self.result is not None:
            return self.result.indices
        if self.handle is not None and (self.handle.abandoned or self.handle.jobs):
            return IndexSet.union(job.indices for job in self.handle.jobs)
        return self.intent.indices if self.intent else IndexSet()

    @property
    def size(self) -> int | None:
        """How many indices the whole job had when the attempt was submitted; None: it was not recorded."""
        record = self.result or self.intent
        size = record.details.get("size") if record else None
        return size if isinstance(size, int) else None

    @property
    def succeeded(self) -> IndexSet:
        """What it has done for good."""
        return self.result.succeeded if self.result else IndexSet()


@dataclass(frozen=True)
class LedgerState:
    """A job's attempts and marker at one moment.

    A rerun starts from nothing: attempts older than the first one with the last `fresh` token do not count, nor does
    a marker that covers only such attempts.
    """

    numbers: list[int]
    """Numbers of all attempts, also of those that a marker covers and that are not read."""
    submissions: list[Submission]
    """The attempts that were read, oldest first."""
    marker: Marker | None
    """The marker that stands; one that a rerun has overtaken does not."""
    rerun_token: str | None
    """The token of the rerun that counts now; None: there was none."""
    since: int
    """Number of the first attempt that counts."""
    now: datetime
    """S3's clock at the time of reading."""

    @property
    def current(self) -> list[Submission]:
        """The attempts that count."""
        return [submission for submission in self.submissions if submission.number >= self.since]

    @property
    def open_submissions(self) -> list[Submission]:
        """Attempts that count and may still run: to be adopted."""
        return [submission for submission in self.current if submission.open]

    @property
    def stale_submissions(self) -> list[Submission]:
        """Attempts before the rerun that may still run: to be stopped."""
        return [submission for submission in self.submissions if submission.open and submission.number < self.since]

    @property
    def done(self) -> IndexSet:
        """All indices that need no more work."""
        return IndexSet.union(
            [submission.succeeded for submission in self.current] + ([self.marker.indices] if self.marker else [])
        )

    @property
    def running(self) -> IndexSet:
        """All indices that an open attempt has in hand."""
        return IndexSet.union(submission.indices for submission in self.open_submissions)

    @property
    def next_number(self) -> int:
        """The number to claim next."""
        return max(self.numbers, default=0) + 1

    def lease_ended(self, submission: Submission, lease: float = CLAIM_LEASE) -> bool:
        """Whether whoever claimed `attempt` can no longer be about to call AWS.

        S3's times are whole seconds, so one is waited for on top.
        """
        return submission.claimed_at is None or (self.now - submission.claimed_at).total_seconds() > lease + 1


def derive(numbers: list[int], submissions: list[Submission], marker: Marker | None, now: datetime) -> LedgerState:
    """Find the rerun that counts, and whether the marker stands in it."""
    rerun_token, since = (marker.rerun_token, 0) if marker else (None, 0)
    for submission in submissions:
        # Attempts without a token go on with whatever rerun there was before them
        if submission.rerun_token not in (None, rerun_token) and not (
            marker and submission.number <= marker.submission
        ):
            rerun_token, since = submission.rerun_token, submission.number
    standing = marker if marker is not None and since <= marker.submission else None
    return LedgerState(numbers, submissions, standing, rerun_token, since, now)
