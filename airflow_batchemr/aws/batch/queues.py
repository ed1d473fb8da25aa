"""Job queues: whether they can take a job at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.retry import call_again

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients


def check_queue(clients: Clients, queue: str) -> dict[str, Any]:
    """Check that a queue exists and accepts jobs: one DescribeJobQueues.

    Returns:
        The queue as AWS describes it.

    Raises:
        InvalidRequest: there is no such queue, or it is disabled.
    """
    answer = call_again(lambda: clients.batch.describe_job_queues(jobQueues=[queue]), "batch:DescribeJobQueues")
    if not answer["jobQueues"]:
        raise InvalidRequest(f"queue: AWS Batch has no job queue {queue!r} in this region. Check its name and region")
    found: dict[str, Any] = answer["jobQueues"][0]
    if found.get("state") == "DISABLED":
        raise InvalidRequest(f"queue: the job queue {queue!r} is disabled. Enable it or name another one")
    return found


def queue_names(clients: Clients) -> list[str]:
    """Names of all job queues of the account in this region that accept SubmitJob: DescribeJobQueues, 100 per call."""
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = call_again(
            lambda: clients.batch.describe_job_queues(maxResults=100, **token),  # noqa: B023 - called at once
            "batch:DescribeJobQueues",
        )
        found = answer["jobQueues"]
        # SageMaker's queues hold service jobs, which ListJobs does not list
        names += [one["jobQueueName"] for one in found if one.get("jobQueueType") != "SAGEMAKER_TRAINING"]
        if not answer.get("nextToken"):
            return names
        token = {"nextToken": answer["nextToken"]}
