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
from tests.unit.importers.state_machines import cluster, machine, step, terminate


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


def imported(tmp_path, data):
    """The pipeline file of a state machine, after `batchemr import`."""
    source = tmp_path / "sizes.asl.json"
    source.write_text(json.dumps(data))
    result = CliRunner().invoke(import_app, ["step-functions", str(source), "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    return tmp_path / "sizes.yaml"


def test_sizes_from_the_input_reach_aws(aws, run_dag, tmp_path, work):
    """With the numbers of an execution's input; before it, `batchemr plan` says what is not known."""
    aws.client("batch").register_job_definition(
        jobDefinitionName="plain",
        type="container",
        containerProperties={
            "image": "busybox",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        },
    )
    resources = [{"Type": "VCPU", "Value.$": "$.cpus"}, {"Type": "MEMORY", "Value.$": "States.Format('{}', $.memory)"}]
    job = {
        "JobDefinition": "plain",
        "JobQueue": "default",
        "ArrayProperties": {"Size.$": "$.shards"},
        "ContainerOverrides": {"ResourceRequirements": resources, "Command": work.command("true")},
        "RetryStrategy": {"Attempts.$": "$.attempts"},
        "Timeout": {"AttemptDurationSeconds.$": "$.seconds"},
        "Tags": {"team.$": "$.team"},
    }
    group = {"InstanceType": "m5.xlarge", "InstanceCount": 1}
    instances = [group | {"InstanceRole": "MASTER"}, group | {"InstanceRole": "CORE", "InstanceCount.$": "$.nodes"}]
    instances[1]["EbsConfiguration"] = {"EbsOptimized.$": "$.optimized"}
    create = cluster(
        LogUri="s3://state/logs", Instances={"InstanceGroups": instances}, **{"ReleaseLabel.$": "$.release"}
    )
    del create["Parameters"]["ReleaseLabel"]
    runs = step(HadoopJarStep={"Jar": "command-runner.jar", "Args": ["true"]})
    task = {"Type": "Task", "Resource": "arn:aws:states:::batch:submitJob.sync", "Parameters": job, "ResultPath": None}
    path = imported(tmp_path, machine(task, create, runs, terminate()))
    planned = CliRunner().invoke(plan_app, [str(path), "--json"])
    assert planned.exit_code == 0, planned.output
    assert "array (" in planned.stdout
    (dag,) = build_dags(path)
    conf = {"shards": 3, "cpus": "1", "memory": 512, "attempts": 2, "seconds": 90, "team": "a", "nodes": 2}
    conf |= {"optimized": True, "release": "emr-7.4.0"}
    assert "success" == run_dag(dag, conf=conf).state
    batch = aws.client("batch")
    (one,) = (found for found in batch.list_jobs(jobQueue="default", jobStatus="SUCCEEDED")["jobSummaryList"])
    (found,) = batch.describe_jobs(jobs=[one["jobId"]])["jobs"]
    assert 3 == found["arrayProperties"]["size"]
    assert {"VCPU": "1", "MEMORY": "512"} == {
        one["type"]: one["value"] for one in found["container"]["resourceRequirements"]
    }
    assert (2, 90) == (found["retryStrategy"]["attempts"], found["timeout"]["attemptDurationSeconds"])
    assert "a" == found["tags"]["team"]
    emr = aws.client("emr")
    (made,) = emr.list_clusters()["Clusters"]
    assert "emr-7.4.0" == emr.describe_cluster(ClusterId=made["Id"])["Cluster"]["ReleaseLabel"]
    groups = emr.list_instance_groups(ClusterId=made["Id"])["InstanceGroups"]
    assert {"MASTER": 1, "CORE": 2} == {one["InstanceGroupType"]: one["RequestedInstanceCount"] for one in groups}
