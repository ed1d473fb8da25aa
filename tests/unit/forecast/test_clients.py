"""Clients that reject all calls except reads."""

from __future__ import annotations

import boto3
import pytest

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.forecast import ForecastWriteError, reading

WRITES = [
    ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b""}),
    ("s3", "delete_object", {"Bucket": "b", "Key": "k"}),
    ("batch", "submit_job", {"jobName": "n", "jobQueue": "q", "jobDefinition": "d"}),
    ("batch", "register_job_definition", {"jobDefinitionName": "n", "type": "container"}),
    ("batch", "terminate_job", {"jobId": "i", "reason": "r"}),
    ("emr", "run_job_flow", {"Name": "n", "Instances": {}}),
    ("emr", "add_job_flow_steps", {"JobFlowId": "j", "Steps": []}),
    ("emr", "terminate_job_flows", {"JobFlowIds": ["j"]}),
    ("emr", "cancel_steps", {"ClusterId": "j", "StepIds": ["s"]}),
    ("emr-serverless", "start_job_run", {"applicationId": "a", "executionRoleArn": "r", "clientToken": "t"}),
]


@pytest.fixture
def clients():
    """Read-only clients with an address without a server."""

    def make(service, config):
        return boto3.client(service, region_name="us-east-1", config=config, endpoint_url="http://127.0.0.1:9",
                            aws_access_key_id="a", aws_secret_access_key="s")  # fmt: skip

    return reading(Clients(make))


@pytest.mark.parametrize(("service", "call", "arguments"), WRITES)
@pytest.mark.parametrize("kind", ["get", "once", "polling"])
def test_no_write_is_sent(clients, service, call, arguments, kind):
    """For any operation and client."""
    client = getattr(clients, kind)(service)
    with pytest.raises(ForecastWriteError) as refused:
        call_again(lambda: getattr(client, call)(**arguments), call)
    assert arguments.keys() <= refused.value.request.keys()
    assert refused.value.operation.lower() == call.replace("_", "")


@pytest.mark.parametrize(("service", "call", "arguments"), [
    ("s3", "list_objects_v2", {"Bucket": "b"}),
    ("s3", "head_object", {"Bucket": "b", "Key": "k"}),
    ("batch", "describe_jobs", {"jobs": ["j"]}),
    ("emr", "list_clusters", {}),
    ("emr-serverless", "get_job_run", {"applicationId": "a", "jobRunId": "r"}),
])  # fmt: skip
def test_read_calls_are_sent(clients, service, call, arguments):
    """They fail only because there is no server."""
    with pytest.raises(Exception, match="Could not connect"):
        getattr(clients.once(service), call)(**arguments)
