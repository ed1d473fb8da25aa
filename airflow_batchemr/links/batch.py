"""Links to AWS Batch."""

from __future__ import annotations

from urllib.parse import quote

from airflow_batchemr.links.base import AwsLink, console


class BatchJobLink(AwsLink):
    """Link to the job or array parent; if there are several, to the first of the latest submission."""

    name = "Batch job"

    @staticmethod
    def address(region: str, job_id: str, *, array: bool) -> str:
        """Return the console URL of the job."""
        return console(region, f"batch/home?region={region}#jobs/{'array-job' if array else 'detail'}/{quote(job_id)}")


class BatchQueueLink(AwsLink):
    """Link to the job queue."""

    name = "Job queue"

    @staticmethod
    def address(region: str, queue_arn: str) -> str:
        """Return the console URL of the job queue."""
        return console(region, f"batch/home?region={region}#queues/detail/{quote(queue_arn, safe='')}")


class FailedIndexLogLink(AwsLink):
    """Link to the log of the first failed index."""

    name = "Log of a failed index"
