"""The current state on AWS of submissions that are open in the ledger. Writes neither to AWS nor to the ledger.

Airflow can fail a task whose work succeeds, for example when a worker is lost. Until the next try, nobody records how
that work ended.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from airflow_batchemr.core.errors import AwsError, NotAllowed
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.engine.backend import RemoteWork, Status
    from airflow_batchemr.ledger import JobLedger, Ledger, LedgerState, Submission

#: How many runs are read, or submissions observed, at the same time.
THREADS = 8


class RemoteWorkReader(Protocol):
    """Remote work of many jobs, for reading."""

    def prefetch(self, submissions: Sequence[Submission]) -> None:
        """Describe in as few calls as possible what `observe` will need. Raises `AwsError`."""

    def of(self, ledger: JobLedger, identity: JobIdentity) -> RemoteWork:
        """The remote work of one job; makes no call."""


@dataclass(frozen=True)
class JobRecords:
    """The ledger of one job of one run, as read."""

    ledger: JobLedger
    identity: JobIdentity
    state: LedgerState


@dataclass(frozen=True)
class Sighting:
    """An open submission as AWS reports it."""

    submission: Submission
    """With the result that the next try would record, if it has ended."""
    status: Status | None = None
    """None if AWS was not queried, or did not answer."""
    aws_state: str = ""
    """AWS's own state, such as RUNNABLE."""
    error: str = ""
    """Why AWS did not answer."""
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """What the next try would write next to the result."""

    @property
    def ended(self) -> bool:
        """Whether it has ended on AWS without a recorded result."""
        return self.submission.result is not None

    @property
    def ended_at(self) -> datetime | None:
        """When it ended according to AWS; None if it has not ended, or AWS gives no time."""
        result = self.submission.result
        if result is None:
            return None
        jobs: Any = result.details.get("jobs") or []
        stopped = [int(job["stoppedAt"]) for job in jobs if job.get("stoppedAt")]
        if stopped:
            return datetime.fromtimestamp(max(stopped) / 1000, timezone.utc)
        cluster: Any = result.details.get("cluster") or {}
        run: Any = result.details.get("job_run") or {}
        timelines: list[Any] = [(one.get("Status") or {}).get("Timeline") or {} for one in (cluster, *result.steps)]
        times = [*(timeline.get("EndDateTime") for timeline in timelines), run.get("endedAt"), run.get("finishedAt")]
        return max((datetime.fromisoformat(str(time)) for time in times if time), default=None)


def read_job(ledger: Ledger, dag_id: str, run_key: str, job: str) -> JobRecords:
    """Read all records of a job.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found = ledger.job(dag_id, run_key, job)
    identity = JobIdentity(ledger.uri, dag_id, run_key, job, run_id=run_key, task_id=job)
    return JobRecords(found, identity, found.history())


def observe_open(reader: RemoteWorkReader | None, jobs: Sequence[JobRecords]) -> list[dict[int, Sighting]]:
    """Query AWS for all open submissions of some jobs that have a handle.

    DescribeJobs is called once per 100 Batch jobs, and once more for arrays that have ended. When AWS cannot be
    reached, the remaining submissions of that service are skipped. Without a `reader`, AWS is not queried.

    Returns:
        For each job, its open submissions by number.
    """
    found = [{one.number: Sighting(one) for one in job.state.submissions if one.open} for job in jobs]
    wanted = [
        (job, sightings, one.submission)
        for job, sightings in zip(jobs, found, strict=True)
        for one in sightings.values()
        if one.submission.handle is not None and one.submission.intent is not None
    ]
    if reader is None or not wanted:
        return found
    unreachable: dict[str, str] = {}
    try:
        reader.prefetch([submission for _, _, submission in wanted])
    except AwsError as error:
        unreachable["batch"] = str(error)

    def observe(job: JobRecords, submission: Submission) -> Sighting:
        kind = submission.intent.kind if submission.intent is not None else ""
        if kind in unreachable:
            return Sighting(submission, error=unreachable[kind])
        try:
            return _sighting(reader.of(job.ledger, job.identity), submission)
        except (AwsError, LedgerError) as error:
            if isinstance(error, AwsError) and (error.transient or isinstance(error, NotAllowed)):
                unreachable[kind] = str(error)  # it would affect other submissions of the kind as well
            return Sighting(submission, error=str(error))

    with ThreadPoolExecutor(THREADS) as threads:
        seen = threads.map(lambda one: observe(one[0], one[2]), wanted)
        for (_, sightings, submission), sighting in zip(wanted, seen, strict=True):
            sightings[submission.number] = sighting
    return found


def _sighting(remote: RemoteWork, submission: Submission) -> Sighting:
    observation = remote.observe(submission)
    ending = remote.result(submission, observation) if observation.status == "ended" else None
    if ending is None:
        status: Status = "not_visible" if observation.status == "not_visible" else "running"
        return Sighting(submission, status, observation.state)
    ended = replace(submission, result=ending.result)
    return Sighting(ended, "ended", observation.state, documents=ending.documents)


def merge(state: LedgerState, sightings: Mapping[int, Sighting]) -> LedgerState:
    """The ledger as it would be if everything that has ended were recorded."""
    submissions = [sightings[one.number].submission if one.number in sightings else one for one in state.submissions]
    return replace(state, submissions=submissions)
