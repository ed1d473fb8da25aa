"""Records of the ledger: what is written before, after and at the end of each submission of a job."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, ClassVar, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from airflow_batchemr.core.indices import IndexSet, Indices

SCHEMA_VERSION = 1

Kind = Literal["batch", "emr", "steps", "emr_serverless", "emr_eks"]
Outcome = Literal["succeeded", "failed", "stopped", "lost", "abandoned"]


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Record(BaseModel):
    """Base of all ledger records. Unknown fields, written by newer versions, are ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA_VERSION
    writer: str = Field(default_factory=lambda: uuid4().hex)
    """Identifies the writer, so that after a lost response, a process can recognize its own object."""
    written_at: datetime = Field(default_factory=_now)
    """Time of the writer's clock, for display only. Leases use S3's clock."""


class Request(BaseModel):
    """One AWS call of a submission: SubmitJob (array of up to 10,000), RunJobFlow, AddJobFlowSteps or StartJobRun."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    name: str
    """Deterministic name, used to find the work on AWS after a crash."""
    indices: Indices
    """Indices of the job that this call runs. Child i of an array runs the i-th of them, in order."""
    request: dict[str, JsonValue]
    """Arguments of the call, as for botocore."""


class Owner(BaseModel):
    """The try of Airflow that claimed a submission."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    run_id: str | None = None
    task_id: str | None = None
    try_number: int = 1


class Intent(Record):
    """The full requests of a submission, written before AWS is called. The writer owns the submission."""

    kind: Kind
    name: str
    """Deterministic name of the submission; the common prefix if it has several requests."""
    requests: list[Request]
    indices: Indices
    """Work of the submission: indices of an array (0 for a single job), or numbers of EMR steps."""
    rerun_token: str | None
    """Token of the rerun that the submission belongs to. A new token starts the job from scratch."""
    try_number: int = 1
    dag_id: str
    run_key: str
    job: str
    run_id: str | None = None
    task_id: str | None = None
    map_index: int = -1
    details: dict[str, JsonValue] = Field(default_factory=dict)


class HandleJob(BaseModel):
    """One Batch job of a submission: a single job or the parent of an array."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    job_id: str
    name: str
    indices: Indices


class Handle(Record):
    """AWS ids of a submission, written after the call. Indices without an id were never started."""

    kind: Kind
    jobs: list[HandleJob] = Field(default_factory=list)
    cluster_id: str | None = None
    step_ids: dict[int, str] = Field(default_factory=dict)
    """EMR step ids by number of the step in the job."""
    abandoned: bool = False
    """Whether the submission never reached AWS; its indices can then be claimed again."""
    details: dict[str, JsonValue] = Field(default_factory=dict)


class Failure(BaseModel):
    """Why one index (or step) did not succeed."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    index: int | None = None
    """None for a failure of the whole job, such as an array that never started."""
    reason: str
    """Reason given by AWS."""
    exit_code: int | None = None
    job_id: str | None = None
    """Id of the Batch job of this index, or of the EMR step."""
    log_stream: str | None = None
    cause: str | None = None
    """Group of the failure if the reason is not specific: `oom`, `spot`, `timeout`, or the name of an exception."""


class Result(Record):
    """Outcome of a submission, written when it has ended: successes, failures with reasons, and AWS's description."""

    kind: Kind
    outcome: Outcome
    indices: Indices
    """Work of the submission."""
    succeeded: Indices
    """Part of the work that has succeeded and does not run again."""
    rerun_token: str | None
    """Copy from the intent, so that a marker check reads only results."""
    owner: Owner | None = None
    """Copy from the intent, because only the result of a closed submission is read."""
    failures: list[Failure] = Field(default_factory=list)
    details: dict[str, JsonValue] = Field(default_factory=dict)
    """AWS's description of the job or cluster. Descriptions of individual indices are stored in a document."""
    steps: list[dict[str, JsonValue]] = Field(default_factory=list)
    """EMR's description of each step."""

    @property
    def causes(self) -> dict[str, IndexSet]:
        """All failed indices by cause, including those not listed in `failures`, which may be truncated."""
        causes = self.details.get("causes")
        if isinstance(causes, dict):
            return {name: IndexSet.parse(str(text)) for name, text in causes.items()}
        found: dict[str, list[int]] = {}
        for failure in self.failures:
            if failure.index is not None:
                found.setdefault(failure.cause or "other", []).append(failure.index)
        return {name: IndexSet.of(members) for name, members in found.items()}


class StopRequest(Record):
    """A request to stop a submission. Processes that wait for the submission check for it."""

    reason: str
    by: str = "person"
    """`person` (task cleared, marked or killed, or work terminated by hand), or the component that made the request."""


class Marker(Record):
    """Records that the job has succeeded for this run key, so nothing is left to do."""

    submission: int
    """Number of the last submission that the marker covers; 0 if nothing had to run."""
    xcom: Any = None
    """Return value of the task as JSON; a skipped task returns it again."""
    size: int
    """Number of indices of the job."""
    rerun_token: str | None
    """`LedgerState.rerun_token` at the time of writing."""
    finished_at: datetime = Field(default_factory=_now)

    @property
    def indices(self) -> IndexSet:
        """All indices of the job."""
        return IndexSet.range(self.size)
