"""The ledger's objects: what is written before, after and at the end of each attempt of a job."""

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
    """What every object of the ledger carries. Fields that a later writer has added are ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA_VERSION
    writer: str = Field(default_factory=lambda: uuid4().hex)
    """Names who wrote this record: after a lost answer, one's own object is told from another's by it."""
    written_at: datetime = Field(default_factory=_now)
    """By the writer's clock: for people. Leases go by S3's clock."""


class Request(BaseModel):
    """One AWS call of an attempt: a SubmitJob (an array of up to 10,000), a RunJobFlow, or steps to add."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    name: str
    """The deterministic name by which AWS is asked for it after a crash."""
    indices: Indices
    """The job's indices that this call runs; child i of an array runs the i-th of them, in order."""
    request: dict[str, JsonValue]
    """The call's arguments as botocore takes them."""


class Owner(BaseModel):
    """The try of Airflow that claimed a submission."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    run_id: str | None = None
    task_id: str | None = None
    try_number: int = 1


class Intent(Record):
    """Written before anything is asked of AWS: the full requests of an attempt. Whoever writes it owns the attempt."""

    kind: Kind
    name: str
    """The deterministic name of the attempt; of its requests, where there are several, the common beginning."""
    requests: list[Request]
    indices: Indices
    """What the attempt means to do: indices of an array (0 for a single job), or numbers of EMR steps."""
    rerun_token: str | None
    """The token of the rerun that this attempt belongs to: a token other than the one before starts from nothing."""
    try_number: int = 1
    dag_id: str
    run_key: str
    job: str
    run_id: str | None = None
    task_id: str | None = None
    map_index: int = -1
    details: dict[str, JsonValue] = Field(default_factory=dict)


class HandleJob(BaseModel):
    """One Batch job of an attempt: a single job, or the parent of an array."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    job_id: str
    name: str
    indices: Indices


class Handle(Record):
    """Written after the call: under which ids AWS knows the attempt. Indices that no id covers were never started."""

    kind: Kind
    jobs: list[HandleJob] = Field(default_factory=list)
    cluster_id: str | None = None
    step_ids: dict[int, str] = Field(default_factory=dict)
    """EMR step id by the number of the step in the job."""
    abandoned: bool = False
    """The attempt never reached AWS: its indices are free again."""
    details: dict[str, JsonValue] = Field(default_factory=dict)


class Failure(BaseModel):
    """Why one index (or step) did not succeed."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    index: int | None = None
    """None: the whole job, such as an array that never started."""
    reason: str
    """AWS's own words."""
    exit_code: int | None = None
    job_id: str | None = None
    """The Batch job of this index, or the EMR step."""
    log_stream: str | None = None
    cause: str | None = None
    """What failures are grouped by where the reason says too little: `oom`, `spot`, `timeout`, an exception's name."""


class Result(Record):
    """Written when the attempt has ended: what succeeded, what failed and why, and what AWS said."""

    kind: Kind
    outcome: Outcome
    indices: Indices
    """What the attempt was to do."""
    succeeded: Indices
    """What of it is done for good."""
    rerun_token: str | None
    """As in the intent, so that a marker check reads results only."""
    owner: Owner | None = None
    """Of the intent: what is closed is known by its result alone."""
    failures: list[Failure] = Field(default_factory=list)
    details: dict[str, JsonValue] = Field(default_factory=dict)
    """All that AWS said of the job or cluster. What is said of each index goes into a document."""
    steps: list[dict[str, JsonValue]] = Field(default_factory=list)
    """EMR's description of each step."""

    @property
    def causes(self) -> dict[str, IndexSet]:
        """The indices that failed, by cause: all of them, also where `failures` has no more than the first ones."""
        told = self.details.get("causes")
        if isinstance(told, dict):
            return {name: IndexSet.parse(str(text)) for name, text in told.items()}
        found: dict[str, list[int]] = {}
        for failure in self.failures:
            if failure.index is not None:
                found.setdefault(failure.cause or "other", []).append(failure.index)
        return {name: IndexSet.of(members) for name, members in found.items()}


class StopRequest(Record):
    """Somebody wants the attempt to end; whoever waits for it looks at this."""

    reason: str
    by: str = "person"
    """`person` (cleared, marked, killed, terminated by hand) or the name of the part of this package that asked."""


class Marker(Record):
    """The job has succeeded for this run key: nothing is left to do."""

    submission: int
    """The last attempt that the marker covers; 0 where nothing had to be run."""
    xcom: Any = None
    """What the task returned, as JSON: a skipped task returns it again."""
    size: int
    """How many indices the job has."""
    rerun_token: str | None
    """`LedgerState.fresh` of who marks."""
    finished_at: datetime = Field(default_factory=_now)

    @property
    def indices(self) -> IndexSet:
        """All indices of the job."""
        return IndexSet.range(self.size)
