"""Jobs that the program of a job has started itself."""

from __future__ import annotations

from types import SimpleNamespace

from airflow_batchemr.aws.batch import children
from airflow_batchemr.aws.batch.results import JobEnd
from airflow_batchemr.core.indices import IndexSet

PREFIX = "dag-work-a0001-c-"


class BatchClient:
    """Has one queue with a failed ECS task: ListJobs has no exit code, DescribeJobs has it in `ecsProperties`."""

    described = 0

    def __init__(self, listed):
        self.listed = listed

    def describe_job_queues(self, **_):
        return {"jobQueues": [{"jobQueueName": "q"}]}

    def list_jobs(self, **_):
        return {"jobSummaryList": [{"jobId": "c", "jobName": f"{PREFIX}0-resize", "status": "FAILED", **self.listed}]}

    def describe_jobs(self, jobs):
        self.described += 1
        several = [{"name": "router", "essential": False, "exitCode": 143}, {"name": "app", "exitCode": 7}]
        task = {"ecsProperties": {"taskProperties": [{"containers": several}]}}
        return {"jobs": [{"jobId": "c", "jobName": f"{PREFIX}0-resize", "status": "FAILED", **task}]}


def settle(batch):
    ended = JobEnd(IndexSet.range(2), IndexSet.range(2))
    (one,) = children.settle(SimpleNamespace(batch=batch), PREFIX, [ended], stopped=False).ended
    return [(failure.index, failure.exit_code) for failure in one.failures]


def test_the_exit_code_of_a_failed_task_is_described():
    """The index that started it has failed with it."""
    assert [(0, 7)] == settle(BatchClient({}))


def test_a_failed_plain_container_needs_no_further_call():
    """ListJobs has its exit code."""
    batch = BatchClient({"container": {"exitCode": 3}})
    assert ([(0, 3)], 0) == (settle(batch), batch.described)
