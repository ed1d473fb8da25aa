"""The client tokens of StartJobRun: a second call with one token starts nothing."""

from __future__ import annotations

import botocore.session
import pytest

from airflow_batchemr.aws.emr.job_run_targets import Eks, Serverless, token
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.pipeline_file.models import Spark

ROLE = "arn:aws:iam::123456789012:role/runs"
TARGETS = [Serverless("00f0", ROLE), Eks("vc1", ROLE, "emr-7.5.0-latest")]
SPARK = Spark.model_validate({"py": "s3://code/x.py"})


def request(target, number=1, **changed):
    identity = JobIdentity("s3://state", "dag" * 60, "2026-11-20T000000Z", "job", "manual", "job", **changed)
    name = identity.submission_name(number)
    return target.request(SPARK, name, identity.tags(number), identity.environment(number), None)


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.kind)
def test_a_request_has_the_token_of_its_submission(target):
    """Every try of a submission sends the same one; the next submission, which may differ, another one."""
    assert request(target)["clientToken"] == request(target, try_number=2)["clientToken"]
    assert request(target)["clientToken"] != request(target, number=2)["clientToken"]


def test_the_token_does_not_depend_on_the_process():
    """It is a UUID derived from the name, not a random one."""
    assert "83ce3737-6642-5382-9330-b21151f1f053" == token("work-a0001")


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.kind)
def test_botocore_knows_the_token_as_the_idempotency_token(target):
    """Without one, botocore would send a random one with each call."""
    model = botocore.session.get_session().get_service_model(target.service).operation_model("StartJobRun")
    assert ["clientToken"] == model.idempotent_members
    limits = model.input_shape.members["clientToken"].metadata
    assert limits["min"] <= len(request(target)["clientToken"]) <= limits["max"]
