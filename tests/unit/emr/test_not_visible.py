"""Only error responses that name its id mean that a cluster or a job run does not exist."""

from __future__ import annotations

import boto3
import pytest
from botocore.stub import Stubber

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.job_run_targets import Eks, Serverless
from airflow_batchemr.aws.emr.poll import EmrPoller
from airflow_batchemr.aws.errors import AwsError, NotFound, classify
from airflow_batchemr.triggers.emr_job_run import runs_poller

ROLE = "arn:aws:iam::123456789012:role/runs"
#: Code, HTTP status and message of responses that mean that the resource does not exist.
ABSENT = [
    ("ResourceNotFoundException", 404, "JobRun 00f1 does not exist"),
    ("ResourceNotFoundException", 400, "Job run 00f1 does not exist"),
    ("InvalidRequestException", 400, "Cluster id 'j-1ABC' is not valid."),
]
#: Responses that do not.
OTHERS = [
    ("ValidationException", 400, "1 validation error detected: value at 'clusterId' failed to satisfy constraint"),
    ("InvalidRequestException", 400, "The cluster does not support this operation"),
    ("InvalidRequestException", 400, "Marker is not valid."),
    ("InternalServerException", 400, "An internal error occurred"),
    ("InternalServerError", 500, "An internal error occurred"),
    ("RequestTimeout", 408, "The request timed out"),
    ("ConflictException", 409, "The resource is in use"),
    ("InvalidSignatureException", 400, "Signature expired"),
    ("SignatureDoesNotMatch", 403, "The request signature does not match"),
    ("AccessDeniedException", 400, "User is not authorized to perform this action"),
    ("ExpiredTokenException", 400, "The security token has expired"),
    ("ThrottlingException", 400, "Rate exceeded"),
]


class Stub:
    """A client whose next calls fail with a given response."""

    def __init__(self, service, call):
        # No server has this address, so that calls without a stub fail
        self.client = boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url="http://127.0.0.1:9",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )
        self.clients = Clients(lambda *_: self.client)
        self.call = call

    def answers(self, code, status, message):
        stub = Stubber(self.client)
        for _ in range(2):  # the poller repeats the call with new credentials
            stub.add_client_error(self.call, code, message, http_status_code=status)
        return stub


def cluster():
    stub = Stub("emr", "describe_cluster")
    return stub, lambda: clusters.describe(stub.clients, "j-1ABC")


def serverless():
    stub = Stub("emr-serverless", "get_job_run")
    return stub, lambda: Serverless("00f0", ROLE).describe(stub.clients, "00f1")


def eks():
    stub = Stub("emr-containers", "describe_job_run")
    return stub, lambda: Eks("vc1", ROLE).describe(stub.clients, "00f1")


def cluster_poll():
    stub = Stub("emr", "describe_cluster")
    poller = EmrPoller(stub.clients)
    return stub, lambda: poller._look(["j-1ABC"]) or None


def job_run_poll():
    stub = Stub("emr-serverless", "get_job_run")
    poller = runs_poller(stub.clients, Serverless("00f0", ROLE))
    return stub, lambda: poller._describe(["00f1"]) or None


LOOKS = [cluster, serverless, eks, cluster_poll, job_run_poll]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("answer", ABSENT, ids=lambda answer: f"{answer[0]}-{answer[1]}")
def test_no_such_resource_is_not_visible(look, answer):
    """The result is None, or the id is missing in a poll."""
    stub, describe = look()
    with stub.answers(*answer):
        assert describe() is None


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("answer", OTHERS, ids=lambda answer: f"{answer[0]}-{answer[1]}")
def test_every_other_error_is_raised(look, answer):
    """The resource may exist."""
    stub, describe = look()
    with stub.answers(*answer), pytest.raises(AwsError) as raised:
        describe()
    assert not isinstance(raised.value, NotFound)


@pytest.mark.parametrize(("answers", "absent"), [(ABSENT, True), (OTHERS, False)], ids=["absent", "others"])
def test_only_no_such_resource_is_classified_as_not_found(answers, absent):
    """For every operation."""
    for code, status, message in answers:
        stub = Stub("emr", "describe_cluster")
        with stub.answers(code, status, message), pytest.raises(Exception, match=code) as raised:
            stub.client.describe_cluster(ClusterId="j-1ABC")
        assert absent is isinstance(classify(raised.value), NotFound), code
