"""The Batch operator's backend, triggers and reports."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from airflow_batchemr.aws.batch.backend import BatchBackend
from airflow_batchemr.aws.batch.failure_report import failure_report, group_of
from airflow_batchemr.aws.batch.runnable import explain
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.engine.decide import original_size
from airflow_batchemr.engine.submissions import stop
from airflow_batchemr.links.base import log_stream, push_links
from airflow_batchemr.links.batch import BatchJobLink, BatchQueueLink, FailedIndexLogLink
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.pipeline_file.models import Batch
from airflow_batchemr.triggers.batch import BatchJobsTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.ledger import HandleJob, LedgerState
    from airflow_batchemr.links.base import AwsLink

#: States of a task that does not submit anything any more.
GIVEN_UP = frozenset({"failed", "upstream_failed", "skipped", "removed"})


class BatchWork(LedgerOperator):
    """The work of `BatchArrayOperator`, which provides the arguments."""

    job_queue: str | None
    array: Any
    cluster: str | None
    index_of: str | None
    explicit_success: bool
    wait_for_children: bool
    runnable_timeout: int | None
    _size: int
    _size_known_later: bool
    _one_task_at_a_time = False

    @abstractmethod
    def options(self) -> Batch:
        """Return the options of the job with rendered templates. Raises `InvalidRequest`."""

    @abstractmethod
    def array_options(self) -> dict[str, Any]:
        """Return the options of `array` with rendered templates. Raises `InvalidRequest`."""

    def backend(self, state: LedgerState, rerun_token: str | None) -> BatchBackend:
        """Return the array, with the size from the options or its data."""
        invalid = None
        try:
            options, array = self.options(), self.array_options()
            if self.rendered_policy is not None:
                options, array = self.rendered_policy.batch(options, array)
        except InvalidRequest as error:
            size = original_size(state)
            if size is None or not state.open_submissions:
                raise
            # What runs needs a task that watches it, although nothing more can be submitted with these options
            options, array, invalid = Batch(), {"size": size}, error
            self.runnable_timeout = None
        backend = BatchBackend.of(
            options,
            array,
            clients=self.clients,
            ledger=self.ledger,
            identity=self.identity,
            rerun_token=rerun_token,
            index_of=self.index_of,
            cluster=self.cluster,
            explicit_success=self.explicit_success,
            size_rendered=self._size_known_later,
            invalid=invalid,
        )
        self._size = backend.size
        return backend

    def skipped(self, state: LedgerState, context: Context) -> Any:
        """Log that nothing is left to do, also for a run with another array size."""
        with contextlib.suppress(InvalidRequest):  # what it renders to now does not matter any more
            size = self.array_options().get("size")
            if state.marker is not None and size is not None:
                self._note_size(state.marker.size, int(size))
        return super().skipped(state, context)

    def _note_size(self, of_run: int, size: int) -> None:
        if of_run != size:
            self.log.warning(
                "This run started with %s indices; the new array size (%s) applies from the next run", of_run, size
            )

    def _size_of(self, outcome: Outcome) -> int:
        """Return the number of indices of this run."""
        assert self.engine is not None  # noqa: S101 - it has made the pass
        size = len(self.engine.backend.units(outcome.state))
        self._note_size(size, self._size)
        return size

    def on_event(self, event: Mapping[str, Any], state: LedgerState) -> None:
        """Stop a job that stayed RUNNABLE for too long."""
        self._one_task_at_a_time = event.get("one_task_at_a_time", False)
        if event.get("status") != "runnable":
            return
        reasons = explain(self.clients, event["job"])
        stop(self.ledger, self.remote(), state.open_submissions, "it did not start in time", by="runnable_timeout")
        raise AirflowException(
            f"Job {event['job']} was RUNNABLE for {event['seconds']} s, longer than the runnable_timeout of "
            f"{self.runnable_timeout} s: stopped. {'; '.join(reasons)}"
        )

    def blocked(self, outcome: Outcome) -> None:  # noqa: ARG002 - for other kinds
        """Check that the job of `index_of`, for which this one waits, can still submit something.

        Raises:
            AirflowFailException: It cannot, so this job would wait forever.
            AirflowRescheduleException: `dag.test()` has to run the other task first.
        """
        if self.index_of is None:
            return
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        who, job = self.identity, self.index_of
        task_id, map_index = self._task_of(job)
        states = RuntimeTaskInstance.get_task_states(dag_id=who.dag_id, task_ids=[task_id], run_ids=[who.run_id])
        found = states.get(who.run_id, {})
        key = task_id if map_index is None else f"{task_id}_{map_index}"
        if not found.keys() & {key, task_id}:  # Airflow lists a mapped task without an index until it has expanded it
            raise AirflowFailException(
                f"index_of: no task of this run has the ledger name {job!r}. Give the `job` of the task that this one "
                "follows index by index, or its task id if it has no `job`"
            )
        state = found.get(key, found.get(task_id))
        if state in GIVEN_UP:
            raise AirflowFailException(
                f"{job}, which this job follows index by index, is {state}: clear both to continue"
            )
        if state == "success":
            other = self.clients.ledger(who.state).job(who.dag_id, who.run_key, job).read()
            if other.marker is None and not other.open_submissions:  # else, the next pass finds what it waits for
                raise AirflowFailException(
                    f"{job}, which this job follows index by index, is success, but its ledger has no success marker: "
                    "it was marked by hand, or writes to another ledger. Clear both to continue"
                )
        if self._one_task_at_a_time:
            self.log.info("Rescheduling the task: dag.test() runs one task at a time, and %s has to run first", job)
            raise AirflowRescheduleException(datetime.now(timezone.utc))  # type: ignore[no-untyped-call]

    def _task_of(self, job: str) -> tuple[str, int | None]:
        """Return task id and map index of a job of this Dag by its ledger name; the name if there is no such job."""
        dag = self.get_dag()
        for task in dag.tasks if dag is not None else ():
            kwargs = getattr(task, "partial_kwargs", {})  # of a mapped task
            name = kwargs.get("job") or getattr(task, "job", None) or task.task_id
            if name == job:
                return task.task_id, None
            base, _, index = job.rpartition(".")
            if base == name and index.isdecimal() and isinstance(task, MappedOperator):
                return task.task_id, int(index)
        return job, None

    def trigger(self, outcome: Outcome, common: dict[str, Any]) -> BatchJobsTrigger:
        """Return a trigger that waits for the jobs and their children."""
        jobs: dict[str, str] = {}
        children: list[str] = []
        for submission in outcome.waits:
            seen = outcome.observations.get(submission.number)
            running = seen.answer.running if seen is not None and seen.answer is not None else []
            children += running
            if submission.handle is not None and not running:
                jobs |= {job.job_id: job.indices.text() for job in submission.handle.jobs}
        return BatchJobsTrigger(
            jobs=jobs,
            children=children,
            size=self._size_of(outcome),
            done=len(outcome.state.done),
            runnable_timeout=self.runnable_timeout,
            **common,
        )

    def addresses(self, outcome: Outcome) -> dict[type[AwsLink], str]:
        """Return the URLs of the first job and the queue."""
        region = self.clients.region
        known: list[HandleJob] = [job for one in outcome.waits if one.handle for job in one.handle.jobs]
        found: dict[type[AwsLink], str] = {}
        if known:
            found[BatchJobLink] = BatchJobLink.address(region, known[0].job_id, array=len(known[0].indices) > 1)
        if self.job_queue:
            found[BatchQueueLink] = BatchQueueLink.address(region, self.job_queue)
        return found

    def finish(self, outcome: Outcome) -> Any:
        """Write the marker and return the XCom."""
        size = self._size_of(outcome)
        return self.mark(outcome, size, {"size": size})

    def report(self, context: Context, outcome: Outcome) -> str:
        """Return the failures by cause, with one log per group."""
        ended = [submission.result for submission in outcome.state.current if submission.result is not None]
        jobs: Any = next((result.details.get("jobs") for result in reversed(ended) if result.failures), None)
        group, region = group_of(jobs or []), self.clients.region
        streams = [failure.log_stream for failure in outcome.failures if failure.log_stream]
        if streams:
            push_links(context, {FailedIndexLogLink: log_stream(region, group, streams[0])})
        return failure_report(
            self.clients,
            outcome.failures,
            size=self._size_of(outcome),
            done=len(outcome.state.done),
            failed=outcome.failed,
            log_group_name=group,
            link=lambda stream: log_stream(region, group, stream),
            replay=self.identity.replay_command(),
        )
