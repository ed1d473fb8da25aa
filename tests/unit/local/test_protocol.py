"""Requests and responses according to botocore's service models."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from airflow_batchemr.local.protocol import Api, AwsError, Call


def api(service="batch", invalid="ClientException", **operations):
    return Api(service, operations, invalid)


def test_the_path_selects_a_batch_operation():
    """Path and query contain the parameters."""
    call = api().read("DELETE", "/v1/tags/arn%3Ax", "tagKeys=a&tagKeys=b", {}, "eu-west-1")
    assert call == Call("UntagResource", {"resourceArn": "arn:x", "tagKeys": ["a", "b"]}, "eu-west-1")


def test_parameters_in_path_and_query_get_their_names_and_types():
    """The id of a job run is `id` although its path has jobRunId. A path does not match that of a shorter operation."""
    eks = api("emr-containers")
    described = eks.read("GET", "/virtualclusters/v1/jobruns/r1", "", {}, "us-east-1")
    assert described == Call("DescribeJobRun", {"id": "r1", "virtualClusterId": "v1"})
    listed = eks.read("GET", "/virtualclusters/v1/jobruns", "maxResults=2&states=FAILED", {}, "us-east-1")
    assert listed == Call("ListJobRuns", {"virtualClusterId": "v1", "maxResults": 2, "states": ["FAILED"]})
    tags = eks.read("GET", "/tags/arn:aws:emr-containers:us-east-1:1:/virtualclusters/v1", "", {}, "us-east-1")
    assert tags == Call(
        "ListTagsForResource", {"resourceArn": "arn:aws:emr-containers:us-east-1:1:/virtualclusters/v1"}
    )


def test_the_target_header_selects_an_emr_operation():
    """The header is X-Amz-Target."""
    headers = {"X-Amz-Target": "ElasticMapReduce.ListSteps"}
    assert api("emr").read("POST", "/", "", headers, "us-east-1").operation == "ListSteps"


@pytest.mark.parametrize("path", ["/v1/nothing", "/"])
def test_an_unknown_path_is_an_error(path):
    """The status is 404."""
    with pytest.raises(AwsError, match="no operation for") as caught:
        api().read("POST", path, "", {}, "us-east-1")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "SerializationException"),
        (b"[]", "SerializationException"),
        (b"{}", "ClientException"),
        (b'{"jobs": "x"}', "ClientException"),
        (b'{"jobs": ["x"], "colour": 1}', "ClientException"),
    ],
)
def test_an_invalid_body_is_rejected(body, code):
    """Invalid JSON, a missing member, a wrong type, or an unknown member."""
    with pytest.raises(AwsError) as caught:
        api().fill(Call("DescribeJobs"), body)
    assert code == caught.value.code


def test_empty_tags_are_accepted():
    """The model requires at least one, but the amazon provider's BatchOperator sends none by default."""
    request = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d", "tags": {}}
    assert request == api().fill(Call("SubmitJob"), json.dumps(request).encode()).params


def test_an_invalid_response_is_an_internal_error():
    """It is not sent."""
    with pytest.raises(TypeError, match="is invalid"):
        api(DescribeJobs=lambda _: {"jobs": [{"jobId": 1}]}).run(Call("DescribeJobs"))


def test_times_are_epoch_seconds():
    """Including milliseconds, in both protocols."""
    when = datetime(2026, 11, 20, 10, 0, 0, 250_000, timezone.utc)
    status = {"Status": {"Timeline": {"CreationDateTime": when}}}
    reply = api("emr", DescribeCluster=lambda _: {"Cluster": status}).run(Call("DescribeCluster"))
    assert json.loads(reply.body)["Cluster"]["Status"]["Timeline"]["CreationDateTime"] == when.timestamp()


@pytest.mark.parametrize(
    ("service", "operation", "status"),
    [
        ("batch", "ListServiceJobs", 404),
        ("emr", "ListStudios", 400),
        ("emr-serverless", "GetDashboardForJobRun", 404),
        ("emr-containers", "ListJobTemplates", 404),
    ],
)
def test_an_operation_that_is_not_served_is_unknown(service, operation, status):
    """A client can distinguish it from an invalid request."""
    with pytest.raises(AwsError, match=f"{operation} is not served by the local AWS") as caught:
        api(service).run(Call(operation))
    assert ("UnknownOperationException", status) == (caught.value.code, caught.value.status)


@pytest.mark.parametrize(
    ("service", "error", "headers", "body"),
    [
        (
            "batch",
            AwsError("ClientException", "m"),
            {"Content-Type": "application/json", "x-amzn-ErrorType": "ClientException"},
            {"message": "m"},
        ),
        (
            "emr",
            AwsError("ValidationException", "m"),
            {"Content-Type": "application/x-amz-json-1.1"},
            {"__type": "ValidationException", "message": "m"},
        ),
        (
            "emr",
            AwsError("InvalidRequestException", "m", members={"ErrorCode": "NoSuchCluster"}),
            {"Content-Type": "application/x-amz-json-1.1"},
            {"__type": "InvalidRequestException", "Message": "m", "ErrorCode": "NoSuchCluster"},
        ),
    ],
)
def test_errors_have_the_form_of_the_protocol(service, error, headers, body):
    """The code is in a header or in the body; the model names the members."""
    reply = api(service).error(error)
    assert (headers, body, 400) == (dict(reply.headers), json.loads(reply.body), reply.status)


def test_internal_failures_have_the_code_of_the_operation():
    """EMR has two names for them."""
    emr = api("emr")
    codes = [emr.failure(name) for name in ("RunJobFlow", "DescribeCluster", "GetManagedScalingPolicy")]
    assert ["InternalServerError", "InternalServerException", "InternalFailure"] == codes
    assert "ServerException" == api().failure("ListJobs")


def test_a_null_in_a_response_is_an_internal_error():
    """It is not sent."""
    with pytest.raises(TypeError, match="'nextToken' is null"):
        api(ListJobs=lambda _: {"jobSummaryList": [], "nextToken": None}).run(Call("ListJobs"))
