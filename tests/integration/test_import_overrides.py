"""Overrides of containers, pods and nodes in a state machine reach their programs."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from airflow_batchemr import build_dags
from airflow_batchemr.cli.import_ import app as import_app
from airflow_batchemr.cli.plan import app as plan_app
from tests.integration.test_batch_kinds import KINDS
from tests.unit.importers.model_documents import differences
from tests.unit.importers.state_machines import machine


def overrides(kind, command):
    """The parameters of a state machine, and the same in the names of the API."""
    names = {"Name": "WORD", "Value": "theirs"}, {"name": "WORD", "value": "theirs"}
    if kind == "ecs":
        given = {"Containers": [{"Name": "main", "Command": command, "Environment": [names[0]]}]}
        made = {"containers": [{"name": "main", "command": command, "environment": [names[1]]}]}
        return {"EcsPropertiesOverride": {"TaskProperties": [given]}}, {
            "ecsPropertiesOverride": {"taskProperties": [made]}
        }
    if kind == "eks":
        given = {"Containers": [{"Name": "main", "Command": command, "Env": [names[0]]}]}
        made = {"containers": [{"name": "main", "command": command, "env": [names[1]]}]}
        return {"EksPropertiesOverride": {"PodProperties": given}}, {"eksPropertiesOverride": {"podProperties": made}}
    ranges = [("0", command), ("1:", ["true"])]
    given = [
        {"TargetNodes": at, "ContainerOverrides": {"Command": one, "Environment": [names[0]]}} for at, one in ranges
    ]
    made = [
        {"targetNodes": at, "containerOverrides": {"command": one, "environment": [names[1]]}} for at, one in ranges
    ]
    return {"NodeOverrides": {"NodePropertyOverrides": given}}, {"nodeOverrides": {"nodePropertyOverrides": made}}


@pytest.mark.parametrize("kind", ["ecs", "eks", "nodes"])
def test_overrides_are_imported_planned_and_run(aws, run_dag, tmp_path, work, kind):
    """With their command and variables, beside those of the run."""
    aws.client("batch").register_job_definition(jobDefinitionName="theirs", **{"type": "container", **KINDS[kind]})
    given, expected = overrides(kind, work.command('[ "$WORD" = theirs ] && [ -n "$PIPELINE_RUN_ID" ]'))
    parameters = {"JobName": "j", "JobDefinition": "theirs", "JobQueue": "default", **given}
    task = {"Type": "Task", "Resource": "arn:aws:states:::batch:submitJob.sync", "Parameters": parameters}
    source = tmp_path / "machine.asl.json"
    source.write_text(json.dumps(machine(task)))
    imported = CliRunner().invoke(import_app, ["step-functions", str(source), "-o", str(tmp_path)])
    assert imported.exit_code == 0, imported.output
    path = tmp_path / "machine.yaml"
    planned = CliRunner().invoke(plan_app, [str(path), "--json"])
    assert planned.exit_code == 0, planned.output
    (request,) = json.loads(planned.stdout)["jobs"][0]["requests"]
    assert [] == differences(expected, request["request"])
    (dag,) = build_dags(path)
    assert "success" == run_dag(dag).state
    assert 1 == len(work.log.read_text().splitlines())
