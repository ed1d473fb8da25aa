"""Jobs are terminated 50 per call where botocore, AWS and its permissions allow it."""

from __future__ import annotations

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.errors import AwsError, NotAllowed
from tests.integration.batch_engine import clients, eventually


@pytest.fixture
def held(aws):
    """`held(n)`: ids of jobs that wait for capacity."""
    batch = aws.client("batch")
    aws.faults.no_capacity("default")
    batch.register_job_definition(
        jobDefinitionName="held",
        type="container",
        containerProperties={
            "image": "x",
            "command": ["true"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        },
    )

    def submit(count):
        request = {"jobName": "held", "jobQueue": "default", "jobDefinition": "held"}
        ids = [batch.submit_job(**request)["jobId"] for _ in range(count)]
        aws.reset_requests()
        return ids

    yield submit
    aws.faults.no_capacity("default", capacity=True)


def reasons(aws, ids):
    described = jobs.describe(clients(), ids)
    return {(described[id_]["status"], described[id_].get("statusReason")) for id_ in ids}


STOPPED = {("FAILED", "airflow-batchemr: cleared")}


def calls(aws):
    return aws.requests()["TerminateJobs"], aws.requests()["TerminateJob"]


@pytest.mark.parametrize(("count", "expected"), [(1, (0, 1)), (2, (1, 0)), (50, (1, 0)), (120, (3, 0))])
def test_fifty_jobs_are_terminated_per_call(aws, held, count, expected):
    """A single one with TerminateJob, which every botocore has."""
    ids = held(count)
    jobs.terminate(clients(), ids, "cleared")
    assert expected == calls(aws)
    assert STOPPED == reasons(aws, ids)


def test_an_older_botocore_terminates_one_by_one(aws, held):
    """Such as that of Amazon MWAA, which has no TerminateJobs."""
    ids = held(3)
    old = clients()
    batch = old.batch

    class Older:
        def __getattr__(self, name):
            if name == "terminate_jobs":
                raise AttributeError(name)
            return getattr(batch, name)

    old._made["batch", "again"] = Older()
    jobs.terminate(old, ids, "cleared")
    assert (0, 3) == calls(aws)
    assert STOPPED == reasons(aws, ids)


def test_a_refused_call_falls_back_to_single_ones(aws, held):
    """A policy may name one job only, and an endpoint may not have the operation."""
    ids = held(3)
    aws.faults.plan("TerminateJobs", "refuse", times=10)
    jobs.terminate(clients(), ids, "cleared")
    assert (1, 3) == calls(aws)
    assert STOPPED == reasons(aws, ids)


def test_an_operation_that_the_endpoint_does_not_know_falls_back_to_single_ones(aws, held):
    """It is no outage."""
    ids = held(2)
    made = clients()

    def unknown(**_):
        error = {"Code": "UnknownOperationException", "Message": "no such operation"}
        raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 404}}, "TerminateJobs")

    made.batch.terminate_jobs = unknown
    jobs.terminate(made, ids, "cleared")
    assert (0, 2) == calls(aws)
    assert STOPPED == reasons(aws, ids)


def test_jobs_with_an_error_are_terminated_singly(aws, held):
    """The response lists them; the others have been terminated."""
    ids = held(3)
    jobs.terminate(clients(), [*ids, "not-an-id"], "cleared")
    assert (1, 1) == calls(aws)
    assert STOPPED == reasons(aws, ids)


def test_a_failure_of_one_call_does_not_prevent_the_next(aws, held):
    """The failure is raised after all calls."""
    ids = held(60)
    aws.faults.plan("TerminateJobs", "error")
    once = clients().with_config(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    with pytest.raises(AwsError, match="batch:TerminateJob"):
        jobs.terminate(once, ids, "cleared")
    assert STOPPED == reasons(aws, ids[50:])
    assert STOPPED != reasons(aws, ids[:50])


def test_a_missing_permission_is_reported(aws, held):
    """Both calls need the same one."""
    ids = held(2)
    for operation in ("TerminateJobs", "TerminateJob"):
        aws.faults.plan(operation, "refuse", times=10)
    with pytest.raises(NotAllowed, match="needs the IAM action batch:TerminateJob on"):
        jobs.terminate(clients(), ids, "cleared")
    eventually(lambda: (1, 2) == calls(aws))
