"""A stranger who may register job definitions adds revisions to the names that this package uses."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.batch.definitions import definition_request, ensure_definition
from airflow_batchemr.aws.batch.options import batch_options
from tests.integration.batch_engine import Job, clients

FARGATE = {"platform": "fargate", "execution_role": "arn:aws:iam::123456789012:role/x"}
POD = {"eksProperties": {"podProperties": {"containers": [{"name": "app"}]}}}
NODES = {
    "nodeProperties": {
        "numNodes": 2,
        "mainNode": 0,
        "nodeRangeProperties": [{"targetNodes": "0:", "container": {}}],
    }
}
TASK = {"ecsProperties": {"taskProperties": [{"containers": [{"name": "app"}, {"name": "log", "image": "l:1"}]}]}}


@pytest.fixture
def batch(aws):
    return aws.client("batch")


def options(**given):
    return batch_options({"queue": "default", "image": "busybox", "command": ["true"], **given})


def evil(request):
    """The same definition with another image, and more rights on the host."""
    properties = {**request["containerProperties"], "image": "evil:1", "privileged": True}
    return {**request, "containerProperties": properties}


def revisions(batch, name):
    return batch.describe_job_definitions(jobDefinitionName=name, status="ACTIVE")["jobDefinitions"]


def test_a_foreign_revision_does_not_get_the_command(aws, batch, work, tmp_path, caplog):
    """The job runs with the revision that was registered for it, whose number is in the request."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("true"), 2)
    asked = definition_request(job.options)
    batch.register_job_definition(**evil(asked))
    assert job.try_() is None
    (submission,) = job.ledger().history().submissions
    (request,) = (one.request for one in submission.intent.requests)
    (ran,) = batch.describe_jobs(jobs=[submission.handle.jobs[0].job_id])["jobs"]
    name = asked["jobDefinitionName"]
    assert request["jobDefinition"] == ran["jobDefinition"]
    assert ran["jobDefinition"].endswith(f"/{name}:2")
    assert "busybox" == ran["container"]["image"]
    assert not ran["container"].get("privileged")
    assert f"{name}:1 is not used: its containerProperties.image is not what the job asks for" in caplog.text


@pytest.mark.parametrize("change", ["register", "deregister"])
def test_an_equal_revision_below_a_foreign_one_is_used(aws, batch, change):
    """Nothing is registered again, however often the job is submitted."""
    asked = definition_request(options())
    first = ensure_definition(clients(), options())
    batch.register_job_definition(**evil(asked))
    if change == "deregister":
        batch.deregister_job_definition(jobDefinition=first["jobDefinitionArn"])
    aws.reset_requests()
    found = {ensure_definition(clients(), options())["jobDefinitionArn"] for _ in range(3)}
    assert 1 == len(found)
    assert aws.requests() == {"DescribeJobDefinitions": 3} | (
        {"RegisterJobDefinition": 1} if change == "deregister" else {}
    )
    assert (found == {first["jobDefinitionArn"]}) == (change == "register")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"secrets": {"A": "arn:a"}, "execution_role": "x", "ulimits": {"nofile": 10}, "job_role": "r"},
        {"volumes": [{"name": "v"}], "mount_points": [{"sourceVolume": "v", "containerPath": "/v"}]},
        {"log_configuration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}}},
        FARGATE,
        {"job_definition": POD},
        {"job_definition": NODES},
        {"job_definition": {"containerProperties": None, **TASK}},
        {"job_definition": {"containerProperties": {"environment": [{"name": "E", "value": ""}]}, "tags": {"t": "1"}}},
        {"job_definition": {"retryStrategy": {"attempts": 1}, "parameters": {"p": "1"}, "timeout": None}},
    ],
)
def test_what_batch_adds_to_a_description_registers_nothing_again(aws, batch, given):
    """It is found, with one call, at each submission."""
    registered = ensure_definition(clients(), options(**given))
    aws.reset_requests()
    assert registered["jobDefinitionArn"] == ensure_definition(clients(), options(**given))["jobDefinitionArn"]
    assert aws.requests() == {"DescribeJobDefinitions": 1}


@pytest.mark.parametrize("given", [{"definition": "etl"}, {"submit": {"jobDefinition": "etl"}}])
def test_the_revision_of_a_named_definition_that_was_looked_up_runs(aws, batch, work, tmp_path, given, monkeypatch):
    """A revision that somebody registers between the look-up and SubmitJob does not."""
    properties = definition_request(options())["containerProperties"]
    batch.register_job_definition(jobDefinitionName="etl", type="container", containerProperties=properties)
    job = Job(f"s3://state/{tmp_path.name}", work.command("true"), 1, image=None, **given)
    backend = job.backend
    monkeypatch.setattr(job, "backend", lambda *args, **kwargs: looked_up(backend(*args, **kwargs)))

    def looked_up(made):
        definition = made.definition

        def then_registered():
            found = definition()
            evil_properties = {**properties, "image": "evil:1"}
            batch.register_job_definition(
                jobDefinitionName="etl", type="container", containerProperties=evil_properties
            )
            return found

        made.definition = then_registered
        return made

    assert job.try_() is None
    handle = job.ledger().history().submissions[0].handle
    (ran,) = batch.describe_jobs(jobs=[handle.jobs[0].job_id])["jobs"]
    assert ran["jobDefinition"].endswith("/etl:1")
    assert "busybox" == ran["container"]["image"]
