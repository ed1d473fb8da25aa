"""Calls about jobs and their queues: submit, find, describe, list children, terminate."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import AwsError, InvalidRequest, Refused, UnexpectedAnswer, member
from airflow_batchemr.aws.rate import Rate
from airflow_batchemr.aws.retry import call_again, call_once, call_optionally, pages
from airflow_batchemr.ledger import Handle, HandleJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import Request

#: AWS: ids per DescribeJobs, and children per page of ListJobs.
DESCRIBE_CHUNK = 100
#: AWS: ids per TerminateJobs.
TERMINATE_CHUNK = 50
#: Half of AWS's 50 SubmitJob calls per second and account; the rest is left to others.
SUBMITS_A_SECOND = 25.0
FINAL = frozenset({"SUCCEEDED", "FAILED"})
#: States of a job that has not ended.
LIVING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
#: Prefix of the status reason of jobs that this package terminates, to distinguish them from jobs that failed.
OUR_REASON = "airflow-batchemr: "


_rate = Rate(SUBMITS_A_SECOND)


def submit(clients: Clients, request: dict[str, Any], *, sleep: Callable[[float], object] = time.sleep) -> str:
    """Call SubmitJob within the account's rate; returns the job id.

    Raises:
        Refused, Throttled: the call was not carried out.
        Unknown: it may have been carried out: search for the job by its name.
    """
    _rate.wait(sleep)
    client = clients.once("batch")
    answer = call_once(lambda: client.submit_job(**request), "batch:SubmitJob", sleep=sleep)
    return str(member(answer, "jobId", "batch:SubmitJob"))


def submit_request(clients: Clients, request: Request, *, sleep: Callable[[float], object] = time.sleep) -> Handle:
    """SubmitJob of a recorded request; gives the handle of its job. Raises as `submit`."""
    job_id = submit(clients, dict(request.request), sleep=sleep)
    return Handle(kind="batch", jobs=[HandleJob(job_id=job_id, name=request.name, indices=request.indices)])


def check_queue(clients: Clients, queue: str) -> None:
    """Check that a queue exists and accepts jobs: one DescribeJobQueues. SubmitJob would refuse it, too.

    Raises:
        InvalidRequest: there is no such queue, or it is disabled.
    """
    client = clients.optional("batch")
    answer = call_optionally(lambda: client.describe_job_queues(jobQueues=[queue]), "batch:DescribeJobQueues")
    if answer is None:
        return
    found = member(answer, "jobQueues", "batch:DescribeJobQueues")
    if not found:
        raise InvalidRequest(f"queue: AWS Batch has no job queue {queue!r} in this region. Check its name and region")
    if found[0].get("state") == "DISABLED":
        raise InvalidRequest(f"queue: the job queue {queue!r} is disabled. Enable it or name another one")


def queue_names(clients: Clients) -> list[str]:
    """Names of all job queues of the account in this region that accept SubmitJob: DescribeJobQueues, 100 per call."""
    found = pages(
        lambda **token: clients.batch.describe_job_queues(maxResults=100, **token),
        "jobQueues",
        "batch:DescribeJobQueues",
        "jobQueueName",
    )
    # SageMaker's queues hold service jobs, which ListJobs does not list
    return [one["jobQueueName"] for one in found if one.get("jobQueueType") != "SAGEMAKER_TRAINING"]


def find(clients: Clients, queue: str, prefix: str) -> list[dict[str, Any]]:
    """Jobs of a queue in any status whose names begin with `prefix`, oldest first: ListJobs, 100 per page.

    Returns summaries: jobId, jobName, status, createdAt. With a filter, AWS leaves out reasons and other times.
    """
    # A filter by name returns all statuses; children of arrays are listed with arrayJobId only
    found = _listed(clients, jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [f"{prefix}*"]}])
    # AWS's filter ignores case (ListJobs in the API reference)
    return sorted((job for job in found if job["jobName"].startswith(prefix)), key=created_at)


def created_at(job: Mapping[str, Any]) -> int:
    """When a job was created, in milliseconds since the epoch by AWS's clock."""
    return int(job.get("createdAt", 0))


def living(clients: Clients, queue: str) -> Iterator[dict[str, Any]]:
    """Jobs of a queue that have not ended: ListJobs for each status, 100 per page.

    The statuses are listed in the order in which a job passes through them, so that none is missed.
    """
    for status in LIVING:
        yield from _listed(clients, jobQueue=queue, jobStatus=status)


def children(clients: Clients, parent: str, status: str) -> Iterator[dict[str, Any]]:
    """Children of an array in one status, 100 per call: summaries with status reason, exit code and index."""
    return _listed(clients, arrayJobId=parent, jobStatus=status)


def _listed(clients: Clients, **arguments: Any) -> Iterator[dict[str, Any]]:
    return pages(
        lambda **token: clients.batch.list_jobs(**arguments, **token, maxResults=100),
        "jobSummaryList",
        "batch:ListJobs",
        "jobId",
        "jobName",
    )


def described(answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The jobs in an answer of DescribeJobs by their ids; raises `UnexpectedAnswer`."""
    found = {}
    for job in member(answer, "jobs", "batch:DescribeJobs"):
        for name in ("jobName", "status"):
            member(job, name, "batch:DescribeJobs")
        found[member(job, "jobId", "batch:DescribeJobs")] = job
    return found


def describe(clients: Clients, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Jobs by their ids, 100 per call; those that AWS does not know are left out.

    Raises:
        AwsError: a call failed, or its answer has no jobs.
    """
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), DESCRIBE_CHUNK):
        chunk = list(ids[start : start + DESCRIBE_CHUNK])
        answer = call_again(lambda: clients.batch.describe_jobs(jobs=chunk), "batch:DescribeJobs")  # noqa: B023
        found |= described(answer)
    return found


def states(found: Iterable[Mapping[str, Any]]) -> str:
    """The statuses of jobs for display, with children counted: `RUNNING`, or `RUNNABLE 40, SUCCEEDED 60`."""
    counts: Counter[str] = Counter()
    for job in found:
        children_ = (job.get("arrayProperties") or {}).get("statusSummary") or {job["status"]: 1}
        counts.update({status: int(count) for status, count in children_.items() if count})
    if counts.total() == 1:
        return next(iter(counts))
    return ", ".join(f"{status} {counts[status]:,}" for status in (*LIVING, "SUCCEEDED", "FAILED") if counts[status])


def terminate(clients: Clients, ids: Sequence[str], reason: str) -> None:
    """End running jobs and cancel waiting ones; an array's parent ends its children: TerminateJobs, 50 per call.

    TerminateJob for a single one, and for those that TerminateJobs does not accept. A job in PENDING ends only once the
    jobs that it depends on have ended (CancelJob in the API reference). A job that has ended, or that AWS has deleted,
    is no error.

    Raises:
        AwsError: the first one, after all calls have been made.
    """
    reason = f"{OUR_REASON}{reason}"[:256]
    left, failure = _terminate_together(clients, ids, reason)
    for id_ in left:
        try:
            call_again(lambda: clients.batch.terminate_job(jobId=id_, reason=reason), "batch:TerminateJob")  # noqa: B023
        except InvalidRequest as error:
            job = describe(clients, [id_]).get(id_)
            if job is not None and job["status"] not in FINAL:
                failure = failure or error
        except AwsError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _terminate_together(clients: Clients, ids: Sequence[str], reason: str) -> tuple[list[str], AwsError | None]:
    """TerminateJobs; returns the ids that need a TerminateJob each, and the first failure.

    The operation is newer than the botocore of some installations, and than some endpoints. It needs no permission of
    its own: IAM allows it with `batch:TerminateJob` (as documented).
    """
    call = getattr(clients.batch, "terminate_jobs", None)
    if call is None or len(ids) < 2:
        return list(ids), None
    left: list[str] = []
    failure: AwsError | None = None
    for start in range(0, len(ids), TERMINATE_CHUNK):
        chunk = list(ids[start : start + TERMINATE_CHUNK])
        try:
            answer = call_again(lambda: call(jobs=chunk, reason=reason), "batch:TerminateJob")  # noqa: B023
            accepted = set(member(answer, "successful", "batch:TerminateJob"))
        except (Refused, UnexpectedAnswer):
            accepted = set()
        except AwsError as error:
            failure = failure or error
            continue
        left += [id_ for id_ in chunk if id_ not in accepted]
    return left, failure


def plain(answer: Any) -> Any:
    """Convert an answer of boto3 to plain JSON values: times become strings."""
    return json.loads(as_json(answer))


def as_json(answer: Any) -> bytes:
    """Convert an answer of boto3 to JSON."""
    return json.dumps(answer, default=str, separators=(",", ":")).encode()
