"""Life cycle of clusters and steps."""

from __future__ import annotations

import itertools
import shutil
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.instances import instance_fleets, instance_groups, instances
from airflow_batchemr.local.emr.limits import several_masters
from airflow_batchemr.local.emr.state import CLUSTER_ENDED, STEP_ENDED, Cluster, Step, new_id, now

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_batchemr.local.clock import Clock, Timer
    from airflow_batchemr.local.emr.runner import Run, Runner

__all__ = ["Clusters", "Delays"]

#: Seconds between two checks whether the killed processes of a cluster have ended.
PROCESS_END = 0.02
#: Seconds between SIGTERM and SIGKILL for a cancelled step.
KILL_AFTER = 30


@dataclass
class Delays:
    """Delays in seconds.

    Attributes:
        starting: Time in state STARTING.
        terminating: Time in state TERMINATING.
        logs: Time after the end of a step until its logs are in S3; up to 5 minutes on AWS.
    """

    starting: float = 0.2
    terminating: float = 0.1
    logs: float = 0.0


@dataclass
class StartFailures:
    """Reasons (code, message) for which the next clusters fail to start."""

    coming: list[tuple[str, str]] = field(default_factory=list)


class Clusters:
    """All clusters. Steps have their own `slots`, separate from those of Batch jobs.

    Otherwise, a Batch job that waits for a step it has added could occupy the slot that the step needs.
    """

    def __init__(self, clock: Clock, runner: Runner, root: Path, slots: int) -> None:
        self.lock = threading.RLock()
        self.clusters: dict[str, Cluster] = {}
        self.delays = Delays()
        self.start_failures = StartFailures()
        self._clock = clock
        self._runner = runner
        self._root = root
        self._slots = slots
        self._running: dict[str, tuple[Cluster, Step]] = {}
        self._cancelled: set[str] = set()
        self._timers: list[Timer] = []
        self._numbers = itertools.count(1)

    def add(self, request: dict[str, Any], region: str) -> Cluster:
        """Add a cluster for a validated request."""
        config = request["Instances"]
        groups, fleets = instance_groups(config), instance_fleets(config)
        several = several_masters(config)
        with self.lock:
            cluster = Cluster(
                next(self._numbers),
                new_id("j-"),
                region,
                request,
                {tag["Key"]: tag.get("Value", "") for tag in request.get("Tags", [])},
                groups,
                fleets,
                instances(groups, fleets),
                keep_alive=several or config.get("KeepJobFlowAliveWhenNoSteps", False),
                protected=several or config.get("TerminationProtected", False),
                concurrency=request.get("StepConcurrencyLevel", 1),
                auto_termination=request.get("AutoTerminationPolicy"),
                managed_scaling=request.get("ManagedScalingPolicy"),
                visible=request.get("VisibleToAllUsers", True),
            )
            self.clusters[cluster.id] = cluster
            self.add_steps(cluster, request.get("Steps", []))
            self._clock.after(self.delays.starting, lambda: self._started(cluster))
            return cluster

    def add_steps(self, cluster: Cluster, configs: list[dict[str, Any]]) -> list[str]:
        """Add validated steps.

        Returns:
            The ids of the steps.
        """
        with self.lock:
            steps = [Step(new_id("s-"), config) for config in configs]
            cluster.steps += steps
            self._advance(cluster)
            return [step.id for step in steps]

    def advance(self, cluster: Cluster) -> None:
        """Check what to do next after a change of the cluster's settings."""
        with self.lock:
            self._advance(cluster)

    # Start

    def _started(self, cluster: Cluster) -> None:
        with self.lock:
            if cluster.state != "STARTING":
                return
            if self.start_failures.coming:
                code, message = self.start_failures.coming.pop(0)
                self._terminate(cluster, "TERMINATED_WITH_ERRORS", code, message)
                return
            cluster.state = "BOOTSTRAPPING"
            self._bootstrap(cluster, 0)

    def _bootstrap(self, cluster: Cluster, number: int) -> None:
        actions = cluster.request.get("BootstrapActions", [])
        if number == len(actions):
            cluster.ready = now()
            cluster.state = "RUNNING"
            self._advance(cluster)
            return
        self._runner.bootstrap(cluster, number, lambda run: self._bootstrapped(cluster, number, run))

    def _bootstrapped(self, cluster: Cluster, number: int, run: Run) -> None:
        with self.lock:
            if cluster.state != "BOOTSTRAPPING" or cluster.id not in self.clusters:
                return
            self._runner.keep_logs(cluster, run.logs)
            if run.code == 0:
                self._bootstrap(cluster, number + 1)
                return
            what = run.error or "returned a non-zero return code"
            message = f"On the master instance ({cluster.master}), bootstrap action {number + 1} {what}"
            self._terminate(cluster, "TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE", message)

    # Steps

    def _advance(self, cluster: Cluster) -> None:
        """Start steps if possible. Without active steps, the cluster waits or terminates."""
        if cluster.state not in ("RUNNING", "WAITING"):
            return
        active = cluster.active_steps()
        running = sum(step.state != "PENDING" for step in active)
        for step in active:
            if step.state == "PENDING" and running < cluster.concurrency and len(self._running) < self._slots:
                running += 1
                self._start_step(cluster, step)
        if cluster.idle is not None:
            cluster.idle.cancel()
            cluster.idle = None
        if active:
            cluster.state = "RUNNING"
            cluster.reason = {}
            return
        if not cluster.keep_alive and not cluster.protected:
            failed = any(step.state == "FAILED" for step in cluster.steps)
            message = "Steps completed with errors" if failed else "Steps completed"
            self._terminate(cluster, "TERMINATED", "ALL_STEPS_COMPLETED", message)
            return
        cluster.state = "WAITING"
        cluster.reason = {
            "Message": "Cluster ready after last step completed." if cluster.steps else "Cluster ready to run steps."
        }
        if cluster.auto_termination is not None:
            seconds = cluster.auto_termination.get("IdleTimeout", 3600)
            cluster.idle = self._clock.after_aws(seconds, lambda: self._end_idle(cluster))

    def _end_idle(self, cluster: Cluster) -> None:
        with self.lock:
            if cluster.state == "WAITING" and cluster.idle is not None:
                self._terminate(
                    cluster, "TERMINATED", "USER_REQUEST", "Terminated by the auto-termination policy: idle"
                )

    def _start_step(self, cluster: Cluster, step: Step) -> None:
        step.state = "RUNNING"
        step.started = now()
        self._running[step.id] = (cluster, step)
        self._runner.step(cluster, step, lambda run: self._step_ended(cluster, step, run))

    def _step_ended(self, cluster: Cluster, step: Step, run: Run) -> None:
        with self.lock:
            if self._running.pop(step.id, None) is None:
                return
            cancelled = step.id in self._cancelled
            self._cancelled.discard(step.id)
            if self.delays.logs:
                self._clock.after(self.delays.logs, lambda: self._runner.keep_logs(cluster, run.logs))
            else:
                self._runner.keep_logs(cluster, run.logs)
            if step.state not in STEP_ENDED:
                step.ended = now()
                # A program that exits with 0 before the signal reaches it has done its work
                step.state = "COMPLETED" if run.code == 0 else "CANCELLED" if cancelled else "FAILED"
            if step.state == "FAILED":
                step.failure = self._runner.failure(cluster, step, run)
                self._step_failed(cluster, step)
            self._advance(cluster)
            for other in list(self.clusters.values()):
                self._advance_waiting(other)

    def _advance_waiting(self, cluster: Cluster) -> None:
        """Start pending steps of another cluster after a slot has become free."""
        if any(step.state == "PENDING" for step in cluster.active_steps()):
            self._advance(cluster)

    def _step_failed(self, cluster: Cluster, step: Step) -> None:
        action = step.action_on_failure
        if action == "CONTINUE":
            return
        for other in cluster.active_steps():
            if other.state == "PENDING":
                other.state = "CANCELLED"
                other.reason = "Job terminated" if action == "TERMINATE_CLUSTER" else "A previous step failed"
                other.ended = now()
        if action == "TERMINATE_CLUSTER" and not cluster.protected:
            self._terminate(cluster, "TERMINATED_WITH_ERRORS", "STEP_FAILURE", "Shut down as step failed")
        elif cluster.state in ("RUNNING", "WAITING"):
            # "The cluster returns to WAITING": it no longer terminates after its steps, even without keep-alive.
            cluster.keep_alive = True

    def cancel_step(self, cluster: Cluster, step: Step, *, kill: bool) -> str | None:
        """Cancel a step.

        Args:
            cluster: Cluster of the step.
            step: Step to cancel.
            kill: Whether to stop a running step with SIGKILL instead of SIGTERM.

        Returns:
            The reason why it cannot be cancelled; None if the request is accepted.
        """
        with self.lock:
            if step.state == "PENDING":
                step.state, step.ended, step.reason = "CANCELLED", now(), "Cancelled by user"
                self._advance(cluster)
                return None
            if step.state not in ("RUNNING", "CANCEL_PENDING"):
                return f"Step {step.id} is already {step.state}"
            if cluster.release < (5, 28):
                return f"Step {step.id} is RUNNING; running steps can be cancelled from release 5.28.0 on"
            step.state = "CANCEL_PENDING"
            self._interrupt(step, kill=kill)
            return None

    def _interrupt(self, step: Step, *, kill: bool) -> None:
        self._cancelled.add(step.id)
        self._runner.signal(step, signal.SIGKILL if kill else signal.SIGTERM)
        if not kill:
            self._clock.after(KILL_AFTER, lambda: self._kill(step))

    def _kill(self, step: Step) -> None:
        with self.lock:
            if step.id in self._running:
                self._runner.signal(step, signal.SIGKILL)

    # End

    def terminate(self, cluster: Cluster) -> None:
        """Terminate a cluster at the request of a user."""
        with self.lock:
            self._terminate(cluster, "TERMINATED", "USER_REQUEST", "Terminated by user request")

    def _terminate(self, cluster: Cluster, state: str, code: str, message: str) -> None:
        if cluster.state in CLUSTER_ENDED or cluster.state == "TERMINATING":
            return
        if cluster.idle is not None:
            cluster.idle.cancel()
            cluster.idle = None
        bootstrapping = cluster.state == "BOOTSTRAPPING"
        cluster.state = "TERMINATING"
        cluster.reason = {"Code": code, "Message": message}
        if bootstrapping:
            self._runner.end_bootstrap(cluster)
        for step in cluster.active_steps():
            running = step.state != "PENDING"
            step.state, step.ended, step.reason = "CANCELLED", now(), "Job terminated"
            if running:
                self._interrupt(step, kill=True)
        self._clock.after(self.delays.terminating, lambda: self._terminated(cluster, state))

    def _terminated(self, cluster: Cluster, state: str) -> None:
        with self.lock:
            if cluster.id not in self.clusters:
                return
            if any(owner is cluster for owner, _ in self._running.values()):  # its processes are being killed
                self._clock.after(PROCESS_END, lambda: self._terminated(cluster, state))
                return
            cluster.state = state
            cluster.ended = now()
            shutil.rmtree(self._root / cluster.id, ignore_errors=True)

    def clear(self) -> None:
        """Kill running steps and remove all clusters."""
        with self.lock:
            for cluster in self.clusters.values():
                if cluster.idle is not None:
                    cluster.idle.cancel()
                if cluster.state == "BOOTSTRAPPING":
                    self._runner.end_bootstrap(cluster)
                # Pending timers check the state and do nothing.
                cluster.state = "TERMINATED"
            for _, step in self._running.values():
                self._runner.signal(step, signal.SIGKILL)
            self.clusters.clear()
            self._running.clear()
            self._cancelled.clear()
            self.start_failures.coming.clear()
            self.delays = Delays()
