"""Existing job definitions, and those made from an image or `job_definition`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_batchemr.aws.batch.definitions import definition_request, ensure_definition
from airflow_batchemr.aws.batch.options import batch_options
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.pipeline_file.models import Batch


class BatchClient:
    """Has 250 active revisions. DescribeJobDefinitions returns 100 per page, oldest first, like AWS."""

    def describe_job_definitions(self, *, jobDefinitionName, status, nextToken="0"):  # noqa: N803 - AWS's names
        first = int(nextToken)
        page = [
            {"jobDefinitionArn": f"{jobDefinitionName}:{revision}", "revision": revision, "status": status}
            for revision in range(first + 1, min(first + 100, 250) + 1)
        ]
        return {"jobDefinitions": page} | ({"nextToken": str(first + 100)} if first + 100 < 250 else {})


def test_the_last_of_many_revisions_is_used():
    """A team that registers a revision with each deployment has more than one page of them."""
    found = ensure_definition(SimpleNamespace(batch=BatchClient()), Batch(queue="q", definition="etl"))
    assert "etl:250" == found["jobDefinitionArn"]


IMAGE = "registry/etl:1"
SIZES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}]
ROUTER = {"name": "router", "image": "fluent-bit", "firelensConfiguration": {"type": "fluentbit"}}


def definition(job_definition, **options):
    options = batch_options({"queue": "q", "command": ["x"], "job_definition": job_definition, **options})
    return definition_request(options)


def ecs(*containers, **task):
    return {"ecsProperties": {"taskProperties": [{"containers": list(containers), **task}]}}


def test_the_image_goes_into_the_essential_container_of_a_task():
    """With the options of containers. Roles and volumes belong to the task; its own values take precedence."""
    given = ecs(ROUTER, {"name": "app", "user": "etl"}, executionRoleArn="own")
    (task,) = definition(
        given, image=IMAGE, job_role="role", execution_role="x", secrets={"A": "arn"}, volumes=[{"name": "v"}]
    )["ecsProperties"]["taskProperties"]
    app = {"image": IMAGE, "resourceRequirements": SIZES, "secrets": [{"name": "A", "valueFrom": "arn"}]}
    assert [ROUTER, {"name": "app", "user": "etl", **app}] == task.pop("containers")
    assert {"taskRoleArn": "role", "executionRoleArn": "own", "volumes": [{"name": "v"}]} == task


def test_the_image_goes_into_the_container_that_the_option_names():
    """The others need their own."""
    given = ecs({"name": "a", "image": "a:1"}, {"name": "b"})
    (task,) = definition(given, image=IMAGE, container="b")["ecsProperties"]["taskProperties"]
    assert ["a:1", IMAGE] == [one["image"] for one in task["containers"]]


def test_the_image_goes_into_every_range_of_nodes_that_has_none():
    """The type is multinode."""
    ranges = [{"targetNodes": "0", "container": {"image": "main:1"}}, {"targetNodes": "1:"}]
    request = definition({"nodeProperties": {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": ranges}}, image=IMAGE)
    found = [one["container"] for one in request["nodeProperties"]["nodeRangeProperties"]]
    assert ("multinode", ["main:1", IMAGE]) == (request["type"], [one["image"] for one in found])
    assert [SIZES, SIZES] == [one["resourceRequirements"] for one in found]


def test_the_image_goes_into_the_container_of_a_pod():
    """With the sizes in Kubernetes' form."""
    request = definition({"eksProperties": {"podProperties": {"containers": [{"name": "app"}]}}}, image=IMAGE)
    sizes = {"cpu": "1", "memory": "2048Mi"}
    assert [{"name": "app", "image": IMAGE, "resources": {"limits": sizes, "requests": sizes}}] == request[
        "eksProperties"
    ]["podProperties"]["containers"]


@pytest.mark.parametrize("image", [None, IMAGE])
def test_null_removes_a_block(image):
    """AWS accepts only one kind of properties. A null within a block removes what an option has set."""
    app = {"name": "app"} if image else {"name": "app", "image": "own:1"}
    request = definition({"containerProperties": None, **ecs(app)}, image=image)
    assert {"type", "jobDefinitionName", "ecsProperties"} == request.keys()
    plain = definition({"containerProperties": {"resourceRequirements": None, "user": "etl"}}, image=IMAGE)
    assert {"image": IMAGE, "user": "etl"} == plain["containerProperties"]


@pytest.mark.parametrize(
    ("given", "options", "named"),
    [
        (ecs({"name": "app", "image": "own:1"}), {}, "^image: .* image of its own"),
        ({"eksProperties": {"podProperties": {"containers": [{}]}}}, {"job_role": "r"}, "pod takes no job_role"),
        ({"ecsProperties": "x"}, {}, r"job_definition\.ecsProperties: expected a mapping"),
        (
            {"ecsProperties": {**ecs({"name": "app"})["ecsProperties"], "odd": 1}},
            {},
            r"job_definition\.ecsProperties.odd: unknown parameter",
        ),
        ({"ecsProperties": {"taskProperties": [{"containers": ["x"]}]}}, {}, r"containers\[0\]: expected a mapping"),
        ({"nodeProperties": {"nodeRangeProperties": [3]}}, {}, r"nodeRangeProperties\[0\]: expected a mapping"),
        (ecs({"name": "app"}, {"name": "b"}), {}, "RegisterJobDefinition: .*image"),
    ],
)
def test_an_image_that_fits_nowhere_is_an_error(given, options, named):
    """It names what to change."""
    with pytest.raises(InvalidRequest, match=named):
        definition(given, image=IMAGE, **options)


def test_the_definition_of_an_image_does_not_change():
    """Its name is a hash, so that an upgrade does not register every image again."""
    assert "batchemr-28e54b1cb5c0ba08" == definition({}, image=IMAGE)["jobDefinitionName"]
