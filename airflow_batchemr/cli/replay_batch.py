"""`batchemr replay --batch`: the one index as a Batch job of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.submissions import BatchSubmissions
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.cli import common
from airflow_batchemr.cli.inventory import pages
from airflow_batchemr.cli.replay_mark import identity_of, marked
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.replay import single_request
from airflow_batchemr.ledger import Request

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.replay import Shard
    from airflow_batchemr.ledger import JobLedger, Submission

#: Seconds between looks at the job.
INTERVAL = 3.0
#: A queue calls its compute environments by either.
_CALLED = ("computeEnvironmentArn", "computeEnvironmentName")
#: Last lines of the job's log that are shown.
TAIL = 30


def run_on_batch(
    clients: Clients, state_uri: str, ledger: JobLedger, shard: Shard, *, instance_type: str | None, mark: bool
) -> int:
    """Submit, wait, show the log's end; Ctrl-C ends the job.

    With `mark` the job is an attempt like any other: claimed, recorded, and found by the next try of the task if this
    process dies.

    Returns:
        0 where it succeeded, else the program's exit code, or 1.
    """
    queue = queue_of(clients, str(shard.request["jobQueue"]), instance_type) if instance_type else None
    if not mark:
        name = f"{shard.intent.name.rpartition('-a')[0]}-replay-{shard.index}-{uuid4().hex[:8]}"
        job_id = jobs.submit(clients, single_request(shard, name, queue=queue))
        return _follow(clients, job_id)
    identity = identity_of(state_uri, shard.intent)
    submissions = BatchSubmissions(clients, ledger, identity)
    state = ledger.read()
    number = state.next_number
    name = identity.submission_name(number)
    request = single_request(shard, name, queue=queue, number=str(number))
    one = IndexSet.of([shard.index])
    submission = submissions.start(number, [Request(name=name, indices=one, request=request)], state, state.rerun_token)
    if submission is None:
        raise LookupError("somebody else has begun an attempt of this job at the same moment: try again")
    submission = _submitted(ledger, submissions, submission)
    code = _follow(clients, submission.handle.jobs[0].job_id) if submission.handle else 1
    result = submissions.conclude(submission, ledger.read()).result
    if result is not None and result.succeeded:
        common.say(marked(ledger, shard))
    return code


def _submitted(ledger: JobLedger, submissions: BatchSubmissions, submission: Submission) -> Submission:
    """Wait until it is known what became of a submit whose answer was lost."""
    while submission.handle is None:
        time.sleep(INTERVAL)
        submission = submissions.adopt(submission, ledger.read())
    if submission.handle.abandoned:
        raise LookupError("the job did not reach AWS: try again")
    return submission


def queue_of(clients: Clients, wanted: str, instance_type: str) -> str:
    """Find a queue whose machines are all of one type, the job's own first: Batch has no other way to ask for it.

    Raises:
        LookupError: there is none.
    """
    queues = pages(clients.batch.describe_job_queues, "jobQueues", "batch:DescribeJobQueues")
    queues = [queue for queue in queues if queue.get("state", "ENABLED") == "ENABLED"]
    queues.sort(key=lambda queue: wanted not in {queue["jobQueueName"], queue["jobQueueArn"]})
    called = pages(
        clients.batch.describe_compute_environments, "computeEnvironments", "batch:DescribeComputeEnvironments"
    )
    environments = {one[key]: one for one in called for key in _CALLED}
    partly = []
    for queue in queues:
        arns = [order["computeEnvironment"] for order in queue.get("computeEnvironmentOrder", [])]
        types = [set(environments.get(arn, {}).get("computeResources", {}).get("instanceTypes", [])) for arn in arns]
        if types and all(one == {instance_type} for one in types):
            return str(queue["jobQueueName"])
        if any(instance_type in one for one in types):
            partly.append(str(queue["jobQueueName"]))
    also = f" (these have it among others: {', '.join(partly)})" if partly else ""
    raise LookupError(
        f"no enabled queue has machines of type {instance_type} only{also}: make a compute environment with "
        f"instanceTypes [{instance_type}] and a queue on it"
    )


def _follow(clients: Clients, job_id: str) -> int:
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
        jobs.terminate(clients, [job_id], "the replay was interrupted")
        common.say("the job is being ended")
        return 130


def _ended(clients: Clients, job: dict[str, Any]) -> int:
    container = job.get("container", {})
    for line in _log(clients, container):
        common.say(f"  | {line}")
    if job["status"] == "SUCCEEDED":
        return 0
    common.say(": ".join(text for text in (job.get("statusReason"), container.get("reason")) if text))
    return int(container.get("exitCode") or 1)


def _log(clients: Clients, container: dict[str, Any]) -> list[str]:
    """Last lines of the job's log; a log that cannot be read is no reason to fail."""
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
    return [str(event["message"]) for event in answer["events"]]
