"""Whatever a state machine contains, it is translated or reported: no traceback, and no file that does not load."""

from __future__ import annotations

import copy
import json

import pytest

from airflow_batchemr.forecast import forecast_pipeline
from airflow_batchemr.pipeline_file.importers.document import read_json
from airflow_batchemr.pipeline_file.importers.step_functions import translate
from airflow_batchemr.pipeline_file.load import check_document
from tests.unit.importers.model_documents import differences
from tests.unit.importers.state_machines import EMR, batch, cluster, load, machine, notes, step, terminate
from tests.unit.importers.test_step_functions_members import planned

ALL = ["States.ALL"]


def protect(value):
    """A task that changes the termination protection of a cluster."""
    parameters = {"ClusterId.$": "$.c.ClusterId", "TerminationProtected": value}
    resource = EMR + "setClusterTerminationProtection"
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, "ResultPath": None}


RETRY = [{"ErrorEquals": ALL, "IntervalSeconds": 5, "MaxAttempts": 2, "BackoffRate": 2}]
CREATE = {
    "Name": "nightly",
    "LogUri": "s3n://logs/emr/",
    "Instances": {
        "InstanceGroups": [
            {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1, "Name": "First"},
            {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2, "Market": "SPOT"},
            {"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": 0},
        ],
        "Ec2SubnetIds": ["subnet-1", "subnet-2"],
        "KeepJobFlowAliveWhenNoSteps": True,
    },
    "Applications": [{"Name": "Spark", "AdditionalInfo": {"Key": "V"}}],
    "BootstrapActions": [{"Name": "b", "ScriptBootstrapAction": {"Path": "file:/usr/share/x.sh", "Args": ["a"]}}],
    "Configurations": [{"Classification": "spark-env", "Properties": {"Spark.X": "y"}, "Configurations": []}],
    "Tags": [{"Key": "Team", "Value": "Data"}],
    "AutoTerminationPolicy": {"IdleTimeout": 600},
}
FAILS = [{"ErrorEquals": ALL, "ResultPath": "$.error", "Next": "Stop"}]
CLUSTER = machine(
    cluster({"Retry": RETRY, "TimeoutSeconds": 3600, "Catch": FAILS}, **CREATE),
    protect(True),
    step() | {"Catch": [{"ErrorEquals": ALL, "Next": "D", "ResultPath": "$.e"}], "Retry": RETRY, "TimeoutSeconds": 60},
    protect(False),
    terminate(),
    Stop={"Type": "Fail", "Error": "x", "Cause": "y"},
)
ENVIRONMENT = [{"Name": "V", "Value.$": "States.Format('x-{}-${Y}', $.v)"}, {"Name": "W", "Value": "{{ w }}"}]
OVERRIDES = {
    "Command": ["run", "${X}"],
    "Environment": ENVIRONMENT,
    "ResourceRequirements": [{"Type": "VCPU", "Value.$": "$.v"}, {"Type": "MEMORY", "Value": "512"}],
}
JOB = {
    "ArrayProperties": {"Size": 3},
    "ContainerOverrides": OVERRIDES,
    "Timeout": {"AttemptDurationSeconds": 60},
    "RetryStrategy": {"Attempts": 2},
    "Tags": {"Team": "Data"},
}
NODES = {"NodePropertyOverrides": [{"TargetNodes": "0:", "ContainerOverrides": {"Command": ["a"]}}]}
ITEMS = {
    "Type": "Map",
    "ItemsPath": "$.items",
    "ItemSelector": {"v.$": "$$.Map.Item.Value.a"},
    "MaxConcurrency": 1,
    "ToleratedFailureCount": 2,
    "ItemProcessor": machine(batch(JOB, Retry=RETRY)),
}
BRANCHES = {"Type": "Parallel", "Branches": [machine(batch()), machine({"Type": "Wait", "Seconds": 5})]}
JOBS = machine(
    {"Type": "Pass", "Result": [{"a": 1}, {"a": 2}], "ResultPath": "$.items"},
    ITEMS | {"ResultPath": "$.p"},
    BRANCHES | {"ResultSelector": {"a.$": "$[0]"}, "ResultPath": None, "Catch": FAILS},
    batch({"NodeOverrides": NODES}, Credentials={"RoleArn": "arn:aws:iam::123456789012:role/x"}),
    Stop={"Type": "Fail"},
)
VALUES = [None, True, 0, -1, 1.5, "", "x", "${X}", "{{ x }}", "$.a", [], {}, [1], [None], {"a": 1}, 10**20, "ü" * 300]


def paths(value, at=()):
    """The path of each part of a value."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*at, key)
            yield from paths(value[key], (*at, key))


def changed(data, path, change):
    """A copy whose part at a path has been changed."""
    data = copy.deepcopy(data)
    part = data
    for key in path[:-1]:
        part = part[key]
    change(part, path[-1])
    return data


def mutations(data, path):
    """The part at a path is removed, has another value, or comes from the input."""
    yield changed(data, path, lambda part, key: part.pop(key))
    for value in VALUES:
        yield changed(data, path, lambda part, key, value=value: part.__setitem__(key, copy.deepcopy(value)))
    if isinstance(path[-1], str):
        for given in ("$.a", "$.c.ClusterId", "$$.Execution.Name", "States.Format('{}-${B}', $.z)", 7):
            yield changed(data, path, lambda part, key, given=given: part.update({f"{part.pop(key) and key}.$": given}))


@pytest.mark.parametrize("data", [CLUSTER, JOBS], ids=["cluster", "jobs"])
def test_a_state_machine_with_any_part_changed_is_translated_or_reported(tmp_path, data):
    """The errors of a pipeline that does not load point to the state machine, and no file is written."""
    loaded = 0
    for at, path in enumerate(paths(data)):
        for number, mutation in enumerate(mutations(data, path)):
            if (at + number) % 3 or translate(mutation, "p").problems or (at + number) % 9:
                continue
            document = read_json("x.json", json.dumps(mutation), lambda found: translate(found, "p"))
            if document.errors or check_document(document, None):
                continue
            spec = load(tmp_path, mutation)
            assert [] == [str(error) for error in spec.errors]
            forecast_pipeline(spec.pipelines["p"], folder=tmp_path, run_id="manual")
            loaded += 1
    assert loaded > 20


def test_a_machine_with_everything_equals_its_requests(tmp_path):
    """Parameters and failures of each kind beside each other; what differs is named."""
    spec = load(tmp_path, CLUSTER)
    assert [] == [str(error) for error in spec.errors]
    made = planned(spec.pipelines["p"], tmp_path)["RunJobFlow"]
    assert made["Instances"].pop("TerminationProtected")
    assert [("Name",)] == differences({**CREATE, "ReleaseLabel": "emr-7.5.0"}, made)
    found = {text.partition(" ")[0] for text in notes(CLUSTER)}
    assert {"Retry", "TimeoutSeconds", "B:", "D:"} <= found
    assert {"C", "Succeed"} == set(spec.pipelines["p"].jobs)
    spec = load(tmp_path, JOBS)
    assert [] == [str(error) for error in spec.errors]
    made = planned(spec.pipelines["p"], tmp_path)["SubmitJob"]
    assert [{"targetNodes": "0:"}] == [
        {"targetNodes": one["targetNodes"]} for one in made["nodeOverrides"]["nodePropertyOverrides"]
    ]
