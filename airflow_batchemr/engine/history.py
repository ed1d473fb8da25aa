"""The history of jobs: what ran, with which settings, and how it ended, also after AWS has deleted its records.

Submissions that are open in the ledger are shown as AWS reports them; see `engine.unrecorded`.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.failure_report import report
from airflow_batchemr.engine.submission_facts import ended_on_aws, index_history_of, request_facts
from airflow_batchemr.engine.submission_records import children_document, report_document
from airflow_batchemr.engine.unrecorded import merge, observe_open, read_job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_batchemr.engine.submission_facts import Fact
    from airflow_batchemr.engine.unrecorded import JobRecords, RemoteWorkReader, Sighting
    from airflow_batchemr.ledger import JobLedger, Ledger, LedgerState, Submission

#: How many runs are read at the same time.
_THREADS = 8


@dataclass(frozen=True)
class SubmissionHistory:
    """One submission of a job."""

    number: int
    kind: str
    """`batch`, `emr`, `steps`, `emr_serverless` or `emr_eks`; empty if no record names it."""
    state: str
    """`succeeded`, `failed`, `stopped`, `lost`, `abandoned`; `running` or `not_visible` if it has not ended."""
    recorded: bool
    """False if the state is AWS's, because no try of the task has recorded how the submission ended."""
    indices: IndexSet
    succeeded: IndexSet
    began: datetime | None
    """When it was claimed, by S3's clock."""
    ended: datetime | None
    """When its end was recorded; if it is not recorded, when it ended according to AWS."""
    by: str
    """The Airflow try, task and run that claimed it."""
    stopped: str
    """Why a stop was requested, and by whom; empty if none was."""
    facts: list[Fact]
    """What ran where, such as ("Batch job", "0f31…") and ("command", "score.py"), in display order."""
    failure: str
    """The failure report; empty if nothing failed."""


@dataclass(frozen=True)
class JobHistory:
    """A job of one run."""

    job: str
    state: str
    """`succeeded` if there is a marker, else the state of the last submission; `nothing` if there is none."""
    done: int
    size: int
    """How many indices (or EMR steps) were ever claimed."""
    submissions: list[SubmissionHistory]
    finished_at: datetime | None
    """When the marker was written; None if there is none."""
    note: str = ""
    """Why the state may be out of date: AWS could not be queried."""

    @property
    def recorded(self) -> bool:
        """Whether the state is that of the ledger."""
        return self.finished_at is not None or all(one.recorded for one in self.submissions[-1:])

    @property
    def label(self) -> str:
        """The state, for display."""
        return self.state if self.recorded else f"{self.state} (not recorded)"

    @property
    def began(self) -> datetime | None:
        """When its first submission was claimed."""
        return next((submission.began for submission in self.submissions if submission.began), None)

    @property
    def ended(self) -> datetime | None:
        """When the marker was written, else when its last submission ended; None if it has not ended."""
        return self.finished_at or (self.submissions[-1].ended if self.submissions else None)

    @property
    def progress(self) -> str:
        """Such as ``97/100``."""
        return f"{self.done:,}/{self.size:,}" if self.size else "-"


def job_history(
    ledger: Ledger,
    dag_id: str,
    run_key: str,
    job: str,
    *,
    replay: Sequence[str] = (),
    reader: RemoteWorkReader | None = None,
) -> JobHistory:
    """The history of one job, with a failure report for each failed submission.

    Reads all records of the job, and one document for each failure on EMR.

    Args:
        ledger: of the state URI.
        dag_id: the pipeline.
        run_key: the run.
        job: its name in the ledger.
        replay: the command that runs an index again, without ``--index``.
        reader: queries AWS for open submissions; None: show the ledger's records only.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    records = read_job(ledger, dag_id, run_key, job)
    (sightings,) = observe_open(reader, [records])
    return job_history_of(job, records.state, replay, _reports(records), sightings)


def run_history(ledger: Ledger, dag_id: str, run_key: str, reader: RemoteWorkReader | None = None) -> list[JobHistory]:
    """The history of all jobs of a run, as `run_histories` gives it."""
    return run_histories(ledger, dag_id, [run_key], reader)[0]


def run_histories(
    ledger: Ledger, dag_id: str, run_keys: Sequence[str], reader: RemoteWorkReader | None = None
) -> list[list[JobHistory]]:
    """The history of all jobs of some runs; one query of AWS covers all of them.

    Args:
        ledger: of the state URI.
        dag_id: the pipeline.
        run_keys: the runs.
        reader: queries AWS for open submissions; None: show the ledger's records only.

    Returns:
        For each run, its jobs in the order in which they began; those without a submission come last.

    Raises:
        LedgerError: the ledger cannot be read.
    """

    def read(run_key: str) -> list[JobRecords]:
        return [read_job(ledger, dag_id, run_key, job) for job in ledger.jobs(dag_id, run_key)]

    with ThreadPoolExecutor(_THREADS) as threads:
        runs = list(threads.map(read, run_keys))
    sightings = iter(observe_open(reader, [records for run in runs for records in run]))
    histories = [
        [job_history_of(one.identity.job, one.state, sightings=next(sightings)) for one in records] for records in runs
    ]
    return [sorted(jobs, key=lambda one: one.began.timestamp() if one.began else math.inf) for jobs in histories]


def index_history(
    ledger: Ledger, dag_id: str, run_key: str, job: str, *, index: int, reader: RemoteWorkReader | None = None
) -> list[list[Fact]]:
    """The facts about one index, for each submission that includes it.

    Reads all records of the job, and one document for each of these submissions.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    records = read_job(ledger, dag_id, run_key, job)
    (sightings,) = observe_open(reader, [records])
    state = merge(records.state, sightings)
    children: dict[int, list[dict[str, Any]]] = {}
    for submission in state.submissions:
        if index in submission.indices and (body := _children(records.ledger, submission, sightings)):
            children[submission.number] = json.loads(body)
    return index_history_of(state, children, index)


def _children(ledger: JobLedger, submission: Submission, sightings: Mapping[int, Sighting]) -> bytes | None:
    name = children_document(submission.number)
    if submission.number in sightings:
        return sightings[submission.number].documents.get(name)
    return ledger.get_document(name)


def _reports(records: JobRecords) -> dict[int, str]:
    """The failure reports of submissions on EMR, by number."""
    found = {}
    for submission in records.state.submissions:
        if submission.result is not None and submission.result.failures and submission.result.kind != "batch":
            body = records.ledger.get_document(report_document(submission.number))
            if body:
                found[submission.number] = body.decode()
    return found


def job_history_of(
    job: str,
    state: LedgerState,
    replay: Sequence[str] = (),
    reports: Mapping[int, str] | None = None,
    sightings: Mapping[int, Sighting] | None = None,
) -> JobHistory:
    """The history of a job, from its records.

    Args:
        job: its name.
        state: `JobLedger.history()`; `JobLedger.read()` leaves out the submissions that the marker covers.
        replay: the command that runs an index again, without ``--index``, for the failure report.
        reports: failure reports stored as documents, by number of the submission.
        sightings: open submissions as AWS reports them, by number.
    """
    sightings = sightings or {}
    state = merge(state, sightings)
    claimed = IndexSet()
    for submission in state.current:
        claimed |= submission.intent.indices if submission.intent else submission.indices
    size = state.marker.size if state.marker else len(claimed)
    done = size if state.marker else len(state.done)
    submissions, so_far = [], IndexSet()
    for one in state.submissions:
        so_far |= one.succeeded
        failure = _failure(one, size, len(so_far), replay, reports or {})
        submissions.append(_submission(one, failure, sightings.get(one.number)))
    errors = dict.fromkeys(one.error for one in sightings.values() if one.error)
    return JobHistory(
        job=job,
        state="succeeded" if state.marker else submissions[-1].state if submissions else "nothing",
        done=done,
        size=size,
        submissions=submissions,
        finished_at=state.marker.finished_at if state.marker else None,
        note=f"AWS cannot be queried about open submissions: {'; '.join(errors)}" if errors else "",
    )


def _failure(submission: Submission, size: int, done: int, replay: Sequence[str], reports: Mapping[int, str]) -> str:
    result = submission.result
    if result is None or not result.failures:
        return ""
    if result.kind != "batch":
        return reports.get(submission.number) or "\n".join(one.reason for one in result.failures)
    failed = IndexSet.union(result.causes.values())
    return report(result.failures, size=size, done=done, failed=failed, replay=replay)


def _submission(submission: Submission, failure: str, sighting: Sighting | None) -> SubmissionHistory:
    intent, result, stop = submission.intent, submission.result, submission.stop
    recorded = sighting is None or not sighting.ended
    ended = None
    if result is not None:
        ended = result.written_at if recorded else ended_on_aws(result)
    return SubmissionHistory(
        number=submission.number,
        kind=(result or intent).kind if result or intent else "",  # type: ignore[union-attr]
        state=_state(submission, sighting),
        recorded=recorded,
        indices=submission.indices,
        succeeded=submission.succeeded,
        began=submission.claimed_at,
        ended=ended,
        by=f"try {intent.try_number} of task {intent.task_id} in run {intent.run_id}" if intent else "",
        stopped=f"{stop.reason} ({stop.by})" if stop else "",
        facts=[*_sighting_facts(sighting), *request_facts(submission)],
        failure=failure,
    )


def _state(submission: Submission, sighting: Sighting | None) -> str:
    if submission.result is not None:
        return submission.result.outcome
    if submission.handle is not None and submission.handle.abandoned:
        return "abandoned"
    return "not_visible" if sighting is not None and sighting.status == "not_visible" else "running"


def _sighting_facts(sighting: Sighting | None) -> list[Fact]:
    if sighting is None or sighting.status is None:
        return []
    if sighting.status == "not_visible":
        text = "not visible. The next try of the task waits until it appears, else reports it as lost"
        return [("state on AWS", text)]
    facts = [("state on AWS", sighting.aws_state)] if sighting.aws_state else []
    if sighting.ended:
        facts.append(("recorded", not_recorded(sighting.submission)))
    return facts


def not_recorded(submission: Submission) -> str:
    """What to do about a submission that has ended without a recorded result."""
    succeeded = submission.result is not None and submission.result.outcome == "succeeded"
    rest = "nothing runs again" if succeeded else "what has not succeeded runs again"
    return f"no. If the Airflow task has ended, clear it: the next try records this result, and {rest}"
