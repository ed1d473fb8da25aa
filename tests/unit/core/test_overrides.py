"""Command, environment and resources have their place in the SubmitJob of each kind of job definition."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.core.container_overrides import own_command, place, put, recorded

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


@pytest.fixture(params=DEFINITIONS)
def definition(request):
    """A job definition of each kind."""
    return DEFINITIONS[request.param]


def submit(definition):
    return {"jobName": "n", "jobQueue": "q", "jobDefinition": "d", **place(OVERRIDES, definition)}


def test_aws_takes_them_where_they_are_placed(definition):
    """Botocore's model of SubmitJob knows every name."""
    assert check_request("batch", "SubmitJob", submit(definition)) is None


def test_what_was_placed_is_found_again(definition):
    """The ledger's request tells command, environment and resources, whatever the kind."""
    found = recorded(submit(definition))
    assert {name: found[name] for name in OVERRIDES} == OVERRIDES


def test_they_can_be_changed_in_their_place(definition):
    """Replay submits the same request with another command and environment; the resources stay."""
    request = submit(definition)
    put(request, ["other"], [{"name": "B", "value": "2"}])
    check_request("batch", "SubmitJob", request)
    found = recorded(request)
    assert (["other"], [{"name": "B", "value": "2"}]) == (found["command"], found["environment"])
    assert OVERRIDES["resourceRequirements"] == found["resourceRequirements"]


def test_the_definitions_own_command_is_known(definition):
    """It is what runs where the job gives none."""
    assert ["own"] == own_command(definition)


def test_nodes_with_different_commands_have_no_common_one():
    """The job has to give one, or do without the preamble."""
    nodes = [
        {"targetNodes": "0", "container": {"command": ["main"]}},
        {"targetNodes": "1:", "container": {"command": ["x"]}},
    ]
    assert [] == own_command({"nodeProperties": {"nodeRangeProperties": nodes}})


def test_every_range_of_nodes_gets_them():
    """The main node and the others run the same command."""
    ranges = place(OVERRIDES, DEFINITIONS["nodes"])["nodeOverrides"]["nodePropertyOverrides"]
    assert ["0", "1:"] == [one["targetNodes"] for one in ranges]
    assert [OVERRIDES, OVERRIDES] == [one["containerOverrides"] for one in ranges]
