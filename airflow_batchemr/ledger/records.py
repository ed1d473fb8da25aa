"""Records of the ledger: what is written before, after and at the end of each submission of a job."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from uuid import uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, model_validator

from airflow_batchemr.core.indices import MAX_INDICES, IndexSet, Indices
from airflow_batchemr.ledger.content import DETAILS, EMR_ENTRY, REQUEST, Shape, wrong_parts

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEMA_VERSION = 1

Kind = Literal["batch", "emr", "steps", "emr_serverless", "emr_eks"]
Outcome = Literal["succeeded", "failed", "stopped", "lost", "abandoned"]


MAX_SUBMISSION = 999_999
"""Maximum number of a submission of a job."""
MAX_CALLS = 10_000
"""Maximum number of requests, jobs and steps of a submission, each of which AWS is asked about. 1,000,000 indices are
100 arrays, and a record of 16 MiB has 2,000 requests with the 8 KiB of overrides that AWS Batch accepts."""


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _plausible(when: datetime) -> datetime:
    """Reject times with which Python cannot calculate, because they are near the ends of its calendar."""
    if not 1970 <= when.year <= 9000:
        raise ValueError(f"the year {when.year} is not between 1970 and 9000")
    return when


def _of(shape: Shape) -> AfterValidator:
    """Return a validator that checks what this package reads of AWS's structures; the rest may be anything."""

    def check(value: Any) -> Any:
        for wrong in wrong_parts(value, shape):
            raise ValueError(wrong)
        return value

    return AfterValidator(check)


def _check_details(details: Any) -> Any:
    """Check the texts of `details` that are parsed later."""
    for indices in (*details.get("causes", {}).values(), details.get("explicit")):
        if isinstance(indices, str):
            IndexSet.parse(indices)
    for name in ("steps", "digests"):
        IndexSet.parse(",".join(details.get(name, {})))
    return details


def _check_xcom(xcom: Any) -> Any:
    """Reject names such as `__type`: Airflow creates objects from mappings with them when a task reads the XCom."""
    left = [xcom]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if any(str(name).startswith("__") for name in value):
                raise ValueError("a name begins with __, from which Airflow would create an object")
            left += value.values()
        elif isinstance(value, list):
            left += value
    return xcom


Time = Annotated[AwareDatetime, AfterValidator(_plausible)]
"""Type of a time, which has a time zone."""
_Number = Annotated[int, Field(ge=0, lt=MAX_INDICES)]
_Details = Annotated[dict[str, JsonValue], _of(DETAILS), AfterValidator(_check_details)]


class Record(BaseModel):
    """Base of all ledger records. Unknown fields, written by newer versions, are ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA_VERSION
    writer: str = Field(default_factory=lambda: uuid4().hex)
    """Identifies the writer, so that after a lost response, a process can recognize its own object."""
    written_at: Time = Field(default_factory=_now)
    """Time of the writer's clock, for display only. Leases use S3's clock."""


class Request(BaseModel):
    """One AWS call of a submission: SubmitJob (array of up to 10,000), RunJobFlow, AddJobFlowSteps or StartJobRun."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    name: str
    """Deterministic name, used to find the work on AWS after a crash."""
    indices: Indices
    """Indices of the job that this call runs. Child i of an array runs the i-th of them, in order."""
    request: Annotated[dict[str, JsonValue], _of(REQUEST)]
    """Arguments of the call, as for botocore."""

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        steps = self.request.get("Steps")
        named = [one for one in steps if isinstance(one, dict) and one.get("Name")] if isinstance(steps, list) else []
        if steps and len(named) != len(self.indices):
            raise ValueError(f"{len(named)} steps with a name for {len(self.indices)} indices")
        return self


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
    requests: list[Request] = Field(max_length=MAX_CALLS)
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
    details: _Details = Field(default_factory=dict)

    @property
    def first(self) -> dict[str, JsonValue]:
        """Arguments of the first request; empty if there is none."""
        return self.requests[0].request if self.requests else {}


class HandleJob(BaseModel):
    """One Batch job of a submission: a single job or the parent of an array."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    job_id: str
    name: str
    indices: Indices


class Handle(Record):
    """AWS ids of a submission, written after the call. Indices without an id were never started."""

    kind: Kind
    jobs: list[HandleJob] = Field(default_factory=list, max_length=MAX_CALLS)
    cluster_id: str | None = None
    step_ids: dict[_Number, str] = Field(default_factory=dict, max_length=MAX_CALLS)
    """EMR step ids by number of the step in the job."""
    abandoned: bool = False
    """Whether the submission never reached AWS; its indices can then be claimed again."""
    details: _Details = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        on_cluster = self.kind in {"emr", "steps"}
        if not self.abandoned and not (self.cluster_id if on_cluster else self.jobs):
            raise ValueError(f"a handle of kind {self.kind} needs {'a cluster_id' if on_cluster else 'jobs'}")
        return self


class Failure(BaseModel):
    """Why one index (or step) did not succeed."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    index: _Number | None = None
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
    details: _Details = Field(default_factory=dict)
    """AWS's description of the job or cluster. Descriptions of individual indices are stored in a document."""
    steps: list[Annotated[dict[str, JsonValue], _of(EMR_ENTRY)]] = Field(default_factory=list)
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

    submission: int = Field(ge=0, le=MAX_SUBMISSION)
    """Number of the last submission that the marker covers; 0 if nothing had to run."""
    xcom: Annotated[Any, AfterValidator(_check_xcom)] = None
    """Return value of the task as JSON; a skipped task returns it again."""
    size: int = Field(ge=0, le=MAX_INDICES)
    """Number of indices of the job."""
    rerun_token: str | None
    """`LedgerState.rerun_token` at the time of writing."""
    finished_at: Time = Field(default_factory=_now)

    @property
    def indices(self) -> IndexSet:
        """All indices of the job."""
        return IndexSet.range(self.size)
