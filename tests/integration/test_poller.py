"""All waits of a triggerer share one loop. Calls are counted by the local AWS."""

from __future__ import annotations

import asyncio
import time

import pytest
from botocore.exceptions import ClientError

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr.job_run import job_run_target
from airflow_batchemr.aws.errors import AwsError
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.triggers.batch import BatchJobsTrigger, jobs_poller
from airflow_batchemr.triggers.emr import emr_poller
from airflow_batchemr.triggers.emr_job_run import runs_poller
from airflow_batchemr.triggers.marker import markers_poller

#: Minimum seconds between two polls: the interval with its jitter.
LEAST = DEFAULT.batch_poll_shortest * 0.85


@pytest.fixture
def definition(aws):
    """A job definition that runs `sh`."""
    container = {
        "image": "busybox",
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
    }
    answer = aws.client("batch").register_job_definition(
        jobDefinitionName="held", type="container", containerProperties=container
    )
    return answer["jobDefinitionArn"]


def submit(aws, definition, work, number):
    """A job that runs until the file `go` exists. Jobs without a slot stay RUNNABLE."""
    command = ["sh", "-c", f"while [ ! -e {work.folder}/go ]; do sleep 0.1; done"]
    return aws.client("batch").submit_job(
        jobName=f"held-{number}", jobQueue="default", jobDefinition=definition, containerOverrides={"command": command}
    )["jobId"]


async def wait(job_id, state):
    identity = JobIdentity(state, "dag", "key", job_id, "run", "task")
    trigger = BatchJobsTrigger(jobs={job_id: "0"}, identity=identity.values(), submissions=[1], aws_conn_id=None)
    async for event in trigger.run():
        return event.payload["status"]


def test_a_hundred_deferred_jobs_take_one_describe_jobs_per_interval(aws, definition, work, state):
    """Each poll of 100 jobs is a single call."""
    ids = [submit(aws, definition, work, number) for number in range(100)]
    aws.reset_requests()

    async def main():
        started = time.monotonic()
        waits = [asyncio.create_task(wait(job_id, state)) for job_id in ids]
        while (calls := aws.requests()["DescribeJobs"]) < 3:
            await asyncio.sleep(0.05)
        intervals = (time.monotonic() - started) / LEAST
        (work.folder / "go").touch()
        return await asyncio.gather(*waits), calls, intervals

    statuses, calls, intervals = asyncio.run(main())
    assert ["ended"] * 100 == statuses
    assert 3 == calls
    assert calls <= intervals + 1
    assert 0 == aws.requests()["ListJobs"]


def test_throttling_does_not_fail_a_wait(aws, definition, work, state):
    """AWS throttles two polls in a row. The wait continues more slowly, and ends with the job."""
    job_id = submit(aws, definition, work, 0)
    aws.faults.throttle("DescribeJobs", times=2)
    aws.reset_requests()
    (work.folder / "go").touch()
    assert "ended" == asyncio.run(wait(job_id, state))
    assert 3 <= aws.requests()["DescribeJobs"]


def test_lost_connections_do_not_fail_a_wait(aws, definition, work, state):
    """They are opened again."""
    job_id = submit(aws, definition, work, 0)
    aws.faults.drop("DescribeJobs", times=2)
    (work.folder / "go").touch()
    assert "ended" == asyncio.run(wait(job_id, state))


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_replaced_credentials_do_not_end_a_wait(code):
    """A triggerer runs for weeks. It reads the connection's new credentials when AWS rejects the old ones."""
    keys = ["old", "new"]

    class Aws:
        def __init__(self, key):
            self.key = key

        def describe_jobs(self, jobs):
            if self.key == "old":
                raise ClientError({"Error": {"Code": code, "Message": "invalid token"}}, "DescribeJobs")
            return {"jobs": [{"jobId": id_, "jobName": "held", "status": "SUCCEEDED"} for id_ in jobs]}

    poller = jobs_poller(Clients(lambda *_: Aws(keys[0]), forget=lambda: keys.pop(0)))
    with pytest.raises(AwsError):
        poller._describe(["1"])
    assert "SUCCEEDED" == poller._describe(["1"])["1"].status


@pytest.mark.parametrize(
    "make",
    [
        jobs_poller,
        emr_poller,
        markers_poller,
        lambda clients: runs_poller(clients, job_run_target({"emr_serverless": {"application": "a", "role": "r"}})),
    ],
)
def test_the_configured_limit_of_refusals_applies_to_every_kind_of_wait(monkeypatch, make):
    """`[batchemr] refusal_limit`."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__REFUSAL_LIMIT", "7")
    assert 7.0 == make(Clients(None))._patience
