"""Overrides of command, environment and resources for each kind of job definition."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.core.container_overrides import (
    container_names,
    docker_image,
    own_command,
    own_container,
    place,
    put,
    recorded,
)
from airflow_batchemr.core.merge_overrides import merge_overrides

OVERRIDES = {
    "command": ["sh", "-c", "true"],
    "environment": [{"name": "A", "value": "1"}],
    "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "300"}],
}
DEFINITIONS = {
    "plain": {"containerProperties": {"command": ["own"]}},
    "ecs": {"ecsProperties": {"taskProperties": [{"containers": [{"name": "main", "command": ["own"]}]}]}},
    "eks": {"eksProperties": {"podProperties": {"containers": [{"command": ["own"], "args": []}]}}},
    "nodes": {
        "nodeProperties": {
            "nodeRangeProperties": [
                {"targetNodes": "0", "container": {"command": ["own"]}},
                {"targetNodes": "1:", "container": {"command": ["own"]}},
            ]
        }
    },
}


def ecs(*containers):
    """A job definition of an ECS task."""
    return {"ecsProperties": {"taskProperties": [{"containers": list(containers)}]}}


@pytest.fixture(params=DEFINITIONS)
def definition(request):
    """A job definition of each kind."""
    return DEFINITIONS[request.param]


def submit(definition):
    return {"jobName": "n", "jobQueue": "q", "jobDefinition": "d", **place(OVERRIDES, definition)}


def test_the_request_is_valid(definition):
    """According to botocore's model of SubmitJob."""
    assert check_request("batch", "SubmitJob", submit(definition)) is None


def test_overrides_can_be_read_from_the_request(definition):
    """Command, environment and resources, for each kind of definition."""
    found = recorded(submit(definition))
    assert {name: found[name] for name in OVERRIDES} == OVERRIDES


def test_overrides_can_be_replaced_in_the_request(definition):
    """Replay submits the request with another command and environment; the resources do not change."""
    request = submit(definition)
    put(request, ["other"], [{"name": "B", "value": "2"}])
    check_request("batch", "SubmitJob", request)
    found = recorded(request)
    assert (["other"], [{"name": "B", "value": "2"}]) == (found["command"], found["environment"])
    assert OVERRIDES["resourceRequirements"] == found["resourceRequirements"]


def test_the_command_of_the_definition_is_found(definition):
    """It runs if the job does not set a command."""
    assert ["own"] == own_command(definition)


def test_nodes_with_different_commands_have_no_common_command():
    """The job has to set one, or turn off the preamble."""
    nodes = [
        {"targetNodes": "0", "container": {"command": ["main"]}},
        {"targetNodes": "1:", "container": {"command": ["x"]}},
    ]
    assert [] == own_command({"nodeProperties": {"nodeRangeProperties": nodes}})


def test_overrides_apply_to_every_node_range():
    """The main node and the others run the same command."""
    ranges = place(OVERRIDES, DEFINITIONS["nodes"])["nodeOverrides"]["nodePropertyOverrides"]
    assert ["0", "1:"] == [one["targetNodes"] for one in ranges]
    assert [OVERRIDES, OVERRIDES] == [one["containerOverrides"] for one in ranges]


@pytest.mark.parametrize(
    ("definition", "image"),
    [
        ({"containerProperties": {"image": "a", "environment": [{"name": "A", "value": "1"}]}}, "a"),
        (ecs({"image": "a", "environment": [{"name": "A", "value": "1"}]}), "a"),
        (ecs({"image": "a", "environment": [{"name": "A", "value": "1"}]}, {"image": "helper"}), None),
        (
            {
                "eksProperties": {
                    "podProperties": {"containers": [{"image": "a", "env": [{"name": "A", "value": "1"}]}]}
                }
            },
            None,
        ),
        (
            {
                "nodeProperties": {
                    "nodeRangeProperties": [
                        {"targetNodes": "0:", "container": {"image": "a", "environment": [{"name": "A", "value": "1"}]}}
                    ]
                }
            },
            None,
        ),
    ],
    ids=["plain", "ecs", "several", "eks", "nodes"],
)
def test_variables_and_image_of_a_definition(definition, image):
    """The variables are those of the container that gets the overrides. Docker can run only a single container."""
    assert [{"name": "A", "value": "1"}] == own_container(definition)["environment"]
    assert image == docker_image(definition)


ROUTER = {"name": "router", "firelensConfiguration": {"type": "fluentbit"}}
SIDE = {"name": "side", "essential": False}


def named(*names):
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("containers", "name", "chosen"),
    [
        (named("a", "b"), None, "a"),
        ([SIDE, *named("a")], None, "a"),
        ([ROUTER, *named("a")], None, "a"),
        ([{**ROUTER, "essential": True}, SIDE, *named("a", "b")], None, "a"),
        (named("a", "b"), "b", "b"),
        ([SIDE, *named("a")], "side", "side"),
        ([ROUTER], None, "router"),
    ],
)
@pytest.mark.parametrize("nodes", [False, True])
def test_overrides_apply_to_the_essential_or_named_container(containers, name, chosen, nodes):
    """A log router or sidecar that comes first does not get the command, also not on the nodes of a multi-node job."""
    definition = ecs(*({**one, "command": [one["name"]]} for one in containers))
    if nodes:
        definition = {"nodeProperties": {"nodeRangeProperties": [{"targetNodes": "0:", **definition}]}}
    request = {"jobName": "n", "jobQueue": "q", "jobDefinition": "d", **place(OVERRIDES, definition, name)}
    check_request("batch", "SubmitJob", request)
    assert chosen == recorded(request)["name"]
    assert [chosen] == own_command(definition, name) == own_container(definition, name)["command"]


def test_every_container_of_a_pod_is_essential():
    """Pods have no `essential`; the name of the chosen container can be read from the request."""
    definition = {"eksProperties": {"podProperties": {"containers": named("a", "b")}}}
    chosen = [recorded(place(OVERRIDES, definition, name))["name"] for name in (None, "b")]
    assert ["a", "b"] == chosen
    assert ["a", "b"] == container_names(definition)
    assert [] == container_names(DEFINITIONS["plain"])


@pytest.mark.parametrize(
    ("kind", "several", "theirs", "expected"),
    [
        ("ecs", ["log", "main"], ["log", "main"], ["main", "log"]),
        ("ecs", ["main"], [None], ["main"]),
        ("eks", ["main", "side"], ["side"], ["main", "side"]),
        ("eks", [None], ["Default"], ["Default"]),
        ("eks", [None], [None], [None]),
    ],
)
def test_overrides_of_the_user_follow_that_of_the_main_container(kind, several, theirs, expected):
    """Those of the same container are one, so that it keeps the variables. AWS calls a pod's unnamed one Default."""
    log = {"firelensConfiguration": {"type": "fluentbit"}}
    containers = [({"name": name} if name else {}) | (log if name == "log" else {}) for name in several]
    given = [({"name": name} if name else {}) | {"image": "x"} for name in theirs]
    if kind == "ecs":
        ours, added = ecs(*containers), {"ecsPropertiesOverride": {"taskProperties": [{"containers": given}]}}
    else:
        ours = {"eksProperties": {"podProperties": {"containers": containers}}}
        added = {"eksPropertiesOverride": {"podProperties": {"containers": given}}}
    merged = merge_overrides(place(OVERRIDES, ours), added)
    part = merged["ecsPropertiesOverride"]["taskProperties"][0] if kind == "ecs" else None
    found = (part or merged["eksPropertiesOverride"]["podProperties"])["containers"]
    assert expected == [one.get("name") for one in found]
    assert recorded(merged)["environment"] == OVERRIDES["environment"]
    assert len(theirs) == sum("image" in one for one in found)
