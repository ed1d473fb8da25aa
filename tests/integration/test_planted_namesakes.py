"""A stranger plants work with the names, and the tags, that this package is about to use."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch import remote as batch_remote
from airflow_batchemr.aws.batch.definitions import ensure_definition
from airflow_batchemr.aws.emr import steps as emr_steps
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import SubmissionPlan
from airflow_batchemr.ledger import Request
from tests.integration.batch_engine import Job, clients
from tests.integration.emr_engine import Job as EmrJob
from tests.integration.emr_engine import JobRunJob, SharedClusterJob, existing_cluster
from tests.integration.emr_steps import Steps


@pytest.fixture
def no_skew(monkeypatch):
    """What was created before the intent, by however little, is too old."""
    monkeypatch.setattr(batch_remote, "CLOCK_SKEW", timedelta(0))
    monkeypatch.setattr(emr_steps, "CLOCK_SKEW", timedelta(0))


def planted_job(aws, job, definition):
    who = job.identity
    return aws.client("batch").submit_job(
        jobName=who.submission_name(1),
        jobQueue="default",
        jobDefinition=definition,
        containerOverrides={"command": ["true"]},
        tags=who.tags(1),
    )["jobId"]


@pytest.mark.parametrize("kind", ["older", "another definition"])
def test_a_planted_job_is_not_adopted_after_a_lost_response(aws, work, tmp_path, request, kind):
    """It would count as the success of work that has not run, and the real job would end as its twin."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("true"), 1)
    definition = ensure_definition(clients(), job.options)["jobDefinitionArn"]
    if kind == "older":
        request.getfixturevalue("no_skew")
    else:
        properties = {"image": "busybox", "resourceRequirements": []}
        properties["resourceRequirements"] += [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}]
        definition = aws.client("batch").register_job_definition(
            jobDefinitionName="planted", type="container", containerProperties=properties
        )["jobDefinitionArn"]
    planted = planted_job(aws, job, definition)
    aws.faults.plan("SubmitJob", "drop")
    assert job.try_() is None
    (submission,) = job.ledger().history().submissions
    assert planted not in {one.job_id for one in submission.handle.jobs}
    assert Counter([0]) == work.ran()
    assert 0 == aws.requests()["TerminateJob"]


def test_a_step_that_was_added_before_the_claim_is_not_adopted(aws, tmp_path, no_skew):
    """Also on a cluster to which others may add steps."""
    steps = Steps(tmp_path)
    cluster_id = existing_cluster(aws)
    job = EmrJob(aws, [steps.step("a")], dag_id="namesake", existing=cluster_id)
    engine = job.engine()
    state = engine.ledger.read()
    plan = SubmissionPlan(1, engine.backend.units(state))
    (wanted,) = engine.backend.new_submission(plan, state).requests[0].request["Steps"]
    jar = {"Jar": "command-runner.jar", "Args": ["true"]}
    (planted,) = aws.client("emr").add_job_flow_steps(
        JobFlowId=cluster_id, Steps=[{"Name": wanted["Name"], "HadoopJarStep": jar}]
    )["StepIds"]
    aws.faults.plan("AddJobFlowSteps", "drop")
    outcome = job.try_()
    aws.client("emr").terminate_job_flows(JobFlowIds=[cluster_id])
    assert "succeed" == outcome.action
    (submission,) = job.ledger().history().submissions
    assert planted not in submission.handle.step_ids.values()
    assert ["a"] == steps.ran()


ROLE = "arn:aws:iam::123456789012:role/runs"


def test_a_job_without_our_tags_is_not_adopted_although_it_is_the_only_one(aws, work, tmp_path):
    """Its handle would be refused in each try, while the task's own work runs unwatched."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("true"), 1)
    (submission,) = job.step().waits
    request = submission.intent.first
    planted = aws.client("batch").submit_job(
        jobName=job.identity.submission_name(1), jobQueue="default", jobDefinition=request["jobDefinition"]
    )["jobId"]
    aws.faults.hide(submission.handle.jobs[0].job_id)
    assert planted in {one["jobId"] for one in jobs.find(clients(), "default", submission.intent.name)}
    assert job.engine().remote.find(replace(submission, handle=None)) is None


def test_an_array_without_our_tags_is_not_adopted_for_one_that_was_not_submitted(aws, work, tmp_path):
    """Of a submission with two arrays, one call was made. There are as many jobs with its names as calls."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("true"), 1)
    (submission,) = job.step().waits
    (request,) = submission.intent.requests
    names = [f"{request.name}-p{part:04d}" for part in range(2)]
    parts = [
        Request(name=name, indices=IndexSet.of([part]), request={**request.request, "jobName": name})
        for part, name in enumerate(names)
    ]
    intent = submission.intent.model_copy(update={"requests": parts, "indices": IndexSet.range(2)})
    batch = aws.client("batch")
    batch.submit_job(jobName=names[0], jobQueue="default", jobDefinition=request.request["jobDefinition"])
    own = batch.submit_job(**parts[1].request)["jobId"]
    found = job.engine().remote.find(replace(submission, handle=None, intent=intent))
    assert ([own], False) == ([one.job_id for one in found.handle.jobs], found.complete)


def test_a_cluster_without_our_tags_is_not_adopted_although_it_is_the_only_one(aws):
    """As for Batch jobs."""
    job = SharedClusterJob(aws)
    (submission,) = job.pass_().waits
    planted = aws.client("emr").run_job_flow(**{**submission.intent.first, "Tags": []})["JobFlowId"]
    aws.faults.hide(submission.handle.cluster_id)
    found = job.engine().remote.find(replace(submission, handle=None))
    ids = [planted, submission.handle.cluster_id]
    aws.client("emr").terminate_job_flows(JobFlowIds=ids)
    assert found is None


@pytest.mark.parametrize(
    "on",
    [
        {"emr_serverless": {"application": "default", "role": ROLE}},
        {"emr_eks": {"virtual_cluster": "default", "role": ROLE, "release": "emr-7.5.0-latest"}},
    ],
    ids=["serverless", "eks"],
)
def test_a_job_run_without_our_tags_is_not_adopted_although_it_is_the_only_one(program_aws, tmp_path, on):
    """As for Batch jobs."""
    program_aws.client("s3").create_bucket(Bucket="state")
    program = tmp_path / "program.sh"
    program.write_text("true\n")
    job = JobRunJob(program_aws, on, {"py": str(program)})
    (submission,) = job.pass_().waits
    request = {**submission.intent.first, "tags": {}, "clientToken": "planted"}
    service = next(iter(on)).replace("emr_eks", "emr-containers").replace("_", "-")
    program_aws.client(service).start_job_run(**request)
    program_aws.faults.hide(submission.handle.jobs[0].job_id)
    assert job.engine().remote.find(replace(submission, handle=None)) is None


def test_a_job_that_an_earlier_version_requested_without_a_revision_is_adopted(aws, work, tmp_path):
    """AWS lists it with the revision."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("true"), 1)
    (submission,) = job.step().waits
    (request,) = submission.intent.requests
    arn = request.request["jobDefinition"].rpartition(":")[0]
    old = request.model_copy(update={"request": {**request.request, "jobDefinition": arn}})
    intent = submission.intent.model_copy(update={"requests": [old]})
    found = job.engine().remote.find(replace(submission, handle=None, intent=intent))
    assert submission.handle.jobs == found.handle.jobs
