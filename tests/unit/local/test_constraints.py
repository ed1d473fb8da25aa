"""Responses that do not have the form of the service model."""

from __future__ import annotations

import json

import pytest

from airflow_batchemr.local.constraints import mismatches, violations
from airflow_batchemr.local.protocol import load
from tests.wire import problems

SUMMARY = {"jobId": "1", "jobName": "a"}
DETAIL = {**SUMMARY, "jobQueue": "q", "status": "RUNNING", "startedAt": 0, "jobDefinition": "d"}
RUN = {"id": "r", "createdAt": "2026-11-20T10:00:00Z", "state": "PENDING"}


def output(service, operation):
    return load(service).operation_model(operation).output_shape


@pytest.mark.parametrize(
    ("operation", "content", "expected"),
    [
        ("ListJobs", {"jobSummaryList": []}, []),
        ("ListJobs", {"jobSummaryList": [], "nextToken": None}, ["'nextToken' is null"]),
        ("ListJobs", {}, ["'jobSummaryList' is required"]),
        ("ListJobs", {"jobSummaryList": [], "jobs": []}, ["'jobs' is unknown"]),
        ("ListJobs", {"jobSummaryList": [None]}, ["'jobSummaryList' is null"]),
        ("ListJobs", {"jobSummaryList": {}}, ["'jobSummaryList' must be a list"]),
        (
            "ListJobs",
            {"jobSummaryList": [{**SUMMARY, "createdAt": 1.5}]},
            ["'jobSummaryList.createdAt' must be a long"],
        ),
        ("ListJobs", {"jobSummaryList": [{**SUMMARY, "isCancelled": 1}]}, ["isCancelled' must be a boolean"]),
        ("ListJobs", {"jobSummaryList": [{**SUMMARY, "createdAt": True}]}, ["createdAt' must be a long"]),
        ("ListJobs", [], ["'' must be a structure"]),
        ("DescribeJobs", {"jobs": [DETAIL]}, []),
        ("DescribeJobs", {"jobs": [{**DETAIL, "parameters": {"a": None}}]}, ["'jobs.parameters.a' is null"]),
        ("DescribeJobs", {"jobs": [{k: v for k, v in DETAIL.items() if k != "startedAt"}]}, ["startedAt' is required"]),
    ],
)
def test_unknown_missing_null_and_mistyped_members_are_found(operation, content, expected):
    """Also in lists, maps and nested structures."""
    found = list(mismatches(output("batch", operation), content))
    assert len(expected) == len(found)
    assert all(part in text for part, text in zip(expected, found, strict=True))


@pytest.mark.parametrize(("info", "valid"), [({"eksInfo": {"namespace": "n"}}, True), ({}, False)])
def test_a_union_has_one_member(info, valid):
    """The models have them for the place of a virtual cluster and the driver of a job run."""
    provider = {"type": "EKS", "id": "e", "info": info}
    content = {"virtualCluster": {"containerProvider": provider}}
    found = list(mismatches(output("emr-containers", "DescribeVirtualCluster"), content))
    wrong = ["'virtualCluster.containerProvider.info' must have exactly one member, not []"]
    assert found == ([] if valid else wrong)


@pytest.mark.parametrize(
    ("service", "operation", "content", "valid"),
    [
        ("emr-containers", "DescribeJobRun", {"jobRun": RUN}, True),
        ("emr-containers", "DescribeJobRun", {"jobRun": {**RUN, "createdAt": 1.0}}, False),
        ("emr", "ListClusters", {"Clusters": [{"Status": {"Timeline": {"CreationDateTime": 1.5}}}]}, True),
        ("emr", "ListClusters", {"Clusters": [{"Status": {"Timeline": {"CreationDateTime": "2026"}}}]}, False),
        ("emr", "ListClusters", {"Clusters": [{"Status": {"Timeline": {"CreationDateTime": True}}}]}, False),
    ],
)
def test_times_have_the_format_of_the_member(service, operation, content, valid):
    """Seconds since the epoch, or ISO 8601 where the model says so."""
    assert valid == (not list(mismatches(output(service, operation), content)))


@pytest.mark.parametrize(
    ("service", "operation", "content", "part"),
    [
        ("batch", "DescribeJobs", {"jobs": [{**DETAIL, "status": "WAITING"}]}, "'jobs.status'"),
        ("batch", "DescribeJobs", {"jobs": [{**DETAIL, "tags": {}}]}, "'jobs.tags'"),
        ("emr", "RunJobFlow", {"JobFlowId": "j" * 257}, "'JobFlowId'"),
        ("emr", "RunJobFlow", {"JobFlowId": "j\0"}, "'JobFlowId'"),
        ("emr-serverless", "StartApplication", {}, None),
        ("emr", "RunJobFlow", {"JobFlowId": "j-😀"}, None),
    ],
)
def test_values_outside_of_the_model_are_found(service, operation, content, part):
    """Enum, minimum, maximum and pattern. Java's patterns write characters above U+FFFF as surrogates."""
    found = list(violations(output(service, operation), content))
    assert ([part] if part else []) == [text.split(" ")[2] for text in found]


def test_actions_of_a_retry_ignore_case():
    """As documented for `evaluateOnExit`."""
    shape = load("batch").operation_model("SubmitJob").input_shape
    rules = [{"action": "retry"}, {"action": "never"}]
    (found,) = violations(shape, {"retryStrategy": {"evaluateOnExit": rules}})
    assert "not 'never'" in found


JSON = {"content-type": "application/json"}
EMR = {"content-type": "application/x-amz-json-1.1"}


@pytest.mark.parametrize(
    ("service", "operation", "status", "headers", "content", "valid"),
    [
        ("batch", "ListJobs", 400, JSON | {"x-amzn-errortype": "ClientException"}, {"message": "m"}, True),
        ("batch", "ListJobs", 404, JSON | {"x-amzn-errortype": "ClientException"}, {"message": "m"}, False),
        ("batch", "ListJobs", 400, JSON | {"x-amzn-errortype": "ClientException"}, {"Message": "m"}, False),
        ("batch", "ListJobs", 400, JSON | {"x-amzn-errortype": "ValidationException"}, {"message": "m"}, False),
        ("batch", "ListJobs", 400, JSON, {"__type": "ClientException", "message": "m"}, False),
        ("batch", "ListJobs", 429, JSON | {"x-amzn-errortype": "TooManyRequestsException"}, {"message": "m"}, True),
        ("batch", None, 404, JSON | {"x-amzn-errortype": "UnknownOperationException"}, {"message": "m"}, True),
        ("batch", None, 400, JSON | {"x-amzn-errortype": "ClientException"}, {"message": "m"}, False),
        ("emr", "ListSteps", 400, EMR, {"__type": "InvalidRequestException", "Message": "m"}, True),
        ("emr", "RunJobFlow", 400, EMR, {"__type": "InvalidRequestException", "Message": "m"}, False),
        ("emr", "RunJobFlow", 400, EMR, {"__type": "ValidationException", "message": "m"}, True),
        ("emr", "RunJobFlow", 500, EMR, {"__type": "InternalServerError", "message": "m"}, True),
        ("emr", "RunJobFlow", 400, JSON, {"__type": "ValidationException", "message": "m"}, False),
        ("emr", "RunJobFlow", 500, EMR, {"__type": "InternalServerError", "message": "the local AWS failed: x"}, False),
        ("emr-containers", "DescribeJobRun", 404, JSON | {"x-amzn-errortype": "ResourceNotFoundException"},
         {"message": "m"}, False),
        ("emr", "TerminateJobFlows", 200, EMR, {}, True),
        ("emr", "TerminateJobFlows", 200, EMR, {"JobFlowId": "j"}, False),
    ],
)  # fmt: skip
def test_errors_are_those_of_the_operation(service, operation, status, headers, content, valid):
    """Code, status and members are in the model, or common to all operations."""
    assert valid == (not problems(service, operation, status, headers, json.dumps(content).encode()))
