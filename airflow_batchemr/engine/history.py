"""What the ledger tells people of a job: what ran, with what, and how it ended, also after AWS has forgotten it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.container_overrides import recorded
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import unwrap
from airflow_batchemr.engine.failure_report import report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.ledger import LedgerState, Submission


@dataclass(frozen=True)
class SubmissionHistory:
    """One submission of a job."""

    number: int
    kind: str
    """`batch`, `emr`, `steps`, `emr_serverless` or `emr_eks`; empty where nothing tells."""
    state: str
    """`succeeded`, `failed`, `stopped`, `lost`, `abandoned`; `running` while nobody has recorded its end."""
    indices: IndexSet
    succeeded: IndexSet
    began: datetime | None
    """By S3's clock, when it was claimed."""
    ended: datetime | None
    """When its end was recorded."""
    by: str
    """The try, task and run of Airflow that claimed it."""
    stopped: str
    """Why it was asked to end, and by whom; empty: it was not."""
    facts: list[tuple[str, str]]
    """What ran where, such as ("Batch job", "0f31…") and ("command", "score.py"), in the order in which to show it."""
    failure: str
    """The report of what failed; empty where nothing did."""


@dataclass(frozen=True)
class JobHistory:
    """A job of one run."""

    job: str
    state: str
    """`succeeded` where the marker stands, else that of the last attempt; `nothing` where there is none."""
    done: int
    size: int
    """How many indices (or EMR steps) it has, as far as they were ever claimed."""
    submissions: list[SubmissionHistory]
    finished_at: datetime | None
    """When the marker was written; None: it does not stand."""

    @property
    def began(self) -> datetime | None:
        """When its first attempt was claimed."""
        return next((submission.began for submission in self.submissions if submission.began), None)

    @property
    def ended(self) -> datetime | None:
        """When it was marked, or when the end of its last attempt was recorded; None: it has not ended."""
        return self.finished_at or (self.submissions[-1].ended if self.submissions else None)

    @property
    def progress(self) -> str:
        """Such as ``97/100``."""
        return f"{self.done:,}/{self.size:,}" if self.size else "-"


def job_history_of(
    job: str, state: LedgerState, replay: Sequence[str] = (), reports: Mapping[int, str] | None = None
) -> JobHistory:
    """Tell what became of a job.

    Args:
        job: its name.
        state: `JobLedger.history()`; after `JobLedger.read()` the attempts that the marker covers are left out.
        replay: the command that runs an index again, without ``--index``, for the report of failures.
        reports: what is known of why an attempt failed beyond its record, by attempt.
    """
    claimed = IndexSet()
    for submission in state.current:
        claimed |= submission.intent.indices if submission.intent else submission.indices
    size = state.marker.size if state.marker else len(claimed)
    done = size if state.marker else len(state.done)
    submissions, so_far = [], IndexSet()
    for one in state.submissions:
        so_far |= one.succeeded
        submissions.append(_submission(one, _failure(one, size, len(so_far), replay, reports or {})))
    last = submissions[-1].state if submissions else "nothing"
    return JobHistory(
        job=job,
        state="succeeded" if state.marker else last,
        done=done,
        size=size,
        submissions=submissions,
        finished_at=state.marker.finished_at if state.marker else None,
    )


def _failure(submission: Submission, size: int, done: int, replay: Sequence[str], reports: Mapping[int, str]) -> str:
    result = submission.result
    if result is None or not result.failures:
        return ""
    if result.kind != "batch":
        return reports.get(submission.number) or "\n".join(one.reason for one in result.failures)
    failed = IndexSet()
    for indices in result.causes.values():
        failed |= indices
    return report(result.failures, size=size, done=done, failed=failed, replay=replay)


def _submission(submission: Submission, failure: str) -> SubmissionHistory:
    intent, result, stop = submission.intent, submission.result, submission.stop
    ended = "abandoned" if submission.handle is not None and submission.handle.abandoned else "running"
    return SubmissionHistory(
        number=submission.number,
        kind=(result or intent).kind if result or intent else "",  # type: ignore[union-attr]
        state=result.outcome if result else ended,
        indices=submission.indices,
        succeeded=submission.succeeded,
        began=submission.claimed_at,
        ended=result.written_at if result else None,
        by=f"try {intent.try_number} of task {intent.task_id} in run {intent.run_id}" if intent else "",
        stopped=f"{stop.reason} ({stop.by})" if stop else "",
        facts=_facts(submission),
        failure=failure,
    )


def _facts(submission: Submission) -> list[tuple[str, str]]:
    facts = [
        ("Batch job", f"{job.job_id} (indices {job.indices})")
        for job in (submission.handle.jobs if submission.handle else ())
    ]
    if submission.handle is not None and submission.handle.cluster_id:
        facts.append(("EMR cluster", submission.handle.cluster_id))
    requests = submission.intent.requests if submission.intent else []
    if requests and "jobQueue" in requests[0].request:
        facts += _batch_facts(requests[0].request, submission.result.details if submission.result else {})
    elif requests:
        facts += _emr_facts(requests[0].request, submission.result.steps if submission.result else [])
    return facts


def _batch_facts(request: Mapping[str, Any], details: Mapping[str, Any]) -> list[tuple[str, str]]:
    overrides = recorded(request)
    jobs = details.get("jobs") or [{}]
    image = (jobs[0].get("container") or {}).get("image")
    asked = {str(one["type"]): str(one["value"]) for one in overrides.get("resourceRequirements", [])}
    return [
        (name, value)
        for name, value in (
            ("queue", str(request["jobQueue"]).rpartition("/")[2]),
            ("definition", str(request["jobDefinition"]).rpartition("/")[2]),
            ("image", image),
            ("asked for", ", ".join(f"{kind} {value}" for kind, value in asked.items())),
            ("command", " ".join(unwrap(overrides.get("command", [])))),
        )
        if value
    ]


def _emr_facts(request: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    facts = [("release", str(request["ReleaseLabel"]))] if request.get("ReleaseLabel") else []
    for step in steps:
        status = step.get("Status") or {}
        facts.append(("step", f"{step.get('Name', step.get('Id', '?'))}: {status.get('State', '?')}"))
    return facts


def index_history_of(
    state: LedgerState, children: Mapping[int, Sequence[Mapping[str, Any]]], index: int
) -> list[list[tuple[str, str]]]:
    """Tell all that is known of one index: for each attempt that had it, facts in the order in which to show them.

    Args:
        state: `JobLedger.history()`.
        children: what AWS said of the children of each attempt's arrays: its documents `children/<number>.json`.
        index: of the array; 0 for a single job.
    """
    told = []
    for submission in state.submissions:
        if index not in submission.indices:
            continue
        facts = [("submission", str(submission.number)), ("outcome", _outcome(submission, index))]
        said = _said_of(submission, children.get(submission.number, ()), index)
        container = said.get("container") or {}
        failure = next(
            (one for one in (submission.result.failures if submission.result else ()) if one.index == index), None
        )
        code = container.get("exitCode", failure.exit_code if failure else None)
        facts += [
            (name, str(value))
            for name, value in (
                ("reason", failure.reason if failure else None),
                ("exit code", code),
                ("Batch job", said.get("jobId") or (failure.job_id if failure else None)),
                ("started", _moment(said.get("startedAt"))),
                ("stopped", _moment(said.get("stoppedAt"))),
                ("tries by Batch", len(said.get("attempts") or ()) or None),
                ("machine", container.get("containerInstanceArn")),
                ("log stream", container.get("logStreamName") or (failure.log_stream if failure else None)),
            )
            if value is not None
        ]
        told.append(facts)
    return told


def _outcome(submission: Submission, index: int) -> str:
    if index in submission.succeeded:
        return "succeeded"
    if submission.result is None:
        return "running"
    return (
        "failed"
        if any(index in indices for indices in submission.result.causes.values())
        else submission.result.outcome
    )


def _said_of(submission: Submission, children: Sequence[Mapping[str, Any]], index: int) -> Mapping[str, Any]:
    """What AWS said of the child that ran the index, or of the single job."""
    for job in submission.handle.jobs if submission.handle else ():
        if index not in job.indices:
            continue
        child = f"{job.job_id}:{list(job.indices).index(index)}"
        jobs: Any = submission.result.details.get("jobs", []) if submission.result else []
        single = [
            one for one in jobs if one.get("jobId") == job.job_id and "size" not in (one.get("arrayProperties") or {})
        ]
        return next((one for one in [*children, *single] if one.get("jobId") in {child, job.job_id}), {})
    return {}


def _moment(milliseconds: int | None) -> str | None:
    """A time as Batch gives it, in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
