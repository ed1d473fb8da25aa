"""State of one job of one run, derived from the records in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.lease import CLAIM_LEASE
from airflow_batchemr.ledger.records import Owner

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_batchemr.ledger.records import Handle, Intent, Kind, Marker, Result, StopRequest


@dataclass(frozen=True)
class Submission:
    """One submission with its records. Of a closed one, only `JobLedger.history` reads more than result and stop."""

    number: int
    claimed_at: datetime | None
    """LastModified of the intent (S3's clock)."""
    intent: Intent | None = None
    handle: Handle | None = None
    result: Result | None = None
    stop: StopRequest | None = None

    @property
    def kind(self) -> Kind | None:
        """Kind of work; None if no record that was read names it, such as for a stop request before the claim."""
        record = self.result or self.intent
        return record.kind if record else None

    @property
    def rerun_token(self) -> str | None:
        """Token of the rerun that it belongs to."""
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
        """Whether it may still run on AWS, because its end has not been recorded."""
        return self.result is None and not (self.handle is not None and self.handle.abandoned)

    @property
    def indices(self) -> IndexSet:
        """Indices of the submission. If only some of its requests reached AWS, the indices of those."""
        if self.result is not None:
            return self.result.indices
        if self.handle is not None and (self.handle.abandoned or self.handle.jobs):
            return IndexSet.union(job.indices for job in self.handle.jobs)
        return self.intent.indices if self.intent else IndexSet()

    @property
    def size(self) -> int | None:
        """Number of indices of the whole job at the time of the submission; None if not recorded."""
        record = self.result or self.intent
        size = record.details.get("size") if record else None
        return size if isinstance(size, int) else None

    @property
    def succeeded(self) -> IndexSet:
        """Indices that have succeeded and do not run again."""
        return self.result.succeeded if self.result else IndexSet()


@dataclass(frozen=True)
class LedgerState:
    """Submissions and marker of a job at one point in time.

    A rerun starts from scratch: submissions before the first one with the latest rerun token do not count, nor does a
    marker that covers only such submissions.
    """

    numbers: list[int]
    """Numbers of all submissions, including those that the marker covers and that were not read."""
    submissions: list[Submission]
    """The submissions that were read, oldest first."""
    marker: Marker | None
    """The marker; None if there is none, or if a rerun has superseded it."""
    rerun_token: str | None
    """Token of the latest rerun; None if there was no rerun."""
    since: int
    """Number of the first submission that counts."""
    now: datetime
    """Time of reading (S3's clock)."""
    prior_submissions: frozenset[int] = frozenset()
    """Numbers of the submissions that ended before the current try began. Not recorded; set by the engine."""

    @property
    def current(self) -> list[Submission]:
        """Submissions that count."""
        return [submission for submission in self.submissions if submission.number >= self.since]

    @property
    def open_submissions(self) -> list[Submission]:
        """Submissions that count and may still run; they are adopted."""
        return [submission for submission in self.current if submission.open]

    @property
    def stale_submissions(self) -> list[Submission]:
        """Submissions from before the latest rerun that may still run; they are stopped."""
        return [submission for submission in self.submissions if submission.open and submission.number < self.since]

    @property
    def done(self) -> IndexSet:
        """All indices that have succeeded."""
        return IndexSet.union(
            [submission.succeeded for submission in self.current] + ([self.marker.indices] if self.marker else [])
        )

    @property
    def running(self) -> IndexSet:
        """All indices of open submissions."""
        return IndexSet.union(submission.indices for submission in self.open_submissions)

    @property
    def next_number(self) -> int:
        """Number of the next submission to claim."""
        return max(self.numbers, default=0) + 1

    def lease_ended(self, submission: Submission, lease: float = CLAIM_LEASE) -> bool:
        """Return whether the lease of a submission has expired, so that its owner can no longer call AWS.

        Adds one second, because S3's timestamps are whole seconds.
        """
        return submission.claimed_at is None or (self.now - submission.claimed_at).total_seconds() > lease + 1


def derive_state(
    numbers: list[int], submissions: list[Submission], marker: Marker | None, now: datetime
) -> LedgerState:
    """Derive the latest rerun, and whether the marker is valid for it, from the records that were read."""
    rerun_token, since = (marker.rerun_token, 0) if marker else (None, 0)
    for submission in submissions:
        # Submissions without a token belong to the rerun before them
        if submission.rerun_token not in (None, rerun_token) and not (
            marker and submission.number <= marker.submission
        ):
            rerun_token, since = submission.rerun_token, submission.number
    valid_marker = marker if marker is not None and since <= marker.submission else None
    return LedgerState(numbers, submissions, valid_marker, rerun_token, since, now)
