"""A connection with which no call can be made: the task fails with one line that says what to check."""

from __future__ import annotations

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound

from airflow_batchemr import BatchArrayOperator, EmrTerminateClusterOperator, EphemeralEmrOperator, S3MarkerSensor
from airflow_batchemr.connections import connection_clients
from airflow_batchemr.ledger import Ledger
from airflow_batchemr.ledger.errors import CredentialsError
from tests.integration.emr_steps import CLUSTER
from tests.integration.task_engine import Task

OPERATORS = {
    BatchArrayOperator: {"queue": "default", "image": "busybox", "command": "true"},
    EphemeralEmrOperator: {"cluster": CLUSTER, "steps": ["true"]},
    EmrTerminateClusterOperator: {"cluster": "spark.cluster"},
    S3MarkerSensor: {"pipeline": "other"},
}


def denied(operation="AssumeRole"):
    return ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, operation)


def task_of(operator, state):
    def make():
        with DAG("dag", schedule=None):
            return operator(task_id="work", state=state, aws_conn_id="bad", **OPERATORS[operator])

    return Task(make)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_a_missing_profile_fails_the_task_with_one_line(aws, state, monkeypatch, operator):
    """Not with a traceback of botocore. The task that terminates a cluster is retried whatever happens."""
    monkeypatch.setenv("AIRFLOW_CONN_BAD", "aws://?profile_name=no-such-profile")
    with pytest.raises(AirflowException) as failure:
        task_of(operator, state).begin()
    assert (operator is not EmrTerminateClusterOperator) == isinstance(failure.value, AirflowFailException)
    assert "no-such-profile" in str(failure.value)
    assert "aws_conn_id" in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (denied(), False),
        (ProfileNotFound(profile="x"), False),
        (ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "AssumeRole"), True),
        (EndpointConnectionError(endpoint_url="https://sts.example"), True),
    ],
    ids=["denied", "profile", "throttled", "unreachable"],
)
def test_errors_while_a_client_is_created_are_retried_only_if_that_may_help(aws, state, monkeypatch, error, retried):
    """A temporary failure defers the task at first, so it is shown here for the sensor, which does not defer for it."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(AwsBaseHook, "get_session", fail)
    with pytest.raises(AirflowException) as failure:
        task_of(S3MarkerSensor, state).begin()
    assert retried is not isinstance(failure.value, AirflowFailException)


def test_a_role_that_may_no_longer_be_assumed_is_not_reported_as_a_missing_permission_of_s3(aws, state):
    """Botocore refreshes the credentials of a role within a call."""
    clients = connection_clients(None, None)

    def fail(*_):
        raise denied()

    clients.s3._make_api_call = fail
    with pytest.raises(CredentialsError, match="AssumeRole"):
        Ledger(clients.s3, state).job("dag", "key", "work").read()
