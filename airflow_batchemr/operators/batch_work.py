"""How a Batch operator brings its job forward: out of the ledger, into the ledger."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr.aws.batch import explicit, limits
from airflow_batchemr.aws.batch.advance import Advance
from airflow_batchemr.aws.batch.data_arrays import data_array
from airflow_batchemr.aws.batch.definitions import definition_request, ensure_definition
from airflow_batchemr.aws.batch.depend import parts_after
from airflow_batchemr.aws.batch.failure_report import failure_report, group_of
from airflow_batchemr.aws.batch.queues import check_queue
from airflow_batchemr.aws.batch.requests import submission_requests
from airflow_batchemr.aws.batch.results import REFUSED
from airflow_batchemr.aws.batch.runnable import explain
from airflow_batchemr.aws.batch.submissions import BatchSubmissions, done_folder
from airflow_batchemr.aws.emr.running_cluster import serving
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.waiters import attach, cleared, still_ours
from airflow_batchemr.ledger import Ledger, Marker
from airflow_batchemr.links.base import log_stream, push_links
from airflow_batchemr.links.batch import BatchJobLink, BatchQueueLink, FailedIndexLogLink
from airflow_batchemr.links.history import HistoryLink
from airflow_batchemr.links.ledger import LedgerLink
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.triggers.batch import BatchJobsTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_batchemr.aws.batch.advance import Step
    from airflow_batchemr.aws.batch.data_arrays import DataArray
    from airflow_batchemr.aws.batch.options import BatchWords
    from airflow_batchemr.engine.decide import SubmissionPlan
    from airflow_batchemr.ledger import HandleJob, LedgerState, Request
    from airflow_batchemr.links.base import AwsLink

#: Seconds that a killed task takes at most to end its jobs: Airflow sends SIGKILL soon after SIGTERM.
KILL_TIMEOUT = 20.0
#: States of a task in which it will not submit anything any more by itself.
GIVEN_UP = frozenset({"failed", "upstream_failed", "skipped", "removed"})


class BatchWork(LedgerOperator):
    """The work of `BatchArrayOperator`, which has its arguments."""

    job_queue: str | None
    array: Any
    cluster: str | None
    index_of: str | None
    explicit_success: bool
    wait_for_children: bool
    deadline: int | None
    runnable_timeout: int | None
    _killed: threading.Event

    @abstractmethod
    def words(self) -> BatchWords:
        """The job's Batch words, templates filled in."""

    def work(
        self, context: Context, state: LedgerState, rerun_token: str | None, event: Mapping[str, Any] | None
    ) -> Any:
        """Bring the job forward: submit what is left, wait for what runs, mark what is done."""
        words = self.words()
        words.check_definition()
        options = self.array if isinstance(self.array, dict) else {"size": 1 if self.array is None else self.array}
        in_job = options.get("markers") == "in_job"
        if self.index_of is not None and "size" not in options:
            raise AirflowFailException("index_of: joining arrays index by index needs an array of a fixed size")
        data = None if "size" in options else data_array(self.clients, self.ledger, options, rerun_token)
        size = int(options["size"]) if data is None else data.size
        if data is None:
            limits.check_size(size)
        submissions = BatchSubmissions(
            self.clients,
            self.ledger,
            self.identity,
            in_job=in_job,
            dependent=self.index_of is not None,
            waits_for_children=self.wait_for_children,
            stopping=self._killed.is_set,
        )
        self.engine = advance = Advance(
            submissions,
            self.ledger,
            size,
            self._requests(words, size, data, self.ledger.document_uri(done_folder(rerun_token)) if in_job else None),
            memory_sizes=max(1, len(words.memory_steps)),
            resumable=words.preamble,
        )
        step = advance.run(state, rerun_token, event.get("before") if event else None)
        if (began := advance.size_of(step.state)) != size:
            self.log.warning("This run began with %s indices: the %s of now count from the next run on", began, size)
            size = began
        if step.action == "wait":
            if step.hindered is not None:
                self.log.error("Nothing more can be submitted: %s. It is waited for what runs", step.hindered)
            if event:
                self._end_if_due(event, submissions, step)
            if self.index_of is not None and not step.waits:
                self._check_followed(self.index_of)
            self._defer(context, step, size, submissions.children)
        if step.action == "mark":
            return self._finish(step, size)
        refused = any(failure.cause == REFUSED for failure in step.failures)  # a retry would be refused, too
        raise (AirflowFailException if refused else AirflowException)(self._report(context, step, size))

    def skipped(self, state: LedgerState, context: Context) -> Any:
        """Tell that nothing is left to do, also of a run that was done with another number of indices."""
        size = self.array.get("size") if isinstance(self.array, dict) else self.array or 1
        if state.marker is not None and size is not None and int(size) != state.marker.size:
            self.log.warning(
                "This run was done with %s indices: the %s of now count from the next run on", state.marker.size, size
            )
        return super().skipped(state, context)

    def _requests(self, words: BatchWords, size: int, data: DataArray | None, done_uri: str | None) -> Any:
        """Makes the requests of an attempt; looks at queue and definition before the first one."""
        found: dict[str, Any] = {}
        steps = words.memory_steps

        def build(
            definition: Mapping[str, Any],
            plan: SubmissionPlan,
            environment: dict[str, str],
            after: list[tuple[IndexSet, str | None]] | None = None,
        ) -> list[Request]:
            return submission_requests(
                words,
                definition,
                self.identity,
                plan.number,
                plan.indices,
                size=size,
                memory=steps[plan.memory_step] if steps else None,
                environment=environment,
                values=data.values(self.ledger, plan.indices) if data else None,
                after=after,
                done_uri=done_uri,
            )

        def requests(plan: SubmissionPlan) -> list[Request]:
            if not found:
                if words.registered is None:  # what can be told without AWS is told before anything is registered there
                    one = IndexSet.of([plan.indices.lowest])
                    first = replace(plan, indices=one) if words.preamble else plan
                    build({**definition_request(words), "jobDefinitionArn": "own"}, first, {})
                check_queue(self.clients, words.queue)
                found.update(ensure_definition(self.clients, words))
            after = None if self.index_of is None else parts_after(self._read(self.index_of), plan.indices)
            if after == []:
                return []
            environment = self._cluster_environment()
            if self.explicit_success:
                environment |= explicit.environment(self.ledger, plan.number, size)
            return build(found, plan, environment, after)

        return requests

    def _read(self, job: str) -> LedgerState:
        """The ledger of another job of this run."""
        identity = self.identity
        return Ledger(self.clients.s3, identity.state).job(identity.dag_id, identity.run_key, job).read()

    def _check_followed(self, job: str) -> None:
        """Nothing of this job runs, and what is left waits for the job that it follows: see that it is to come.

        Raises:
            AirflowException: it has failed, so that what this one waits for will not come.
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        who = self.identity
        states = RuntimeTaskInstance.get_task_states(dag_id=who.dag_id, task_ids=[job], run_ids=[who.run_id])
        state = states.get(who.run_id, {}).get(job)
        if state in GIVEN_UP:
            raise AirflowException(f"{job}, which this job follows index by index, is {state}: clear both to go on")

    def _cluster_environment(self) -> dict[str, str]:
        if self.cluster is None:
            return {}
        identity = self.identity
        theirs = Ledger(self.clients.s3, identity.state).job(identity.dag_id, identity.run_key, self.cluster)
        return serving(self.clients, theirs).environment()

    def _end_if_due(self, event: Mapping[str, Any], submissions: BatchSubmissions, step: Step) -> None:
        """Stop what runs for longer than it may, and say so."""
        if event.get("status") == "deadline":
            submissions.stop(step.waits, "the deadline is over", by="deadline")
            raise AirflowFailException(
                f"The deadline of {self.deadline} s since the first submission is over: stopped. The indices that are "
                "done will not run again"
            )
        if event.get("status") == "runnable":
            reasons = explain(self.clients, event["job"])
            submissions.stop(step.waits, "it did not start in time", by="runnable_timeout")
            raise AirflowException(
                f"Job {event['job']} was RUNNABLE for {event['seconds']} s, longer than the runnable_timeout of "
                f"{self.runnable_timeout} s: stopped. {'; '.join(reasons)}"
            )

    def _defer(self, context: Context, step: Step, size: int, children: Mapping[int, list[str]]) -> None:
        numbers = [submission.number for submission in step.waits]
        known = [job for submission in step.waits if submission.handle for job in submission.handle.jobs]
        self._push_links(context, known)
        for submission in step.waits:
            self.log.info("Waiting for attempt %s: indices %s", submission.number, submission.indices)
        attach(self.ledger, self.identity, numbers)
        self.defer(
            trigger=BatchJobsTrigger(
                jobs={
                    job.job_id: job.indices.text()
                    for submission in step.waits
                    if submission.handle and not children.get(submission.number)
                    for job in submission.handle.jobs
                },
                children=[child for number in numbers for child in children.get(number, ())],
                size=size,
                done=len(step.state.done),
                runnable_timeout=self.runnable_timeout,
                identity=self.identity.values(),
                submissions=numbers,
                before=sorted(step.before),
                aws_conn_id=self.aws_conn_id,
                region=self.region,
                deadline=self._deadline(step),
                wake_at=None if step.wake_after is None else time.time() + step.wake_after,
            ),
            method_name="resume",
        )

    def _push_links(self, context: Context, known: list[HandleJob]) -> None:
        region = self.clients.region
        addresses: dict[type[AwsLink], str] = {
            HistoryLink: HistoryLink.address(self.identity),
            LedgerLink: LedgerLink.address(region, self.ledger.uri),
        }
        if known:
            addresses[BatchJobLink] = BatchJobLink.address(region, known[0].job_id, array=len(known[0].indices) > 1)
        if self.job_queue:
            addresses[BatchQueueLink] = BatchQueueLink.address(region, self.job_queue)
        push_links(context, addresses)

    def _deadline(self, step: Step) -> float | None:
        if self.deadline is None:
            return None
        # A person who clears the task gives it its time anew: else what is left would be stopped as it starts
        over = cleared(self.ledger, self.identity, sorted(step.before)) if self.identity.try_number > 1 else ()
        counted = [submission.claimed_at for submission in step.state.current if submission.number not in over]
        first = min((claimed_at for claimed_at in counted if claimed_at), default=None)
        return (first.timestamp() if first else time.time()) + self.deadline

    def _finish(self, step: Step, size: int) -> Any:
        xcom = {
            "run_key": self.identity.run_key,
            "job": self.identity.job,
            "size": size,
            "submissions": len(step.state.numbers),
            "ledger": self.ledger.uri,
        }
        submission = max(step.state.numbers, default=0)
        return self.mark(Marker(submission=submission, size=size, rerun_token=step.state.rerun_token, xcom=xcom))

    def _report(self, context: Context, step: Step, size: int) -> str:
        ended = [submission.result for submission in step.state.current if submission.result is not None]
        jobs: Any = next((result.details.get("jobs") for result in reversed(ended) if result.failures), None)
        group, region = group_of(jobs or []), self.clients.region
        streams = [failure.log_stream for failure in step.failures if failure.log_stream]
        if streams:
            push_links(context, {FailedIndexLogLink: log_stream(region, group, streams[0])})
        return failure_report(
            self.clients,
            step.failures,
            size=size,
            done=len(step.state.done),
            failed=step.failed,
            log_group_name=group,
            link=lambda stream: log_stream(region, group, stream),
            replay=self._replay(),
        )

    def _replay(self) -> list[str]:
        who = self.identity
        return ["batchemr", "replay", who.dag_id, who.run_key, who.job, "--state", who.state]

    def on_kill(self) -> None:
        """End what this task has started: it was cleared, marked or killed while it worked."""
        self._killed.set()
        if not hasattr(self, "identity"):
            return
        # In a thread: the signal may have interrupted a call that holds locks, and Airflow does not wait long.
        thread = threading.Thread(target=self._stop_all, name="batchemr on_kill", daemon=True)
        thread.start()
        thread.join(KILL_TIMEOUT)

    def _stop_all(self) -> None:
        submissions = BatchSubmissions(self.clients, self.ledger, self.identity)
        running = still_ours(self.ledger, self.identity, self.ledger.read().open_submissions)
        self.log.info("Killed: stopping attempts %s", [submission.number for submission in running])
        submissions.stop(running, "the task was killed", by=f"try {self.identity.try_number}")
