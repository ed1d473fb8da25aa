"""The history of jobs: what ran, with which settings, and how it ended, also after AWS has deleted its records.

Submissions that are open in the ledger are shown as AWS reports them; see `engine.unrecorded`.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.container_overrides import recorded
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.job_container import attempts_of, container_of
from airflow_batchemr.core.preamble import unwrap
from airflow_batchemr.engine.failure_report import report
from airflow_batchemr.engine.submission_records import children_document, report_document
from airflow_batchemr.engine.unrecorded import THREADS, JobRecords, merge, moment, observe_open, read_job
from airflow_batchemr.ledger import LedgerError
from airflow_batchemr.ledger.content import BATCH_JOB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_batchemr.engine.unrecorded import RemoteStatus, RemoteWorkReader
    from airflow_batchemr.ledger import Ledger, LedgerState, Submission

#: A name and its value, such as ("Batch job", "0f31…").
Fact = tuple[str, str]


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

    @property
    def label(self) -> str:
        """The state, for display."""
        return self.state if self.recorded else f"{self.state} (not recorded)"


@dataclass(frozen=True)
class JobHistory:
    """A job of one run."""

    job: str
    state: str
    """`succeeded` if there is a marker, else the state of the last submission; `nothing` if there is none; `unreadable`
    if the ledger cannot be read, which `note` explains."""
    done: int
    size: int
    """How many indices (or EMR steps) were ever claimed."""
    submissions: list[SubmissionHistory]
    finished_at: datetime | None
    """When the marker was written; None if there is none."""
    note: str = ""
    """Why the state may be out of date or unknown: AWS could not be queried, or the ledger could not be read."""

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


@dataclass(frozen=True)
class ObservedJob:
    """The records of one job of one run, and its open submissions as AWS reports them."""

    records: JobRecords
    sightings: Mapping[int, RemoteStatus]

    def history(self) -> JobHistory:
        """The history, with a failure report for each failed submission: one document for each failure on EMR.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        records, reports = self.records, {}
        for one in records.state.submissions:
            if one.result is not None and one.result.failures and one.result.kind != "batch":
                report_ = records.ledger.get_document(report_document(one.number)) or b""
                reports[one.number] = report_.decode(errors="replace")
        identity = records.identity
        return job_history_of(identity.job, records.state, identity.replay_command(), reports, self.sightings)

    def index_history(self, index: int) -> list[list[Fact]]:
        """The facts about one index, for each submission that includes it: one document for each of them.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        state = merge(self.records.state, self.sightings)
        children = {}
        for number in [one.number for one in state.submissions if index in one.indices]:
            name, sighting = children_document(number), self.sightings.get(number)
            if sighting is None:
                children[number] = self.records.ledger.get_json(name, [BATCH_JOB]) or []
            else:
                children[number] = json.loads(sighting.documents.get(name) or b"[]")
        return index_history_of(state, children, index)


def observed_job(
    ledger: Ledger, dag_id: str, run_key: str, job: str, reader: RemoteWorkReader | None, *, most: int | None = None
) -> ObservedJob:
    """Read all records of a job, and query AWS about up to `most` of its open submissions (None: all of them).

    Without a `reader`, AWS is not queried.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    records = read_job(ledger, dag_id, run_key, job)
    (sightings,) = observe_open(reader, [records], most)
    return ObservedJob(records, sightings)


def run_histories(
    ledger: Ledger, dag_id: str, run_keys: Sequence[str], reader: RemoteWorkReader | None, *, most: int | None = None
) -> list[list[JobHistory]]:
    """The history of all jobs of some runs; one query of AWS covers up to `most` open submissions (None: all of them).

    Without a `reader`, AWS is not queried.

    Returns:
        For each run, its jobs in the order in which they began; those without a submission come last. A job whose
        records cannot be read is `unreadable`.

    Raises:
        LedgerError: the ledger cannot be read at the moment.
    """

    def read(run_key: str) -> list[JobRecords | JobHistory]:
        try:
            jobs = ledger.jobs(dag_id, run_key)
        except LedgerError as error:
            return [_unreadable("?", error)]
        return [read_one(run_key, job) for job in jobs]

    def read_one(run_key: str, job: str) -> JobRecords | JobHistory:
        try:
            return read_job(ledger, dag_id, run_key, job)
        except LedgerError as error:
            return _unreadable(job, error)

    with ThreadPoolExecutor(THREADS) as threads:
        runs = list(threads.map(read, run_keys))
    readable = [records for run in runs for records in run if isinstance(records, JobRecords)]
    sightings = iter(observe_open(reader, readable, most))
    found = []
    for run in runs:
        jobs = [
            one
            if isinstance(one, JobHistory)
            else job_history_of(one.identity.job, one.state, sightings=next(sightings))
            for one in run
        ]
        found.append(sorted(jobs, key=lambda one: one.began.timestamp() if one.began else math.inf))
    return found


def _unreadable(job: str, error: LedgerError) -> JobHistory:
    """A job whose records cannot be read; raises the error again if a later retry may succeed."""
    if error.retryable:
        raise error
    return JobHistory(job, "unreadable", 0, 0, [], None, f"{job}: {error}")


def job_history_of(
    job: str,
    state: LedgerState,
    replay: Sequence[str] = (),
    reports: Mapping[int, str] | None = None,
    sightings: Mapping[int, RemoteStatus] | None = None,
) -> JobHistory:
    """The history of a job, from its records.

    Args:
        job: its name in the ledger.
        state: `JobLedger.history()`; `JobLedger.read()` leaves out the submissions that the marker covers.
        replay: the command that runs an index again, without ``--index``, for the failure report.
        reports: failure reports stored as documents, by number of the submission.
        sightings: open submissions as AWS reports them, by number.
    """
    reports, sightings = reports or {}, sightings or {}
    state = merge(state, sightings)
    claimed = IndexSet.union(one.intent.indices if one.intent else one.indices for one in state.current)
    size = state.marker.size if state.marker else len(claimed)
    submissions, so_far = [], IndexSet()
    for one in state.submissions:
        so_far |= one.succeeded
        failure = reports.get(one.number) or _failure(one, size, len(so_far), replay)
        submissions.append(_submission(one, failure, sightings.get(one.number)))
    errors = dict.fromkeys(one.error for one in sightings.values() if one.error)
    return JobHistory(
        job=job,
        state="succeeded" if state.marker else submissions[-1].state if submissions else "nothing",
        done=size if state.marker else len(state.done),
        size=size,
        submissions=submissions,
        finished_at=state.marker.finished_at if state.marker else None,
        note=f"AWS cannot be queried about open submissions: {'; '.join(errors)}" if errors else "",
    )


def _failure(submission: Submission, size: int, done: int, replay: Sequence[str]) -> str:
    result = submission.result
    if result is None or not result.failures:
        return ""
    if result.kind != "batch":
        return "\n".join(one.reason for one in result.failures)
    failed = IndexSet.union(result.causes.values())
    return report(result.failures, size=size, done=done, failed=failed, replay=replay)


def _submission(submission: Submission, failure: str, sighting: RemoteStatus | None) -> SubmissionHistory:
    intent, handle, result, stop = submission.intent, submission.handle, submission.result, submission.stop
    state, ended = "running", None
    if result is not None:
        state, ended = result.outcome, sighting.ended_at if sighting else result.written_at
    elif handle is not None and handle.abandoned:
        state = "abandoned"
    elif sighting is not None and sighting.status == "not_visible":
        state = "not_visible"
    return SubmissionHistory(
        number=submission.number,
        kind=submission.kind or "",
        state=state,
        recorded=sighting is None or not sighting.ended,
        indices=submission.indices,
        succeeded=submission.succeeded,
        began=submission.claimed_at,
        ended=ended,
        by=f"try {intent.try_number} of task {intent.task_id} in run {intent.run_id}" if intent else "",
        stopped=f"{stop.reason} ({stop.by})" if stop else "",
        facts=[*(_sighting_facts(sighting) if sighting else ()), *_request_facts(submission)],
        failure=failure,
    )


def _sighting_facts(sighting: RemoteStatus) -> list[Fact]:
    if sighting.status == "not_visible":
        text = "not visible. The next try of the task waits until it appears, else reports it as lost"
        if sighting.submission.handle is None:
            text = "nothing has its name. The next try of the task gives it up and runs its work again"
        return [("state on AWS", text)]
    facts = [("state on AWS", sighting.aws_state)] if sighting.aws_state else []
    if result := sighting.submission.result:
        rest = "nothing runs again" if result.outcome == "succeeded" else "what has not succeeded runs again"
        text = f"no. If the Airflow task has ended, clear it: the next try records this result, and {rest}"
        facts.append(("recorded", text))
    return facts


def _request_facts(submission: Submission) -> list[Fact]:
    """What ran where: the ids on AWS, and what was requested."""
    handle, result = submission.handle, submission.result
    facts = [("Batch job", f"{job.job_id} (indices {job.indices})") for job in (handle.jobs if handle else ())]
    if handle is not None and handle.cluster_id:
        facts.append(("EMR cluster", handle.cluster_id))
    request = submission.intent.first if submission.intent else {}
    if "jobQueue" in request:
        return facts + _batch_facts(request, result.details if result else {})
    if request.get("ReleaseLabel"):
        facts.append(("release", str(request["ReleaseLabel"])))
    steps: Sequence[Mapping[str, Any]] = result.steps if request and result else ()
    for step in steps:
        status = step.get("Status") or {}
        facts.append(("step", f"{step.get('Name', step.get('Id', '?'))}: {status.get('State', '?')}"))
    return facts


def _batch_facts(request: Mapping[str, Any], details: Mapping[str, Any]) -> list[Fact]:
    overrides = recorded(request)
    jobs = details.get("jobs") or [{}]
    resources = [f"{one.get('type')} {one.get('value')}" for one in overrides.get("resourceRequirements", [])]
    facts = {
        "queue": str(request["jobQueue"]).rpartition("/")[2],
        "definition": str(request.get("jobDefinition", "")).rpartition("/")[2],
        "image": container_of(jobs[0]).get("image"),
        "resources": ", ".join(resources),
        "command": " ".join(unwrap(overrides.get("command", []))),
    }
    return [(name, value) for name, value in facts.items() if value]


def index_history_of(
    state: LedgerState, children: Mapping[int, Sequence[Mapping[str, Any]]], index: int
) -> list[list[Fact]]:
    """The facts about one index, for each submission that includes it.

    Args:
        state: `JobLedger.history()`.
        children: AWS's descriptions of the children of each submission's arrays: its document `children_document`.
        index: of the array; 0 for a single job.
    """
    return [
        _index_facts(submission, children.get(submission.number, ()), index)
        for submission in state.submissions
        if index in submission.indices
    ]


def _index_facts(submission: Submission, children: Sequence[Mapping[str, Any]], index: int) -> list[Fact]:
    result = submission.result
    outcome = result.outcome if result else "running"
    if index in submission.succeeded:
        outcome = "succeeded"
    elif result and any(index in failed for failed in result.causes.values()):
        outcome = "failed"
    failure = next((one.model_dump() for one in result.failures if one.index == index), {}) if result else {}
    child = _child(submission, children, index)
    container = container_of(child)
    facts = {
        "submission": submission.number,
        "outcome": outcome,
        "reason": failure.get("reason"),
        "exit code": container.get("exitCode", failure.get("exit_code")),
        "Batch job": child.get("jobId") or failure.get("job_id"),
        "started": _moment(child.get("startedAt")),
        "stopped": _moment(child.get("stoppedAt")),
        "attempts by Batch": len(attempts_of(child)) or None,
        "machine": container.get("containerInstanceArn") or container.get("nodeName"),
        "pod": container.get("podName"),
        "log stream": container.get("logStreamName") or failure.get("log_stream"),
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]


def _child(submission: Submission, children: Sequence[Mapping[str, Any]], index: int) -> Mapping[str, Any]:
    """AWS's description of the child that ran the index, or of the single job."""
    jobs: Any = submission.result.details.get("jobs", []) if submission.result else []
    single = [one for one in jobs if "size" not in (one.get("arrayProperties") or {})]
    for job in submission.handle.jobs if submission.handle else ():
        if index in job.indices:
            ids = {job.job_id, f"{job.job_id}:{list(job.indices).index(index)}"}
            return next((one for one in [*children, *single] if one.get("jobId") in ids), {})
    return {}


def _moment(milliseconds: int | None) -> str | None:
    """A time in milliseconds, as Batch gives it, in UTC; None if it is missing or 0: the job has not started."""
    if not milliseconds:
        return None
    when = moment(milliseconds)
    return f"{when:%Y-%m-%d %H:%M:%S} UTC" if when else f"{milliseconds} ms after 1970"
