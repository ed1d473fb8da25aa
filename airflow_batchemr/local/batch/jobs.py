"""Life cycle of jobs. A single function changes the status of a job and triggers everything that depends on it."""

from __future__ import annotations

import itertools
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import containers, retry, secrets
from airflow_batchemr.local.batch.secrets import SecretError
from airflow_batchemr.local.batch.state import STARTED, Ending, Job, Queue, new_id
from airflow_batchemr.local.clock import Clock, milliseconds
from airflow_batchemr.local.processes import Command, Ended, Processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_batchemr.local.logs import Logs
    from airflow_batchemr.local.upstream import Upstream

__all__ = ["KILL_AFTER", "Jobs"]

#: Seconds between SIGTERM and SIGKILL, as in ECS.
KILL_AFTER = 30
INSTANCE = "i-0a1b2c3d4e5f60718"
TASK_EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"


class Jobs:
    """All jobs of the local Batch.

    Args:
        processes: Runs the commands.
        upstream: moto, for secrets.
        clock: Times out attempts.
        logs: Stores the output.
        root: Parent folder of the working folders.
        slots: Maximum number of concurrent commands.
        changed: Called for every status change while the lock is held.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        upstream: Upstream,
        clock: Clock,
        logs: Logs,
        root: Path,
        slots: int,
        changed: Callable[[Job], None],
    ) -> None:
        self.lock = threading.RLock()
        self.queues: dict[str, Queue] = {}
        self.jobs: dict[str, Job] = {}
        self.unpullable: set[str] = set()
        self._processes = processes
        self._upstream = upstream
        self._clock = clock
        self._logs = logs
        self._root = root
        self._slots = slots
        self._changed = changed
        self._numbers = itertools.count(1)
        self._running: dict[str, Job] = {}
        self._ended: deque[Job] = deque()

    def find(self, job_id: str) -> Job | None:
        """Return a job by id: a single job, an array parent, or a child as `<parent>:<index>`."""
        parent_id, colon, index = job_id.partition(":")
        job = self.jobs.get(parent_id)
        if not colon or job is None:
            return job
        if job.children is None or not index.isdecimal() or int(index) >= len(job.children):
            return None
        return job.children[int(index)]

    def add(
        self, request: dict[str, Any], definition: dict[str, Any], queue: Queue, region: str, tags: dict[str, str]
    ) -> Job:
        """Add a job for a validated request, and start it if possible."""
        with self.lock:
            job = Job(next(self._numbers), new_id(), region, queue, definition, request, tags)
            size = request.get("arrayProperties", {}).get("size")
            if size:
                job.children = [
                    Job(
                        job.number,
                        f"{job.id}:{index}",
                        region,
                        queue,
                        definition,
                        request,
                        tags,
                        job.created_at,
                        parent=job,
                        index=index,
                    )
                    for index in range(size)
                ]
                job.counts["SUBMITTED"] = size
            self.jobs[job.id] = job
            self._changed(job)
            for child in job.children or []:
                self._changed(child)
            self._depend(job)
            for each in list(job.family()):
                if each.ended:
                    continue
                if each.blockers:
                    self._change(each, "PENDING")
                else:
                    self._make_runnable(each)
            self._settle()
            return job

    def _depend(self, job: Job) -> None:
        """Register the dependencies of a job and its children. Dependencies that have failed fail them."""
        for dependency in job.request.get("dependsOn", []):
            other = self.find(dependency["jobId"]) if dependency.get("jobId") else None
            kind = dependency.get("type")
            if kind == "SEQUENTIAL" and job.children:
                for before, after in itertools.pairwise(job.children):
                    self._wait_for(before, after)
            elif kind == "N_TO_N" and job.children and other is not None and other.children:
                for theirs, ours in zip(other.children, job.children, strict=True):
                    self._wait_for(theirs, ours)
            elif other is not None:
                for ours in job.family():
                    self._wait_for(other, ours)

    def _wait_for(self, first: Job, then: Job) -> None:
        if first.status == "FAILED":
            self._change(then, "FAILED", "Dependent Job failed")
        elif first.status != "SUCCEEDED":
            then.blockers += 1
            first.dependants.append(then)

    def _change(self, job: Job, status: str, reason: str | None = None) -> None:
        """Change a status. This is the only place that does; it updates the parent, dependants and events."""
        if job.ended:
            return
        parent = job.parent
        if parent is not None:
            parent.counts[job.status] -= 1
            parent.counts[status] += 1
        job.status = status
        job.reason = reason
        if job.ended:
            job.stopped_at = milliseconds()
            self._ended.append(job)
        self._changed(job)
        if parent is not None and parent.status == "SUBMITTED" and status in ("PENDING", "RUNNABLE"):
            self._change(parent, "PENDING")
        if parent is not None and parent.children and job.ended:
            self._end_parent(parent, len(parent.children))

    def _end_parent(self, parent: Job, size: int) -> None:
        if parent.counts["SUCCEEDED"] + parent.counts["FAILED"] < size:
            return
        if not parent.counts["FAILED"]:
            self._change(parent, "SUCCEEDED")
        else:
            self._change(parent, "FAILED", parent.ending.reason if parent.ending else "Array Child Job failed")

    def _make_runnable(self, job: Job) -> None:
        self._change(job, "RUNNABLE")
        job.queue.waiting.append(job)

    def _settle(self) -> None:
        """Release dependants of ended jobs and fill free slots. Called after every change of a job."""
        while True:
            while self._ended:
                self._release(self._ended.popleft())
            for queue in sorted(self.queues.values(), key=lambda queue: -int(queue.detail["priority"])):
                self._fill(queue)
            if not self._ended:
                return

    def _release(self, ended: Job) -> None:
        for dependant in ended.dependants:
            if dependant.ended:
                continue
            if ended.status == "FAILED":
                self._change(dependant, "FAILED", "Dependent Job failed")
            else:
                dependant.blockers -= 1
                if not dependant.blockers:
                    self._make_runnable(dependant)
        ended.dependants.clear()

    def _fill(self, queue: Queue) -> None:
        """Start jobs of a queue in FIFO order. A job that cannot be placed blocks those behind it, as on AWS."""
        while queue.waiting and len(self._running) < self._slots:
            job = queue.waiting[0]
            if job.status == "RUNNABLE":
                described = containers.container(job)
                job.reason = queue.refusal(containers.vcpus(described))
                if job.reason is not None:
                    return
                self._start(job, described)
            queue.waiting.popleft()

    def wake(self) -> None:
        """Check for jobs to start after a change of the queues."""
        with self.lock:
            self._settle()

    def _start(self, job: Job, described: dict[str, Any]) -> None:
        job.stream = self._logs.stream_name(job.definition["jobDefinitionName"], described)
        self._change(job, "STARTING")
        argv = containers.arguments(job, described)
        image = described.get("image", "")
        if image in self.unpullable:
            text = f"CannotPullContainerError: Error response from daemon: pull access denied for {image}"
            self._end_attempt(job, NOT_STARTED, None, text, started=False)
            return
        if not argv:
            text = "CannotStartContainerError: no command in job or definition (the local AWS does not read images)"
            self._end_attempt(job, NOT_STARTED, None, text, started=False)
            return
        try:
            environment = self._environment(job, described)
        except SecretError as error:
            self._end_attempt(job, NOT_STARTED, None, str(error), started=False)
            return
        name = job.command_name
        self._running[name] = job
        self._processes.start(
            Command(
                name,
                argv,
                environment,
                self._root / "jobs",
                self._logs.open(job.region, job.stream, described),
                None,
                containers.memory_bytes(described),
                lambda _pid: self._on_start(job, name),
                lambda ended: self._on_end(job, name, ended),
            )
        )

    def _environment(self, job: Job, described: dict[str, Any]) -> dict[str, str]:
        environment = {item["name"]: item.get("value", "") for item in described["environment"]}
        environment |= secrets.resolve(self._upstream, job.region, described)
        environment |= {
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(len(job.attempts) + 1),
            "AWS_BATCH_JQ_NAME": job.queue.name,
            "AWS_BATCH_CE_NAME": job.queue.environments[0].name,
        }
        if job.parent is not None and job.parent.children is not None:
            environment["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
            environment["AWS_BATCH_JOB_ARRAY_SIZE"] = str(len(job.parent.children))
        return environment

    def _on_start(self, job: Job, name: str) -> None:
        with self.lock:
            if self._running.get(name) is not job:
                return
            job.started_at = milliseconds()
            self._change(job, "RUNNING")
            if job.timeout is not None:
                timed_out = Ending("Job attempt duration exceeded timeout")
                job.timers.append(self._clock.after_aws(job.timeout, lambda: self.end(job, name, timed_out)))

    def _on_end(self, job: Job, name: str, ended: Ended) -> None:
        with self.lock:
            if self._running.pop(name, None) is not job:
                return
            if ended.lost:
                job.ending = job.ending or Ending(f"Host EC2 (instance {INSTANCE}) terminated.", final=False)
            ending = job.ending
            if ended.error is not None:
                self._end_attempt(job, NOT_STARTED, None, f"CannotStartContainerError: {ended.error}", started=False)
            else:
                reason = "OutOfMemoryError: Container killed due to memory usage" if ended.out_of_memory else None
                code = None if ending is not None and not ending.exit_code else ended.code
                self._end_attempt(job, ending.reason if ending else TASK_EXITED, code, reason)
            self._settle()

    def _end_attempt(
        self, job: Job, status_reason: str, exit_code: int | None, reason: str | None, *, started: bool = True
    ) -> None:
        """Record the attempt and decide what follows: success, another attempt, or failure."""
        for timer in job.timers:
            timer.cancel()
        job.timers.clear()
        ending, job.ending = job.ending, None
        if job.stream:
            self._logs.close(job.stream)
        container: dict[str, Any] = {
            "containerInstanceArn": f"arn:aws:ecs:{job.region}:123456789012:container-instance/local/{INSTANCE}",
            "taskArn": f"arn:aws:ecs:{job.region}:123456789012:task/local/{job.command_name}",
            "networkInterfaces": [],
        }
        if exit_code is not None:
            container["exitCode"] = exit_code
        if reason is not None:
            container["reason"] = reason
        if started:
            container["logStreamName"] = job.stream
        now = milliseconds()
        attempt = {
            "container": container,
            "startedAt": job.started_at or now,
            "stoppedAt": now,
            "statusReason": status_reason,
        }
        job.attempts.append(attempt)
        if exit_code == 0 and ending is None:
            self._change(job, "SUCCEEDED", TASK_EXITED)
        elif (
            (ending is None or not ending.final)
            and len(job.attempts) < job.attempts_allowed
            and retry.again(job.retry_strategy.get("evaluateOnExit", []), status_reason, reason, exit_code)
        ):
            job.started_at = None
            self._make_runnable(job)
        else:
            self._change(job, "FAILED", status_reason)

    def end(self, job: Job, name: str, ending: Ending, *, at_once: bool = False) -> None:
        """Stop attempt `name` of a job if it is running: SIGTERM, then SIGKILL; or SIGKILL immediately (`at_once`)."""
        with self.lock:
            if self._running.get(name) is not job or job.ending is not None:
                return
            job.ending = ending
            self._processes.signal(name, signal.SIGKILL if at_once else signal.SIGTERM)
            if not at_once:
                job.timers.append(self._clock.after(KILL_AFTER, lambda: self._processes.signal(name, signal.SIGKILL)))

    def terminate(self, job: Job, reason: str) -> None:
        """TerminateJob: kill running jobs and fail waiting ones, including all children of an array."""
        with self.lock:
            if job.ended:
                return
            job.terminated = True
            if job.children is not None:
                job.ending = Ending(reason)
            for each in list(job.family()):
                if each.ended:
                    continue
                each.terminated = True
                if each.status in STARTED:
                    self.end(each, each.command_name, Ending(reason))
                else:
                    self._change(each, "FAILED", reason)
            self._settle()

    def cancel(self, job: Job, reason: str) -> None:
        """CancelJob: fail jobs that have not started; running jobs continue."""
        with self.lock:
            if job.ended:
                return
            waiting = [each for each in job.family() if not each.ended and each.status not in STARTED]
            if waiting:
                job.cancelled = True
                if job.children is not None:
                    job.ending = Ending(reason)
            for each in waiting:
                each.cancelled = True
                self._change(each, "FAILED", reason)
            self._settle()

    def kill_for_memory(self, job: Job) -> None:
        """Kill a running job as if it had exceeded its memory limit."""
        with self.lock:
            self._processes.kill_for_memory(job.command_name)

    def forget(self, job_id: str) -> None:
        """Delete a finished job, as AWS does a day or more after its end."""
        with self.lock:
            self.jobs.pop(job_id, None)

    def clear(self) -> None:
        """Kill running jobs and remove all jobs and queues."""
        with self.lock:
            for name, job in self._running.items():
                for timer in job.timers:
                    timer.cancel()
                self._processes.signal(name, signal.SIGKILL)
            self._running.clear()
            self.jobs.clear()
            self.unpullable.clear()
            self._ended.clear()
            self.queues.clear()
