"""What the local Batch knows: queues, compute environments, jobs."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.clock import Timer, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ACCOUNT", "ENDED", "STARTED", "ComputeEnvironment", "Job", "Queue", "arn"]

ACCOUNT = "123456789012"
ENDED = frozenset({"SUCCEEDED", "FAILED"})
STARTED = frozenset({"STARTING", "RUNNING"})


def arn(region: str, kind: str, name: str) -> str:
    """The ARN of a Batch resource."""
    return f"arn:aws:batch:{region}:{ACCOUNT}:{kind}/{name}"


@dataclass(eq=False)
class ComputeEnvironment:
    """A compute environment: `detail` is ComputeEnvironmentDetail in the API's words."""

    name: str
    detail: dict[str, Any]
    capacity: bool = True  #: False: no instance is to be had (a fault).

    def refusal(self, vcpus: float) -> str | None:
        """Why a job of so many vCPUs does not start here, in Batch's words; None where it does."""
        maximum = self.detail.get("computeResources", {}).get("maxvCpus")
        if self.detail["state"] != "ENABLED" or self.detail["status"] != "VALID":
            return (
                "ACTION_REQUIRED - CE(s) associated with the job queue are disabled or invalid: "
                f"{self.name} is {self.detail['state']}, {self.detail['status']}"
            )
        if maximum is not None and vcpus > maximum:
            return (
                "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet "
                f"the CPU requirement of the job through maxvCpus {maximum}"
            )
        if not self.capacity:
            return "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - The service cannot fulfill the capacity requested"
        return None


@dataclass(eq=False)
class Queue:
    """A job queue: `detail` is JobQueueDetail; `waiting` are its RUNNABLE jobs, first come first."""

    name: str
    detail: dict[str, Any]
    environments: list[ComputeEnvironment]
    waiting: deque[Job] = field(default_factory=deque)

    def refusal(self, vcpus: float) -> str | None:
        """Why a job does not start: no compute environment takes it. None where one does."""
        reasons = [environment.refusal(vcpus) for environment in self.environments]
        return None if None in reasons else reasons[0]


@dataclass(eq=False, slots=True)
class Job:
    """A job, an array's parent, or a child of one.

    Attributes:
        number: counts all jobs; pages go by it.
        request: SubmitJob's parameters, the same object for a parent and all its children.
        definition: the job definition at the time of the call.
        children: of a parent, by index; None for every other job.
        counts: of a parent: children by status.
        blockers: dependencies that have not ended yet.
        dependants: jobs that wait for this one.
        attempts: AttemptDetail of each attempt that has ended.
        ending: what ends the attempt that runs now: the statusReason, once something does.
        timers: what ends the attempt at its time.
    """

    number: int
    id: str
    region: str
    queue: Queue
    definition: dict[str, Any]
    request: dict[str, Any]
    tags: dict[str, str]
    created_at: int = field(default_factory=milliseconds)
    status: str = "SUBMITTED"
    reason: str | None = None
    parent: Job | None = None
    index: int | None = None
    children: list[Job] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    blockers: int = 0
    dependants: list[Job] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    started_at: int | None = None
    stopped_at: int | None = None
    cancelled: bool = False
    terminated: bool = False
    ending: Ending | None = None
    stream: str | None = None
    timers: list[Timer] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name that was given."""
        return str(self.request["jobName"])

    @property
    def ended(self) -> bool:
        """SUCCEEDED or FAILED."""
        return self.status in ENDED

    @property
    def command_name(self) -> str:
        """The name of the attempt that runs now, for the launcher and for folders."""
        return f"{self.id.replace(':', '-')}-{len(self.attempts) + 1}"

    @property
    def attempts_allowed(self) -> int:
        """From the request, else from the definition, else 1."""
        return int(self.retry_strategy.get("attempts", 1))

    @property
    def retry_strategy(self) -> dict[str, Any]:
        """From the request, else from the definition."""
        return self.request.get("retryStrategy") or self.definition.get("retryStrategy") or {}

    @property
    def timeout(self) -> int | None:
        """Seconds that an attempt may run; None: for ever."""
        chosen = self.request.get("timeout") or self.definition.get("timeout") or {}
        seconds = chosen.get("attemptDurationSeconds")
        return int(seconds) if seconds else None

    def family(self) -> Iterator[Job]:
        """The jobs that run: the children of an array, else the job itself."""
        yield from (self.children if self.children is not None else [self])


@dataclass(frozen=True)
class Ending:
    """Why an attempt that runs is ended from outside.

    Attributes:
        reason: the statusReason that it gets.
        final: it is not tried again whatever the retry strategy says.
        exit_code: whether the container still tells its exit code (a lost host's does not).
    """

    reason: str
    final: bool = True
    exit_code: bool = True


def new_id() -> str:
    """A job id as AWS makes them."""
    return str(uuid.uuid4())
