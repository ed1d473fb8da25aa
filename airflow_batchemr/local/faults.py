"""Fault injection: simulated failures of AWS."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch.state import INSTANCE, Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.local.batch.service import BatchService
    from airflow_batchemr.local.emr.clusters import Clusters
    from airflow_batchemr.local.job_runs.drivers import Drivers
    from airflow_batchemr.local.visibility import Visibility

__all__ = ["START_FAILURES", "Faults", "Planned"]

#: Methods that other processes can call over HTTP.
BY_NAME = (
    "plan", "throttle", "error", "drop", "refuse", "limit_rate", "clear", "reclaim", "expire", "out_of_memory",
    "unpullable", "no_capacity", "forget", "fail_start", "delay_logs", "hide", "hide_new", "ignore_conditions",
)  # fmt: skip

#: Start failures of clusters by name: code and message of StateChangeReason.
START_FAILURES = {
    "subnet_full": (
        "VALIDATION_ERROR",
        (
            "The subnet configuration was invalid: the specified subnet does not have enough free addresses to "
            "satisfy the request."
        ),
    ),
    "no_capacity": (
        "INSTANCE_FAILURE",
        "EC2 has insufficient capacity: We do not have sufficient m5.xlarge capacity in the zone you requested.",
    ),
    "spot_not_fulfilled": (
        "INSTANCE_FLEET_TIMEOUT",
        "The cluster timed out: the Spot capacity of the fleet was not fulfilled within TimeoutDurationMinutes.",
    ),
    "quota": (
        "VALIDATION_ERROR",
        "EC2 Quota exceeded: You have requested more vCPU capacity than your limit (VcpuLimitExceeded).",
    ),
    "invalid_role": ("VALIDATION_ERROR", "Invalid InstanceProfile: EMR_EC2_DefaultRole."),
    "internal": ("INTERNAL_ERROR", "Failed to start the job flow due to an internal error"),
    "bootstrap": (
        "BOOTSTRAP_FAILURE",
        "On the master instance (i-0123456789abcdef0), bootstrap action 1 returned a non-zero return code",
    ),
}
#: Delay of a slow response in seconds: enough time to kill the waiting process, even on a busy machine.
SLOW = 15.0


@dataclass
class Planned:
    """A fault of the next calls of an operation.

    Attributes:
        operation: Name of the operation.
        kind: `throttle` (not executed), `error` (500, not executed), `drop` (executed, then the connection is closed
            without a response), `drop_before` (closed without executing anything), `error_after` (executed, then
            500), `slow` (executed, with a response after `SLOW` seconds), `refuse`
            (AccessDeniedException, not executed).
        times: Number of calls that it still affects.
        after: Number of calls that succeed before that.
    """

    operation: str
    kind: str
    times: int = 1
    after: int = 0


class Faults:
    """Planned faults. `clear` removes all of them."""

    KINDS = ("throttle", "error", "drop", "drop_before", "error_after", "slow", "refuse")

    def __init__(self, batch: BatchService, clusters: Clusters, drivers: Drivers, visibility: Visibility) -> None:
        self._batch = batch
        self._clusters = clusters
        self._drivers = drivers
        self._visibility = visibility
        self._lock = threading.Lock()
        self._planned: list[Planned] = []
        self._rates: dict[str, int] = {}
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self.ignored_headers: list[str] = []
        """Headers that the S3 server ignores in writes."""

    def plan(self, operation: str, kind: str, times: int = 1, after: int = 0) -> None:
        """Make the next `times` calls of an operation fail, after `after` calls have succeeded.

        Raises:
            ValueError: There is no such kind.
        """
        if kind not in self.KINDS:
            raise ValueError(f"kind is one of {', '.join(self.KINDS)}, not {kind!r}")
        with self._lock:
            self._planned.append(Planned(operation, kind, times, after))

    def throttle(self, operation: str, times: int = 1) -> None:
        """Throttle the next calls, without executing them."""
        self.plan(operation, "throttle", times)

    def error(self, operation: str, times: int = 1) -> None:
        """Respond to the next calls with 500, without executing them."""
        self.plan(operation, "error", times)

    def drop(self, operation: str, times: int = 1) -> None:
        """Execute the next calls, and close the connection without a response."""
        self.plan(operation, "drop", times)

    def refuse(self, operation: str, times: int = 1) -> None:
        """Respond to the next calls with AccessDeniedException."""
        self.plan(operation, "refuse", times)

    def limit_rate(self, operation: str, per_second: int) -> None:
        """Throttle calls above this number per second from now on, like SubmitJob above 50."""
        with self._lock:
            self._rates[operation] = per_second

    def _too_fast(self, operation: str) -> bool:
        limit = self._rates.get(operation)
        if limit is None:
            return False
        recent = self._recent[operation]
        now = time.monotonic()
        while recent and recent[0] <= now - 1:
            recent.popleft()
        if len(recent) >= limit:
            return True
        recent.append(now)
        return False

    def take(self, operation: str) -> str | None:
        """Return the kind of fault that applies to this call of an operation; None if there is none."""
        with self._lock:
            if self._too_fast(operation):
                return "throttle"
            for planned in self._planned:
                if planned.operation not in (operation, "*"):
                    continue
                if planned.after:
                    planned.after -= 1
                    return None
                planned.times -= 1
                if not planned.times:
                    self._planned.remove(planned)
                return planned.kind
        return None

    def planned(self) -> list[dict[str, Any]]:
        """Return the planned faults."""
        with self._lock:
            return [asdict(planned) for planned in self._planned]

    def clear(self) -> None:
        """Remove all planned faults of calls."""
        with self._lock:
            self._planned.clear()
            self._rates.clear()
            self._recent.clear()
            self.ignored_headers.clear()
        self._visibility.clear()

    # S3

    def ignore_conditions(self, headers: Sequence[str] = ("If-None-Match", "If-Match")) -> None:
        """Ignore these headers of writes from now on, as some S3-compatible stores do."""
        self.ignored_headers.extend(headers)

    # All services that run work

    def hide(self, resource_id: str, seconds: float = math.inf) -> None:
        """Omit a resource from describe and list operations, as if AWS did not show it yet.

        A describe operation responds as for an id that does not exist. All other operations work.

        Args:
            resource_id: Id of a Batch job, cluster, step, application, virtual cluster or job run.
            seconds: Duration from now. Defaults to forever.
        """
        self._visibility.hide(resource_id, seconds)

    def hide_new(self, seconds: float = math.inf) -> None:
        """Hide each resource that is created from now on for its first `seconds`."""
        self._visibility.hide_new(seconds)

    # Batch

    def reclaim(self, job_id: str) -> None:
        """End a running attempt because its spot capacity is lost.

        On EC2, the host is gone: `Host EC2 (instance i-…) terminated.`, without an exit code. On Fargate Spot, the
        program gets SIGTERM and, after 30 s, SIGKILL: `Your Spot Task was interrupted.`, with the exit code.
        """
        job = self._batch.jobs.find(job_id)
        if job is not None and "FARGATE" in job.definition.get("platformCapabilities", []):
            self._batch.jobs.end(job, job.command_name, Ending("Your Spot Task was interrupted.", final=False))
        else:
            self._end(job_id, Ending(f"Host EC2 (instance {INSTANCE}) terminated.", final=False, exit_code=False))

    def expire(self, job_id: str) -> None:
        """Time out a running attempt, as if attemptDurationSeconds had passed."""
        self._end(job_id, Ending("Job attempt duration exceeded timeout"))

    def out_of_memory(self, job_id: str) -> None:
        """Kill a running job as if it had exceeded its memory limit."""
        job = self._batch.jobs.find(job_id)
        if job is not None:
            self._batch.jobs.kill_for_memory(job)

    def _end(self, job_id: str, ending: Ending) -> None:
        job = self._batch.jobs.find(job_id)
        if job is not None:
            self._batch.jobs.end(job, job.command_name, ending, at_once=True)

    def unpullable(self, image: str) -> None:
        """Make pulls of the image fail from now on: `CannotPullContainerError: …`."""
        self._batch.jobs.commands.unpullable.add(image)

    def no_capacity(self, queue: str, *, capacity: bool = False) -> None:
        """Keep jobs of the queue RUNNABLE because there are no instances. `capacity=True` restores them."""
        with self._batch.jobs.lock:
            for environment in self._batch.resources.queue(queue).environments:
                environment.capacity = capacity
            self._batch.jobs.wake()

    def forget(self, job_id: str) -> None:
        """Delete a finished job, as AWS does a day or more after its end."""
        self._batch.jobs.forget(job_id)

    # EMR

    def fail_start(self, reason: str, message: str | None = None) -> None:
        """Make the next cluster fail before it runs.

        Args:
            reason: Name in `START_FAILURES`, or a StateChangeReason code together with a message.
            message: Message of the code.
        """
        code, text = (reason, message) if message is not None else START_FAILURES[reason]
        self._clusters.start_failures.coming.append((code, text))

    def delay_logs(self, seconds: float) -> None:
        """Write logs of steps and job runs to S3 this many seconds after their end."""
        self._clusters.delays.logs = seconds
        self._drivers.log_delay = seconds

    def by_name(self, name: str, params: dict[str, Any]) -> None:
        """Inject a fault by the name of its method, for requests over HTTP.

        Raises:
            ValueError: There is no such fault, or it does not accept these parameters.
        """
        methods: dict[str, Callable[..., None]] = {each: getattr(self, each) for each in BY_NAME}
        if name not in methods:
            raise ValueError(f"there is no fault {name!r}; there are {', '.join(methods)}")
        try:
            methods[name](**params)
        except (TypeError, KeyError) as error:
            raise ValueError(f"fault {name}: {error}") from error
