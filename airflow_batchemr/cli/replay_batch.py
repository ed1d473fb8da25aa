"""`batchemr replay --batch`: a single index as a separate Batch job."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.remote import BatchRemote
from airflow_batchemr.aws.explicit_success import SUCCESS_URI, environment
from airflow_batchemr.aws.retry import call_again, pages
from airflow_batchemr.cli import common
from airflow_batchemr.cli.replay_mark import identity_of, marked
from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.job_container import container_of
from airflow_batchemr.core.log_lines import lines_of
from airflow_batchemr.engine.backend import NewSubmission, SubmissionPlan
from airflow_batchemr.engine.loop import Engine
from airflow_batchemr.engine.replay import single_request
from airflow_batchemr.engine.single_work import SingleWork
from airflow_batchemr.engine.submissions import adopt, conclude
from airflow_batchemr.ledger import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.engine.policy import Policy
    from airflow_batchemr.engine.replay import Shard
    from airflow_batchemr.ledger import Handle, JobLedger, LedgerState, Submission

#: Seconds between polls of the job.
INTERVAL = 3.0
#: A queue refers to its compute environments by name or ARN.
_ENVIRONMENT_KEYS = ("computeEnvironmentArn", "computeEnvironmentName")
#: Number of last log lines shown.
TAIL = 30
INTERRUPTED = "the replay was interrupted"


def run_on_batch(
    clients: Clients, state_uri: str, ledger: JobLedger, shard: Shard, *, instance_type: str | None, mark: bool
) -> int:
    """Submit the shard as a single job, wait for it and show the end of its log. Ctrl-C terminates the job.

    With `mark`, the job is a regular submission: it is claimed and recorded, and the next try of the task finds it if
    this process dies.

    Returns:
        0 on success, else the exit code of the program, or 1 if it has none.
    """
    queue = queue_of(clients, str(shard.request["jobQueue"]), instance_type) if instance_type else None
    if not mark:
        name = f"{shard.intent.name.rpartition('-a')[0]}-replay-{shard.index}-{uuid4().hex[:8]}"
        job_id = jobs.submit(clients, single_request(shard, name, queue=queue))
        return _follow(clients, job_id, lambda: jobs.terminate(clients, [job_id], INTERRUPTED))
    identity = identity_of(state_uri, shard.intent)
    remote = BatchRemote(clients, ledger, identity)
    backend = _OneIndex(clients, ledger, identity, shard, queue)
    state = ledger.read()
    plan = SubmissionPlan(state.next_number, IndexSet.of([shard.index]))
    policy = common.engine_policy()
    submission = Engine(backend, remote, ledger, identity, policy).submit(plan, state, state.rerun_token)
    if submission is None:
        raise LookupError("another process has claimed a submission of this job at the same time: try again")
    submission = _submitted(ledger, remote, submission, policy)
    remote.observe(submission)  # raises if somebody else has written the handle, and it names a stranger's job
    assert submission.handle is not None  # noqa: S101 - see `_submitted`
    job_id = submission.handle.jobs[0].job_id
    code = _follow(clients, job_id, lambda: remote.end([submission.number], [job_id], INTERRUPTED))
    result = _concluded(ledger, remote, submission).result
    if result is not None and result.succeeded:
        common.say(marked(ledger, shard))
    elif result is not None and code == 0:
        common.say("; ".join(failure.reason for failure in result.failures))
        return 1
    return code


@dataclass
class _OneIndex(SingleWork):
    """A backend that runs one recorded index as a single job; see `engine.backend.Backend`."""

    clients: Clients
    ledger: JobLedger
    identity: JobIdentity
    shard: Shard
    queue: str | None

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission:  # noqa: ARG002 - of the protocol
        """Return the recorded request, without its array."""
        name, shard = self.identity.submission_name(plan.number), self.shard
        if SUCCESS_URI in shard.environment:  # each submission has its own folder
            index = 0 if shard.size == 1 else None
            confirmed = environment(self.ledger, plan.number, index)
            shard = replace(shard, environment={**shard.environment, **confirmed})
        request = single_request(shard, name, queue=self.queue, number=str(plan.number))
        return NewSubmission("batch", [Request(name=name, indices=plan.indices, request=request)])

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:
        """Call SubmitJob."""
        return jobs.submit_request(self.clients, request, sleep=sleep)

    def stays(self, submission: Submission) -> bool:  # noqa: ARG002 - of the protocol
        """Return False, because jobs are never idle."""
        return False


def _submitted(ledger: JobLedger, remote: BatchRemote, submission: Submission, policy: Policy) -> Submission:
    """Wait until the outcome of a SubmitJob call whose response was lost is known."""
    while submission.handle is None:
        time.sleep(INTERVAL)
        submission = adopt(ledger, remote, submission, ledger.read(), policy)
    if submission.handle.abandoned:
        raise LookupError("the job was not submitted: try again")
    return submission


def _concluded(ledger: JobLedger, remote: BatchRemote, submission: Submission) -> Submission:
    """Record the result of a job that has ended, when AWS shows the end of it and its children."""
    while (observation := remote.observe(submission)).status != "ended":
        time.sleep(INTERVAL)
    return conclude(ledger, remote, submission, observation)


def queue_of(clients: Clients, wanted: str, instance_type: str) -> str:
    """Find a queue whose instances are all of one type, preferring the job's own queue.

    Batch accepts an instance type only for multi-node jobs, so the queue has to select it.

    Raises:
        LookupError: No enabled queue qualifies.
    """
    found = pages(
        clients.batch.describe_job_queues, "jobQueues", "batch:DescribeJobQueues", "jobQueueName", "jobQueueArn"
    )
    queues = [queue for queue in found if queue.get("state", "ENABLED") == "ENABLED"]
    queues.sort(key=lambda queue: wanted not in {queue["jobQueueName"], queue["jobQueueArn"]})
    found = pages(
        clients.batch.describe_compute_environments,
        "computeEnvironments",
        "batch:DescribeComputeEnvironments",
        *_ENVIRONMENT_KEYS,
    )
    environments = {one[key]: one for one in found for key in _ENVIRONMENT_KEYS}
    partly = []
    for queue in queues:
        arns = [order["computeEnvironment"] for order in queue.get("computeEnvironmentOrder", [])]
        types = [set(environments.get(arn, {}).get("computeResources", {}).get("instanceTypes", [])) for arn in arns]
        if types and all(one == {instance_type} for one in types):
            return str(queue["jobQueueName"])
        if any(instance_type in one for one in types):
            partly.append(str(queue["jobQueueName"]))
    also = f" (these have it among other types: {', '.join(partly)})" if partly else ""
    raise LookupError(
        f"no enabled queue has only instances of type {instance_type}{also}: create a compute environment with "
        f"instanceTypes [{instance_type}] and a queue for it"
    )


def _follow(clients: Clients, job_id: str, end: Callable[[], object]) -> int:
    common.say(f"job {job_id}")
    status = ""
    try:
        while True:
            job = jobs.describe(clients, [job_id]).get(job_id)
            if job is not None and job["status"] != status:
                status = job["status"]
                common.say(status)
            if job is not None and status in jobs.FINAL:
                return _ended(clients, job)
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        end()
        common.say("terminating the job")
        return 130


def _ended(clients: Clients, job: dict[str, Any]) -> int:
    container = container_of(job)
    for line in _log(clients, container):
        common.say("  | " + clean(line).replace("\n", "\n  | "))
    if job["status"] == "SUCCEEDED":
        return 0
    common.say(": ".join(text for text in (job.get("statusReason"), container.get("reason")) if text))
    return int(container.get("exitCode") or 1)


def _log(clients: Clients, container: dict[str, Any]) -> list[str]:
    """Return the last lines of the job's log. Failing to read the log is not an error."""
    from airflow_batchemr.aws.errors import AwsError

    stream = container.get("logStreamName")
    options = container.get("logConfiguration", {}).get("options", {})
    group = options.get("awslogs-group", "/aws/batch/job")
    if not stream:
        return []
    try:
        answer = call_again(
            lambda: clients.logs.get_log_events(
                logGroupName=group, logStreamName=stream, limit=TAIL, startFromHead=False
            ),
            "logs:GetLogEvents",
        )
    except AwsError as error:
        return [f"(log {group} {stream}: {error})"]
    return lines_of("\n".join(str(event.get("message", "")) for event in answer.get("events", ())))[-TAIL:]
