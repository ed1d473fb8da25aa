"""Life cycle of jobs. A single function changes the status of a job and triggers everything that depends on it."""

from __future__ import annotations

import itertools
import signal
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import containers, retry
from airflow_batchemr.local.batch.commands import CannotStartError, Commands
from airflow_batchemr.local.batch.state import INSTANCE, STARTED, Attempt, Ending, Job, Queue, Run, new_id
from airflow_batchemr.local.clock import Clock, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.local.logs import Logs
    from airflow_batchemr.local.processes import Command, Ended, Processes

__all__ = ["KILL_AFTER", "Jobs"]

#: Seconds between SIGTERM and SIGKILL, as in ECS.
KILL_AFTER = 30
TASK_EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"


class Jobs:
    """All jobs of the local Batch.

    Args:
        processes: Runs the commands.
        commands: The commands of containers.
        clock: Times out attempts.
        logs: Stores the output.
        slots: Maximum number of concurrent commands.
        changed: Called for every status change while the lock is held.
    """

    def __init__(
        self,
        *,
        processes: Processes,
        commands: Commands,
        clock: Clock,
        logs: Logs,
        slots: int,
        changed: Callable[[Job], None],
    ) -> None:
        self.lock = threading.RLock()
        self.queues: dict[str, Queue] = {}
        self.jobs: dict[str, Job] = {}
        self.commands = commands
        self._processes = processes
        self._clock = clock
        self._logs = logs
        self._slots = slots
        self._changed = changed
        self._numbers = itertools.count(1)
        self._running: dict[str, Job] = {}
        self._ended: deque[Job] = deque()

    def find(self, job_id: str) -> Job | None:
        """Return a job by id: a single job, an array parent or its child `<parent>:<index>`, a node `<job>#<index>`."""
        parent_id, sign, index = job_id.partition("#" if "#" in job_id else ":")
        job = self.jobs.get(parent_id)
        if not sign or job is None:
            return job
        members = (job.nodes if sign == "#" else job.children) or []
        return members[int(index)] if index.isdecimal() and int(index) < len(members) else None

    def add(
        self, request: dict[str, Any], definition: dict[str, Any], queue: Queue, region: str, failure: str | None = None
    ) -> Job:
        """Add a job for a validated request, and start it if possible, or let it fail at once with a reason."""
        with self.lock:
            # Tags do not propagate to children and nodes. Source: "Tag your AWS Batch resources" in the user guide
            tags = dict(request.get("tags", {}))
            job = Job(next(self._numbers), new_id(), region, queue, definition, request, tags)
            size = request.get("arrayProperties", {}).get("size")
            if size:
                job.children = [
                    Job(job.number, f"{job.id}:{at}", region, queue, definition, request, {}, job.created_at,
                        parent=job, index=at)
                    for at in range(size)
                ]  # fmt: skip
                job.counts["SUBMITTED"] = size
            elif "nodeProperties" in definition:
                job.nodes = [
                    Job(job.number, f"{job.id}#{index}", region, queue, part, wanted, {}, job.created_at, whole=job)
                    for index, (part, wanted) in enumerate(containers.node_parts(definition, request))
                ]
            self.jobs[job.id] = job
            self._changed(job)
            for child in job.children or []:
                self._changed(child)
            self._depend(job)
            for each in list(job.family()):
                if each.ended:
                    continue
                if failure is not None:
                    self._change(each, "FAILED", failure)
                elif each.blockers:
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
            dependant.blockers -= 1
            if ended.status == "FAILED" or (dependant.cancel_reason and not dependant.blockers):
                self._change(dependant, "FAILED", dependant.cancel_reason or "Dependent Job failed")
            elif not dependant.blockers:
                self._make_runnable(dependant)
        ended.dependants.clear()

    def _fill(self, queue: Queue) -> None:
        """Start jobs of a queue in FIFO order. A job that cannot be placed blocks those behind it, as on AWS."""
        while queue.waiting and len(self._running) < self._slots:
            job = queue.waiting[0]
            if job.status == "RUNNABLE":
                job.reason = queue.refusal(containers.vcpus(job))
                if job.reason is not None:
                    return
                self._start(job)
            queue.waiting.popleft()

    def wake(self) -> None:
        """Check for jobs to start after a change of the queues."""
        with self.lock:
            self._settle()

    def _start(self, job: Job) -> None:
        """Start the containers of a job; of a multi-node job those of the main node, and the others when it runs."""
        self._change(job, "STARTING")
        if job.main_node is not None:
            for node in job.nodes or ():
                node.status, node.reason, node.started_at, node.stopped_at = "SUBMITTED", None, None, None
            self._start(job.main_node)
            return
        several = [containers.plain(job, one) for one in containers.merged(job)]
        job.runs = [Run(one.get("name"), one.get("essential", True)) for one in several]
        commands: list[Command] = []
        for run, one in zip(job.runs, several, strict=True):
            if not containers.runs(one):
                continue
            run.command = f"{job.command_name}-{len(commands)}" if commands else job.command_name
            run.stream = self._logs.stream_name(job.definition["jobDefinitionName"], one)
            # DescribeJobs has no log streams of pods, and of what a log router gets
            run.shown = not containers.is_pod(job) and one.get("logConfiguration", {}).get("logDriver") != "awsfirelens"
            try:
                on_start, on_end = partial(self._on_start, job, run), partial(self._on_end, job, run)
                commands.append(self.commands.command(job, run, one, on_start, on_end))
            except CannotStartError as error:
                run.reason = str(error)
                if not run.essential:
                    continue
                for each in job.runs:
                    self._logs.close(each.stream)
                self._end_attempt(job, NOT_STARTED, run)
                return
            run.alive = True
        if not commands:
            run.reason = run.reason or "CannotStartContainerError: the local AWS does not run log routers"
            self._end_attempt(job, NOT_STARTED, run)
        for command in commands:
            self._running[command.name] = job
            self._processes.start(command)

    def _on_start(self, job: Job, run: Run, _pid: int) -> None:
        with self.lock:
            run.started = True
            if run not in job.runs or job.status == "RUNNING":
                return
            job.started_at = milliseconds()
            self._change(job, "RUNNING")
            whole = job.whole or job
            if whole.main_node is job:
                whole.started_at = job.started_at
                self._change(whole, "RUNNING")
                for node in whole.nodes or ():
                    if node is not job:
                        self._start(node)
            if whole.timeout is not None and whole.main_node in (None, job):
                timed_out, name = Ending("Job attempt duration exceeded timeout"), whole.command_name
                whole.timers.append(self._clock.after_aws(whole.timeout, lambda: self.end(whole, name, timed_out)))

    def _on_end(self, job: Job, run: Run, ended: Ended) -> None:
        with self.lock:
            if self._running.pop(str(run.command), None) is not job:
                return
            self._logs.close(run.stream)
            run.alive = False
            if ended.lost:
                job.ending = job.ending or Ending(f"Host EC2 (instance {INSTANCE}) terminated.", final=False)
            run.exit_code = ended.code if job.ending is None or job.ending.exit_code else None
            pod = containers.is_pod(job)
            if ended.error is not None:
                run.reason = f"CannotStartContainerError: {ended.error}"
            elif pod:  # Kubernetes' reasons of terminated containers
                run.reason = "OOMKilled" if ended.out_of_memory else "Error" if ended.code else "Completed"
            elif ended.out_of_memory:
                run.reason = "OutOfMemoryError: Container killed due to memory usage"
            # A task ends with the first essential container, a pod with its last one
            if run.essential and (job.decisive is None or (pod and not job.decisive.exit_code)):
                job.decisive = run
            if run.essential and not pod:
                self._stop_runs(job)
            if job.decisive is not None and not any(each.alive for each in job.runs):
                exited = NOT_STARTED if ended.error is not None else TASK_EXITED
                self._end_attempt(job, job.ending.reason if job.ending else exited, job.decisive)
            self._settle()

    def _stop_runs(self, job: Job, *, at_once: bool = False) -> None:
        """Stop the containers of an attempt: SIGTERM, then SIGKILL; or SIGKILL immediately (`at_once`)."""
        names = [str(run.command) for run in job.runs if run.alive]

        def send(number: int) -> None:
            for name in names:
                self._processes.signal(name, number)

        send(signal.SIGKILL if at_once else signal.SIGTERM)
        if names and not at_once:
            job.timers.append(self._clock.after(KILL_AFTER, lambda: send(signal.SIGKILL)))

    def _end_attempt(self, job: Job, status_reason: str, decisive: Run) -> None:
        """Record the attempt and decide what follows: success, another attempt, or failure."""
        now = milliseconds()
        runs, job.runs, job.decisive = job.runs, [], None
        attempt = Attempt(job.command_name, job.started_at or now, now, status_reason, runs, decisive)
        if job.whole is None:
            self._decide(job, attempt)
            return
        whole, main = job.whole, job.whole.main_node
        job.attempts.append(attempt)
        self._finish(job, attempt)
        if job is main:
            for node in whole.nodes or ():
                self.end(node, node.command_name, Ending("The main node has exited"))
        if main is not None and main.ended and not any(node.status in STARTED for node in whole.nodes or ()):
            self._decide(whole, main.attempts[-1])

    def _decide(self, job: Job, attempt: Attempt) -> None:
        code, reason = attempt.decisive.exit_code, attempt.decisive.reason
        job.attempts.append(attempt)
        if (
            (code != 0 or job.ending is not None)
            and (job.ending is None or not job.ending.final)
            and len(job.attempts) < job.attempts_allowed
            and retry.again(job.retry_strategy.get("evaluateOnExit", []), attempt.reason, reason, code)
        ):
            job.clear_attempt()
            job.started_at = None
            self._make_runnable(job)
        else:
            self._finish(job, attempt)

    def _finish(self, job: Job, attempt: Attempt) -> None:
        succeeded = attempt.decisive.exit_code == 0 and job.ending is None
        job.clear_attempt()
        self._change(job, "SUCCEEDED" if succeeded else "FAILED", attempt.reason)

    def end(self, job: Job, name: str, ending: Ending, *, at_once: bool = False) -> None:
        """Stop attempt `name` of a job if it is running: SIGTERM, then SIGKILL; or SIGKILL immediately (`at_once`)."""
        with self.lock:
            if job.command_name != name or job.status not in STARTED or job.ending is not None:
                return
            job.ending = ending
            if job.main_node is not None:
                self.end(job.main_node, job.main_node.command_name, ending, at_once=at_once)
            self._stop_runs(job, at_once=at_once)

    def terminate(self, job: Job, reason: str) -> None:
        """TerminateJob: kill running jobs and cancel the others, including all children of an array."""
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
                    self._cancel(each, reason)
            self._settle()

    def cancel(self, job: Job, reason: str) -> None:
        """CancelJob: cancel jobs that have not started; running jobs continue."""
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
                self._cancel(each, reason)
            self._settle()

    def _cancel(self, job: Job, reason: str) -> None:
        """Fail a job that has not started; one in PENDING once its dependencies have ended (AWS: CancelJob)."""
        if not job.blockers:
            self._change(job, "FAILED", reason)
        elif job.cancel_reason is None:
            job.cancel_reason = reason

    def kill_for_memory(self, job: Job) -> None:
        """Kill the first essential container of a running job as if it had exceeded its memory limit."""
        with self.lock:
            alive = [run for run in (job.main_node or job).runs if run.alive and run.essential]
            self._processes.kill_for_memory(str(alive[0].command) if alive else "")

    def forget(self, job_id: str) -> None:
        """Delete a finished job, as AWS does a day or more after its end."""
        with self.lock:
            self.jobs.pop(job_id, None)

    def clear(self) -> None:
        """Kill running jobs and remove all jobs and queues."""
        with self.lock:
            for name, job in self._running.items():
                for each in (job, job.whole or job):
                    each.clear_attempt()
                self._processes.signal(name, signal.SIGKILL)
            self._running.clear()
            self.jobs.clear()
            self.commands.unpullable.clear()
            self._ended.clear()
            self.queues.clear()
