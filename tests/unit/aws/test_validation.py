"""Requests are checked against AWS's models before a call."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.validation import check_request

JOB = {"jobName": "n", "jobQueue": "q", "jobDefinition": "d"}
CLUSTER = {"Name": "n", "Instances": {}}
RUN = {
    "applicationId": "00abc",
    "clientToken": "t",
    "executionRoleArn": "arn:aws:iam::123456789012:role/spark",
}
EKS = {"virtualClusterId": "abc", "clientToken": "t"}


@pytest.mark.parametrize(
    ("service", "operation", "request_"),
    [
        ("batch", "SubmitJob", JOB | {"retryStrategy": {"evaluateOnExit": [{"action": "retry"}]}}),
        ("emr", "RunJobFlow", CLUSTER | {"Name": "größe 🦜\n" + "x" * 248}),
        ("emr-serverless", "StartJobRun", RUN | {"tags": {"a": "b c", "d": ""}}),
    ],
)
def test_what_the_model_allows_is_accepted(service, operation, request_):
    """Enums that are not case-sensitive, and characters above U+FFFF, which the models write as two surrogates."""
    check_request(service, operation, request_)


@pytest.mark.parametrize(
    ("service", "operation", "request_", "named"),
    [
        ("batch", "SubmitJob", JOB | {"tags": {"a": "x" * 257}}, "tags.a: at most 256 characters, not 257"),
        (
            "batch",
            "SubmitJob",
            JOB | {"retryStrategy": {"evaluateOnExit": [{"action": "STOP"}]}},
            "expected one of RETRY, EXIT, not 'STOP'",
        ),
        ("emr", "RunJobFlow", CLUSTER | {"Name": "x" * 257}, "Name: at most 256 characters, not 257"),
        ("emr", "RunJobFlow", CLUSTER | {"LogUri": "s3://a/\x00"}, "LogUri: expected text that matches"),
        (
            "emr-serverless",
            "StartJobRun",
            RUN | {"executionRoleArn": "r" * 30},
            "executionRoleArn: expected text that matches .*, not 'r+'",
        ),
        ("emr-serverless", "StartJobRun", RUN | {"tags": {"a": "é"}}, "tags.a: expected text that matches .*, not 'é'"),
        (
            "emr-containers",
            "StartJobRun",
            EKS | {"jobDriver": {"sparkSubmitJobDriver": {"entryPoint": "s3://c/x.py", "entryPointArguments": [" "]}}},
            r"jobDriver.sparkSubmitJobDriver.entryPointArguments\[0\]: expected text that matches .*, not ' '",
        ),
    ],
)
def test_what_the_service_would_refuse_is_named(service, operation, request_, named):
    """Lengths, patterns and enums, which botocore does not check, wherever they are in the request."""
    with pytest.raises(InvalidRequest, match=named):
        check_request(service, operation, request_)
