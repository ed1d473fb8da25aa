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
    from collections.abc import Callable, Mapping, Sequence

    from airflow_batchemr.engine.backend import RemoteWork, Status
    from airflow_batchemr.engine.policy import Policy
    from airflow_batchemr.ledger import JobLedger, Ledger, LedgerState, Submission

    Question = Callable[[RemoteWork, Submission], "RemoteStatus"]

#: How many runs are read, or submissions observed, at the same time.
THREADS = 8


class RemoteWorkReader(Protocol):
    """Remote work of many jobs, for reading."""

    policy: Policy
    """That of the tasks: it decides when they give up a submission that AWS does not show."""

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
class RemoteStatus:
    """An open submission as AWS reports it."""

    submission: Submission
    """With the handle and, if it has ended, the result that the next try would record."""
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
            return moment(max(stopped))
        cluster: Any = result.details.get("cluster") or {}
        run: Any = result.details.get("job_run") or {}
        timelines: list[Any] = [(one.get("Status") or {}).get("Timeline") or {} for one in (cluster, *result.steps)]
        times = [*(timeline.get("EndDateTime") for timeline in timelines), run.get("endedAt"), run.get("finishedAt")]
        return max((when for time in times if time and (when := _parsed(str(time)))), default=None)


def moment(milliseconds: float) -> datetime | None:
    """A time in milliseconds since 1970, as Batch gives it; None if it is not in Python's calendar."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def _parsed(text: str) -> datetime | None:
    """A time as text in UTC; None if it is none."""
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def read_job(ledger: Ledger, dag_id: str, run_key: str, job: str) -> JobRecords:
    """Read all records of a job.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found = ledger.job(dag_id, run_key, job)
    identity = JobIdentity(ledger.uri, dag_id, run_key, job, run_id=run_key, task_id=job)
    return JobRecords(found, identity, found.history())


def observe_open(
    reader: RemoteWorkReader | None, jobs: Sequence[JobRecords], most: int | None = None
) -> list[dict[int, RemoteStatus]]:
    """Query AWS for the open submissions of some jobs: the first `most`, or all of them.

    DescribeJobs is called once per 100 Batch jobs, and once more for arrays that have ended. A submission without a
    handle is searched for by its name once its owner cannot start it any more: two more calls each. When AWS cannot be
    reached, the remaining submissions of that service are skipped. Without a `reader`, AWS is not queried.

    Returns:
        For each job, its open submissions by number.
    """
    found = [{one.number: RemoteStatus(one) for one in job.state.submissions if one.open} for job in jobs]
    if reader is None:
        return found
    failures: dict[tuple[Question, str], str] = {}

    def ask(question: Question, job: JobRecords, submission: Submission) -> RemoteStatus:
        call = question, submission.kind or ""
        if call in failures:
            return RemoteStatus(submission, error=failures[call])
        try:
            return question(reader.of(job.ledger, job.identity), submission)
        except (AwsError, LedgerError) as error:
            if isinstance(error, AwsError) and (error.transient or isinstance(error, NotAllowed)):
                failures[call] = str(error)  # it would affect other submissions of the kind as well
            return RemoteStatus(submission, error=str(error))

    def ask_all(question: Question, wanted: Sequence[tuple[JobRecords, dict[int, RemoteStatus], Submission]]) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            seen = threads.map(lambda one: ask(question, one[0], one[2]), wanted)
            for (_, sightings, submission), sighting in zip(wanted, seen, strict=True):
                sightings[submission.number] = sighting

    listed = [(job, sightings, number) for job, sightings in zip(jobs, found, strict=True) for number in sightings]
    for _, sightings, number in listed[most:] if most is not None else ():
        sightings[number] = replace(sightings[number], error=f"only {most} of {len(listed):,} are queried at once here")
    listed = listed[:most]
    started = [(job, sightings, sightings[number].submission) for job, sightings, number in listed]
    ask_all(_search, [one for one in started if _to_be_searched(one[0].state, one[2], reader.policy)])
    started = [(job, sightings, sightings[number].submission) for job, sightings, number in listed]
    known = [one for one in started if one[2].handle is not None and one[2].intent is not None]
    if known:
        try:
            reader.prefetch([submission for _, _, submission in known])
        except AwsError as error:
            failures[_observe, "batch"] = str(error)
    ask_all(_observe, known)
    return found


def _to_be_searched(state: LedgerState, submission: Submission, policy: Policy) -> bool:
    """Whether the next try would search for the submission, and give it up if AWS shows nothing of it."""
    return submission.handle is None and state.lease_ended(submission, policy.abandon_after)


def _search(remote: RemoteWork, submission: Submission) -> RemoteStatus:
    """The submission with the handle that the next try would record."""
    found = remote.find(submission) if submission.intent is not None else None
    return (
        RemoteStatus(submission, "not_visible")
        if found is None
        else RemoteStatus(replace(submission, handle=found.handle))
    )


def _observe(remote: RemoteWork, submission: Submission) -> RemoteStatus:
    observation = remote.observe(submission)
    ending = remote.result(submission, observation) if observation.status == "ended" else None
    if ending is None:
        status: Status = "not_visible" if observation.status == "not_visible" else "running"
        return RemoteStatus(submission, status, observation.state)
    ended = replace(submission, result=ending.result)
    return RemoteStatus(ended, "ended", observation.state, documents=ending.documents)


def merge(state: LedgerState, sightings: Mapping[int, RemoteStatus]) -> LedgerState:
    """The ledger as it would be if everything that has ended were recorded."""
    submissions = [sightings[one.number].submission if one.number in sightings else one for one in state.submissions]
    return replace(state, submissions=submissions)
