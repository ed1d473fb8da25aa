"""Fixtures shared by all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

# Machines differ in speed, and other tests run at the same time
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture(scope="session")
def local_aws_server(tmp_path_factory):
    """The local AWS of the test session. Tests use `local_aws` instead."""
    from airflow_batchemr.local import LocalAWS

    with LocalAWS(root=tmp_path_factory.mktemp("local-aws"), slots=4) as aws:
        yield aws


@pytest.fixture
def valid_responses(monkeypatch):
    """Fail the test if a local AWS in this process sends a response that AWS's service model does not allow.

    The value is the list of problems so far.
    """
    from tests.wire import watch

    problems = watch(monkeypatch)
    yield problems
    assert problems == []


@pytest.fixture
def local_aws(local_aws_server, valid_responses, monkeypatch):
    """The local AWS, reset, with only the queue `default`. boto3 uses it by default."""
    local_aws_server.reset()
    for name, value in local_aws_server.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield local_aws_server
    local_aws_server.reset()


@pytest.fixture(autouse=True)
def unlimited_polls(monkeypatch):
    """The tests of a process make more polls of EMR than one account allows."""
    from airflow_batchemr.aws.rate import Rate

    monkeypatch.setattr("airflow_batchemr.aws.emr.clusters.RATE", Rate(per_second=1000, burst=1000))
