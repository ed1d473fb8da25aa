"""Links of Batch jobs."""

from __future__ import annotations

from urllib.parse import quote

from airflow_batchemr.links.base import AwsLink, console


class BatchJobLink(AwsLink):
    """The job, or the array's parent; of several the first of the newest attempt."""

    name = "Batch job"

    @staticmethod
    def address(region: str, job_id: str, *, array: bool) -> str:
        """Where the console shows the job."""
        return console(region, f"batch/home?region={region}#jobs/{'array-job' if array else 'detail'}/{quote(job_id)}")


class BatchQueueLink(AwsLink):
    """The job queue."""

    name = "Job queue"

    @staticmethod
    def address(region: str, queue_arn: str) -> str:
        """Where the console shows the queue."""
        return console(region, f"batch/home?region={region}#queues/detail/{quote(queue_arn, safe='')}")


class FailedIndexLogLink(AwsLink):
    """The log of the first index that failed."""

    name = "Log of a failed index"
