"""Requests and answers by botocore's models."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from airflow_batchemr.local.protocol import Api, AwsError, Call


def api(service="batch", invalid="ClientException", **operations):
    return Api(service, operations, invalid)


def test_batch_is_told_by_the_path():
    """With what the path and the query carry."""
    call = api().read("DELETE", "/v1/tags/arn%3Ax", "tagKeys=a&tagKeys=b", {}, "eu-west-1")
    assert call == Call("UntagResource", {"resourceArn": "arn:x", "tagKeys": ["a", "b"]}, "eu-west-1")


def test_members_of_path_and_query_have_their_names_and_types():
    """The id of a job run is `id` where its path has jobRunId; a path does not match that of a shorter operation."""
    eks = api("emr-containers")
    described = eks.read("GET", "/virtualclusters/v1/jobruns/r1", "", {}, "us-east-1")
    assert described == Call("DescribeJobRun", {"id": "r1", "virtualClusterId": "v1"})
    listed = eks.read("GET", "/virtualclusters/v1/jobruns", "maxResults=2&states=FAILED", {}, "us-east-1")
    assert listed == Call("ListJobRuns", {"virtualClusterId": "v1", "maxResults": 2, "states": ["FAILED"]})
    tags = eks.read("GET", "/tags/arn:aws:emr-containers:us-east-1:1:/virtualclusters/v1", "", {}, "us-east-1")
    assert tags == Call(
        "ListTagsForResource", {"resourceArn": "arn:aws:emr-containers:us-east-1:1:/virtualclusters/v1"}
    )


def test_emr_is_told_by_the_target():
    """X-Amz-Target names the operation."""
    headers = {"X-Amz-Target": "ElasticMapReduce.ListSteps"}
    assert api("emr").read("POST", "/", "", headers, "us-east-1").operation == "ListSteps"


@pytest.mark.parametrize("path", ["/v1/nothing", "/"])
def test_an_unknown_path_is_an_error(path):
    """With 404."""
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
def test_a_body_that_does_not_fit_is_refused(body, code):
    """Not JSON, a member missing, of the wrong type, or unknown."""
    with pytest.raises(AwsError) as caught:
        api().fill(Call("DescribeJobs"), body)
    assert code == caught.value.code


def test_an_answer_that_breaks_the_model_is_our_mistake():
    """It is not sent."""
    with pytest.raises(TypeError, match="is invalid"):
        api(DescribeJobs=lambda _: {"jobs": [{"jobId": 1}]}).run(Call("DescribeJobs"))


def test_times_are_seconds_since_the_epoch():
    """With milliseconds, in both protocols."""
    when = datetime(2026, 11, 20, 10, 0, 0, 250_000, timezone.utc)
    status = {"Status": {"Timeline": {"CreationDateTime": when}}}
    reply = api("emr", DescribeCluster=lambda _: {"Cluster": status}).run(Call("DescribeCluster"))
    assert json.loads(reply.body)["Cluster"]["Status"]["Timeline"]["CreationDateTime"] == when.timestamp()


def test_an_operation_that_is_not_served_says_so():
    """In the service's own error."""
    with pytest.raises(AwsError, match="ListServiceJobs is not served by the local AWS"):
        api().run(Call("ListServiceJobs"))
