"""Life cycle of job runs, with the states of either service."""

from __future__ import annotations

import itertools
import random
import string
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.state import now
from airflow_batchemr.local.job_runs.drivers import Driver, DriverEnd, Drivers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from airflow_batchemr.local.clock import Clock, Timer

__all__ = ["JobRun", "JobRuns", "States", "new_id"]


def new_id(prefix: str, length: int) -> str:
    """Return an id of lower-case letters and digits."""
    alphabet = string.ascii_lowercase + string.digits
    return prefix + "".join(random.choices(alphabet, k=length - len(prefix)))  # noqa: S311 (no secret)


@dataclass(frozen=True)
class States:
    """Names of a service for the states of a job run. RUNNING, FAILED and CANCELLED are common to both services.

    Attributes:
        starting: States before RUNNING, in order.
        succeeded: State after exit code 0.
        cancelling: State of a cancelled run until its driver has ended.
    """

    starting: Sequence[str]
    succeeded: str
    cancelling: str

    @property
    def ended(self) -> frozenset[str]:
        """Final states."""
        return frozenset({self.succeeded, "FAILED", "CANCELLED"})


@dataclass(eq=False)
class JobRun:
    """A job run.

    Attributes:
        number: Sequence number in the service, used for paging.
        place: Id of its application or virtual cluster.
        request: Parameters of StartJobRun.
        argv: Command of the driver.
        environment: Variables of the driver.
        log_folder: `s3://…/` folder of the driver's logs, if they are written.
        timeout: Seconds after which it is cancelled; None means never.
        details: `stateDetails`.
        code: Exit code of the driver, once it has exited.
        held: Whether it waits for its application.
    """

    number: int
    id: str
    arn: str
    place: str
    request: dict[str, Any]
    tags: dict[str, str]
    argv: list[str]
    environment: Mapping[str, str]
    log_folder: str | None
    timeout: float | None
    state: str
    details: str = ""
    code: int | None = None
    held: bool = False
    created: datetime = field(default_factory=now)
    updated: datetime = field(default_factory=now)
    started: datetime | None = None
    ended: datetime | None = None
    deadline: Timer | None = None


class JobRuns:
    """All job runs of one service.

    Args:
        clock: Delays state changes and timeouts.
        drivers: Runs the drivers.
        states: States of the service.
        failure: Returns the `stateDetails` of a failed run.
        hold: Returns the state in which a run has to wait for its application; None if it can continue.
        on_end: Called after the end of each run.

    Attributes:
        delay: Seconds in each state before RUNNING.
    """

    def __init__(
        self,
        clock: Clock,
        drivers: Drivers,
        states: States,
        failure: Callable[[DriverEnd], str],
        *,
        hold: Callable[[JobRun], str | None] = lambda _run: None,
        on_end: Callable[[JobRun], None] = lambda _run: None,
    ) -> None:
        self.lock = threading.RLock()
        self.delay = 0.05
        self.states = states
        self._runs: dict[str, JobRun] = {}
        self._numbers = itertools.count(1)
        self._clock = clock
        self._drivers = drivers
        self._failure = failure
        self._hold = hold
        self._on_end = on_end

    def add(self, **attributes: Any) -> JobRun:
        """Add a run in the first state. It advances automatically."""
        with self.lock:
            run = JobRun(number=next(self._numbers), state=self.states.starting[0], **attributes)
            self._runs[run.id] = run
            self._clock.after(self.delay, lambda: self._advance(run))
            return run

    def find(self, place: str, run_id: str) -> JobRun | None:
        """Return a run of an application or virtual cluster by its id."""
        run = self._runs.get(run_id)
        return run if run is not None and run.place == place else None

    def of(self, place: str) -> list[JobRun]:
        """Return the runs of an application or virtual cluster, newest first."""
        return [run for run in reversed(list(self._runs.values())) if run.place == place]

    def active(self, place: str) -> list[JobRun]:
        """Return the runs of an application or virtual cluster that have not ended."""
        return [run for run in self.of(place) if run.state not in self.states.ended]

    def release(self, place: str) -> None:
        """Let held runs continue if possible, oldest first."""
        with self.lock:
            for run in reversed(self.of(place)):
                if run.held:
                    self._advance(run)

    def cancel(self, run: JobRun, grace: float, details: str) -> bool:
        """Cancel a run.

        Args:
            run: Run to cancel.
            grace: Seconds between SIGTERM and SIGKILL.
            details: `stateDetails`.

        Returns:
            False if it has already ended.
        """
        with self.lock:
            if run.state in self.states.ended:
                return False
            if run.state != self.states.cancelling:
                self._change(run, self.states.cancelling, details)
                if not self._drivers.stop(run.id, grace):
                    self._clock.after(self.delay, lambda: self._end(run, "CANCELLED", details))
            return True

    def clear(self) -> None:
        """Delete all runs. Their drivers are killed by `Drivers.clear`."""
        with self.lock:
            for run in self._runs.values():
                if run.deadline is not None:
                    run.deadline.cancel()
            self._runs.clear()
            self.delay = 0.05

    def _advance(self, run: JobRun) -> None:
        with self.lock:
            starting = self.states.starting
            if run.id not in self._runs or (run.state not in starting and not run.held):
                return
            waits_in = self._hold(run) if run.held or run.state == starting[0] else None
            if waits_in is not None:
                if run.state != waits_in:
                    self._change(run, waits_in, "")
                run.held = True
                return
            following = starting.index(run.state) + 1 if run.state in starting else 1
            if following < len(starting):
                self._change(run, starting[following], "")
                self._clock.after(self.delay, lambda: self._advance(run))
                return
            self._drivers.start(
                Driver(
                    run.id,
                    run.argv,
                    run.environment,
                    run.log_folder,
                    lambda: self._started(run),
                    lambda outcome: self._driver_ended(run, outcome),
                )
            )

    def _started(self, run: JobRun) -> None:
        with self.lock:
            if run.id not in self._runs or run.state not in self.states.starting:
                return
            self._change(run, "RUNNING", "")
            run.started = run.updated
            if run.timeout is not None:
                run.deadline = self._clock.after_aws(run.timeout, lambda: self._time_out(run))

    def _time_out(self, run: JobRun) -> None:
        self.cancel(run, 0, "The job run was cancelled because it timed out")

    def _driver_ended(self, run: JobRun, outcome: DriverEnd) -> None:
        with self.lock:
            if run.state == self.states.cancelling:
                self._end(run, "CANCELLED", run.details)
                return
            run.code = outcome.code
            succeeded = outcome.code == 0
            self._end(
                run, self.states.succeeded if succeeded else "FAILED", "" if succeeded else self._failure(outcome)
            )

    def _end(self, run: JobRun, state: str, details: str) -> None:
        with self.lock:
            if run.id not in self._runs:
                return
            self._change(run, state, details)
            run.ended = run.updated
            if run.deadline is not None:
                run.deadline.cancel()
            self._on_end(run)

    @staticmethod
    def _change(run: JobRun, state: str, details: str) -> None:
        run.held = False
        run.state, run.details, run.updated = state, details, now()
