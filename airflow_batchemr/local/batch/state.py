"""State of the local Batch: queues, compute environments and jobs."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.clock import Timer, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ACCOUNT",
    "ENDED",
    "INSTANCE",
    "STARTED",
    "Attempt",
    "ComputeEnvironment",
    "Ending",
    "Job",
    "Queue",
    "Run",
    "arn",
    "new_id",
    "shown",
]

ACCOUNT = "123456789012"
#: Id of the instance that all containers run on.
INSTANCE = "i-0a1b2c3d4e5f60718"
ENDED = frozenset({"SUCCEEDED", "FAILED"})
STARTED = frozenset({"STARTING", "RUNNING"})


def arn(region: str, kind: str, name: str) -> str:
    """Return the ARN of a Batch resource."""
    return f"arn:aws:batch:{region}:{ACCOUNT}:{kind}/{name}"


def shown(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource for a response: without tags if there are none, because the model requires at least one."""
    return {key: value for key, value in detail.items() if key != "tags" or value}


@dataclass(eq=False)
class ComputeEnvironment:
    """A compute environment. `detail` is the ComputeEnvironmentDetail of the API."""

    name: str
    detail: dict[str, Any]
    capacity: bool = True  #: False if no instances are available (a fault)

    def refusal(self, vcpus: float) -> str | None:
        """Return the reason why a job with these vCPUs cannot start here, as worded by Batch; None if it can."""
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
    """A job queue. `detail` is its JobQueueDetail, `waiting` its RUNNABLE jobs in FIFO order."""

    name: str
    detail: dict[str, Any]
    environments: list[ComputeEnvironment]
    waiting: deque[Job] = field(default_factory=deque)

    def refusal(self, vcpus: float) -> str | None:
        """Return the reason why no compute environment accepts a job; None if one does."""
        reasons = [environment.refusal(vcpus) for environment in self.environments]
        return None if None in reasons else reasons[0]


@dataclass(eq=False, slots=True)
class Job:
    """A single job, an array parent, or a child of an array.

    Attributes:
        number: Sequence number of the job, used for paging.
        request: Parameters of SubmitJob, shared by a parent and all its children.
        definition: Job definition at the time of the call.
        children: Children of an array parent by index; None for other jobs.
        counts: Number of children by status, for an array parent.
        blockers: Number of dependencies that have not ended.
        dependants: Jobs that wait for this one.
        cancel_reason: Reason of a cancellation that waits for the dependencies to end.
        attempts: Each ended attempt.
        ending: Why the running attempt is being stopped, if it is.
        timers: Timers that time out the attempt.
        nodes: Nodes of a multi-node job, which are jobs `<id>#<index>`; None for other jobs.
        whole: The multi-node job of a node.
        runs: The containers of the current attempt.
        decisive: The one whose exit code and reason are those of the attempt, as far as known.
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
    cancel_reason: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    started_at: int | None = None
    stopped_at: int | None = None
    cancelled: bool = False
    terminated: bool = False
    ending: Ending | None = None
    timers: list[Timer] = field(default_factory=list)
    nodes: list[Job] | None = None
    whole: Job | None = None
    runs: list[Run] = field(default_factory=list)
    decisive: Run | None = None

    @property
    def name(self) -> str:
        """Job name of the request."""
        return str(self.request["jobName"])

    @property
    def ended(self) -> bool:
        """Whether the job is SUCCEEDED or FAILED."""
        return self.status in ENDED

    @property
    def command_name(self) -> str:
        """Name of the running attempt, used by the launcher and for folders."""
        return f"{self.id.replace(':', '-').replace('#', '-')}-{len(self.attempts) + 1}"

    @property
    def node_index(self) -> int:
        """Index of a node of a multi-node job."""
        return int(self.id.rpartition("#")[2])

    @property
    def main_node(self) -> Job | None:
        """Node that decides how a multi-node job ends; None for other jobs."""
        return None if self.nodes is None else self.nodes[self.definition["nodeProperties"]["mainNode"]]

    @property
    def attempts_allowed(self) -> int:
        """Maximum attempts, from the request, else from the definition, else 1."""
        return int(self.retry_strategy.get("attempts", 1))

    @property
    def retry_strategy(self) -> dict[str, Any]:
        """Retry strategy of the request, else of the definition."""
        return self.request.get("retryStrategy") or self.definition.get("retryStrategy") or {}

    @property
    def timeout(self) -> int | None:
        """Maximum duration of an attempt in seconds; None means no limit."""
        chosen = self.request.get("timeout") or self.definition.get("timeout") or {}
        seconds = chosen.get("attemptDurationSeconds")
        return int(seconds) if seconds else None

    def clear_attempt(self) -> None:
        """Cancel what would end the current attempt, and forget why it is being stopped."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.ending = None

    def family(self) -> Iterator[Job]:
        """Yield the jobs that run: the children of an array, else the job itself."""
        yield from (self.children if self.children is not None else [self])


@dataclass(eq=False)
class Run:
    """A container of an attempt.

    Attributes:
        name: Name of the container, None for a plain one.
        essential: Whether its end ends the attempt.
        command: Name of its command, used by the launcher and for folders; None if it does not run here.
        stream: Log stream of its output.
        shown: Whether DescribeJobs has the log stream.
        exit_code: Exit code, if it has ended and the code is known.
        reason: Why it ended or did not start, if there is more to say than the exit code.
        alive: Whether its command is running or starting.
        started: Whether its command has started.
    """

    name: str | None
    essential: bool = True
    command: str | None = None
    stream: str = ""
    shown: bool = True
    exit_code: int | None = None
    reason: str | None = None
    alive: bool = False
    started: bool = False


@dataclass(frozen=True)
class Attempt:
    """An attempt that has ended.

    Attributes:
        task: Name of its ECS task or pod.
        started_at: Milliseconds since the epoch.
        stopped_at: Milliseconds since the epoch.
        reason: Its statusReason.
        runs: Its containers.
        decisive: The one whose exit code and reason are those of the attempt.
    """

    task: str
    started_at: int
    stopped_at: int
    reason: str
    runs: list[Run]
    decisive: Run


@dataclass(frozen=True)
class Ending:
    """Why a running attempt is stopped from outside.

    Attributes:
        reason: The resulting statusReason.
        final: Whether the job is not retried, regardless of the retry strategy.
        exit_code: Whether the exit code of the container is known (it is not if the host is lost).
    """

    reason: str
    final: bool = True
    exit_code: bool = True


def new_id() -> str:
    """Return a new job id in the format of AWS."""
    return str(uuid.uuid4())
