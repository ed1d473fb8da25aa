"""Checks before a start that it can do without: they delay it by at most a minute."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.stub import Stubber

from airflow_batchemr.aws import clients as clients_module
from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.emr.preflight import check_release
from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.aws.errors import InvalidRequest, Throttled
from airflow_batchemr.aws.retry import OPTIONAL

CHECKS = [
    ("DescribeJobQueues", lambda clients: jobs.check_queue(clients, "default")),
    ("DescribeReleaseLabel", lambda clients: check_release(clients, "emr-7.5.0", ["Spark"], {})),
    ("HeadObject", lambda clients: environments(clients, ["s3://data/env.tar.gz"], Path())),
]


@pytest.fixture
def clients(local_aws):
    local_aws.reset_requests()
    found = boto3_clients()
    found.s3.create_bucket(Bucket="data")
    return found


@pytest.mark.parametrize(("operation", "check"), CHECKS)
@pytest.mark.parametrize("fault", ["throttle", "error", "drop"])
def test_a_check_that_aws_does_not_answer_is_skipped(local_aws, clients, caplog, operation, check, fault):
    """With a warning after two calls, within seconds, however long AWS fails."""
    local_aws.faults.plan(operation, fault, times=100)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        check(clients)
    assert time.monotonic() - began < 10
    assert 2 == local_aws.requests()[operation]
    assert re.search(r"A check before the start is skipped: \w+:(Describe|GetObject)\w*: ", caplog.text)


@pytest.mark.parametrize(("operation", "check"), CHECKS)
def test_a_check_that_hangs_is_skipped(local_aws, clients, monkeypatch, operation, check):
    """The read timeout ends each of the two calls."""
    monkeypatch.setattr(clients_module, "OPTIONAL", OPTIONAL.merge(Config(read_timeout=0.5)))
    local_aws.faults.plan(operation, "slow", times=100)
    began = time.monotonic()
    check(clients)
    assert time.monotonic() - began < 8


def test_four_optional_calls_take_at_most_a_minute():
    """The longest backoff before the second call is a second."""
    calls = OPTIONAL.retries["total_max_attempts"]
    assert 4 * (calls * (OPTIONAL.connect_timeout + OPTIONAL.read_timeout) + 1) <= 60


def test_a_check_that_the_endpoint_does_not_offer_is_skipped(clients, caplog):
    """The release is not reported as missing."""
    stub = Stubber(clients.optional("emr"))
    stub.add_client_error("describe_release_label", "UnknownOperationException", "no such call", http_status_code=404)
    with stub:
        check_release(clients, "emr-7.5.0", ["Spark"], {})
    assert "does not offer the operation" in caplog.text


def test_a_required_version_is_not_optional(local_aws, clients):
    """The job asks for it, so the start waits until AWS answers."""
    local_aws.faults.throttle("DescribeReleaseLabel", times=100)
    once = clients.with_config(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    with pytest.raises(Throttled):
        check_release(once, "emr-7.5.0", [], {"spark": "3.5"})


def test_answers_still_count(clients):
    """A missing queue, release or application is found before the start."""
    with pytest.raises(InvalidRequest, match="no job queue 'other'"):
        jobs.check_queue(clients, "other")
    with pytest.raises(InvalidRequest, match=r"EMR has no release emr-7\.5"):
        check_release(clients, "emr-7.5", [], {})
    with pytest.raises(InvalidRequest, match="no application Sparc; did you mean Spark"):
        check_release(clients, "emr-7.5.0", ["Sparc"], {})
    with pytest.raises(InvalidRequest, match=r"there is no s3://data/env\.tar\.gz: .*\(404\): Not Found"):
        environments(clients, ["s3://data/env.tar.gz"], Path())
