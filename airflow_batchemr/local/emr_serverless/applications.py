"""Applications of the local EMR Serverless, and their states."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.state import ACCOUNT, now

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from airflow_batchemr.local.clock import Clock, Timer

__all__ = ["SETTINGS", "Application", "Applications"]

#: Fields of requests that responses contain unchanged.
SETTINGS = (
    "initialCapacity", "maximumCapacity", "autoStartConfiguration", "autoStopConfiguration", "networkConfiguration",
    "architecture", "imageConfiguration", "workerTypeSpecifications", "runtimeConfiguration",
    "monitoringConfiguration", "diskEncryptionConfiguration", "interactiveConfiguration", "schedulerConfiguration",
    "identityCenterConfiguration", "jobLevelCostAllocationConfiguration",
)  # fmt: skip
#: Defaults of CreateApplication. Source: its API reference.
DEFAULTS = {
    "architecture": "X86_64",
    "autoStartConfiguration": {"enabled": True},
    "autoStopConfiguration": {"enabled": True, "idleTimeoutMinutes": 15},
}
#: States in which an application can be updated or deleted.
AT_REST = frozenset({"CREATED", "STOPPED"})


@dataclass(eq=False)
class Application:
    """An application.

    Attributes:
        number: Sequence number of the application, used for paging.
        settings: Requested or default values of `SETTINGS`.
        idle: Timer that stops it after its idle timeout.
    """

    number: int
    id: str
    region: str
    name: str | None
    release: str
    type: str
    settings: dict[str, Any]
    tags: dict[str, str]
    state: str = "CREATING"
    created: datetime = field(default_factory=now)
    updated: datetime = field(default_factory=now)
    idle: Timer | None = None

    @property
    def arn(self) -> str:
        """ARN."""
        return f"arn:aws:emr-serverless:{self.region}:{ACCOUNT}:/applications/{self.id}"

    @property
    def starts_by_itself(self) -> bool:
        """Whether a job run starts it."""
        return bool(self.settings["autoStartConfiguration"].get("enabled", True))

    @property
    def most_runs(self) -> int | None:
        """Maximum number of concurrent job runs; None means no limit."""
        limit = self.settings.get("schedulerConfiguration", {}).get("maxConcurrentRuns")
        return int(limit) if limit else None


class Applications:
    """All applications.

    Args:
        clock: Delays the ends of transitional states.
        lock: Held for each change. It is the lock of the job runs, because their states depend on each other.
        started: Called when an application has started.
        busy: Returns whether an application has job runs that have not ended.

    Attributes:
        delay: Seconds in each transitional state.
    """

    def __init__(
        self, clock: Clock, lock: threading.RLock, started: Callable[[str], None], busy: Callable[[str], bool]
    ) -> None:
        self._lock = lock
        self.applications: dict[str, Application] = {}
        self.delay = 0.05
        self._numbers = itertools.count(1)
        self._clock = clock
        self._started = started
        self._busy = busy

    def add(self, application_id: str, request: dict[str, Any], region: str) -> Application:
        """Create an application from a validated request."""
        with self._lock:
            application = Application(
                next(self._numbers),
                application_id,
                region,
                request.get("name"),
                request["releaseLabel"],
                request["type"],
                {**DEFAULTS, **{name: request[name] for name in SETTINGS if name in request}},
                dict(request.get("tags", {})),
            )
            self.applications[application_id] = application
            self._pass(application, "CREATING", "CREATED")
            return application

    def start(self, application: Application) -> None:
        """Start it, unless it is started or starting."""
        with self._lock:
            if application.state in ("CREATING", "STOPPING"):
                self._clock.after(self.delay, lambda: self.start(application))
            elif application.state in AT_REST:
                self._change(application, "STARTING")
                self._pass(application, "STARTING", "STARTED")

    def stop(self, application: Application) -> None:
        """Stop it if it is started."""
        with self._lock:
            if application.state == "STARTED":
                self._change(application, "STOPPING")
                self._pass(application, "STOPPING", "STOPPED")

    def delete(self, application: Application) -> None:
        """Delete it. It can still be described."""
        with self._lock:
            self._change(application, "TERMINATED")

    def used(self, application: Application) -> None:
        """Restart the idle timeout after a job run has been added or has ended."""
        with self._lock:
            if application.idle is not None:
                application.idle.cancel()
                application.idle = None
            automatic = application.settings["autoStopConfiguration"]
            if application.state == "STARTED" and automatic.get("enabled", True) and not self._busy(application.id):
                seconds = automatic.get("idleTimeoutMinutes", 15) * 60
                application.idle = self._clock.after_aws(seconds, lambda: self._stop_idle(application))

    def clear(self) -> None:
        """Delete all applications."""
        with self._lock:
            for application in self.applications.values():
                if application.idle is not None:
                    application.idle.cancel()
            self.applications.clear()
            self.delay = 0.05

    def _stop_idle(self, application: Application) -> None:
        with self._lock:
            if application.id in self.applications and not self._busy(application.id):
                self.stop(application)

    def _pass(self, application: Application, state: str, following: str) -> None:
        def change() -> None:
            with self._lock:
                if application.state != state or application.id not in self.applications:
                    return
                self._change(application, following)
            if following == "STARTED":
                self._started(application.id)
                self.used(application)

        self._clock.after(self.delay, change)

    @staticmethod
    def _change(application: Application, state: str) -> None:
        application.state = state
        application.updated = now()
