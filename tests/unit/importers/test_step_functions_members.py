"""Every member of AWS's requests is imported, validated and planned as it is in the source, or is reported."""

from __future__ import annotations

import json

import pytest

from airflow_batchemr.core.service_models import shape
from airflow_batchemr.forecast import forecast_pipeline
from airflow_batchemr.pipeline_file import load_file
from airflow_batchemr.pipeline_file.importers.step_functions import translate
from tests.unit.importers.model_documents import capitalized, differences, documents, from_input
from tests.unit.importers.state_machines import EMR, load, machine, step

SUBMIT = {"jobName": "j", "jobQueue": "data", "jobDefinition": "etl:1"}
RUN = {"Name": "c", "ReleaseLabel": "emr-7.5.0", "Instances": {"MasterInstanceType": "m5.xlarge"}}
STEP = {"Name": "s", "HadoopJarStep": {"Jar": "s3://a.jar"}}
#: The type of a job definition decides which other members it needs.
DEFINITION = {"jobDefinitionName": "etl", "type": "container", "containerProperties": {"image": "busybox:1"}}


def planned(pipeline, folder):
    """The requests of each task, by name of the call; without AWS."""
    found = forecast_pipeline(pipeline, folder=folder, run_id="manual")
    assert [] == [(one.task_id, one.note) for one in found.jobs if one.does == "refused"]
    return {request["call"]: request["request"] for one in found.jobs for request in one.requests}


def reported(data):
    """The texts of all errors and notes, with the members at their paths."""
    translation = translate(data, "p")
    problems = [f"{problem.keys} {problem.message}" for problem in translation.problems]
    return problems, [f"{note.source} {note.path} {note.message}" for note in translation.notes]


def check(tmp_path, data, call, source):
    """The planned request contains each member of the source, or the report names it."""
    problems, notes = reported(data)
    if problems:
        assert all("is not translated" not in text for text in problems)
        return {(name,) for name in source if any(name.lower() in text.lower() for text in problems)}
    spec = load(tmp_path, data)
    assert [] == [str(error) for error in spec.errors]
    different = differences(source, planned(spec.pipelines["p"], tmp_path)[call])
    unreported = [path for path in different if not any(path[-1].lower() in text.lower() for text in notes)]
    assert [] == unreported
    return set(different)


SUBMISSIONS = documents("batch", "SubmitJob", SUBMIT)


@pytest.mark.parametrize("member", SUBMISSIONS)
def test_each_member_of_submit_job(tmp_path, member):
    """The job's name is made by batchemr, and a dependency needs a job id, which is not known before the run."""
    source = SUBMISSIONS[member]
    task = {"Type": "Task", "Resource": "arn:aws:states:::batch:submitJob.sync"}
    data = machine(task | {"Parameters": capitalized(source, shape("batch", "SubmitJob"))})
    unnamed = {key: value for key, value in source.items() if key != "jobName"}
    expected = {
        "dependsOn": {("dependsOn",)},
        "containerOverrides": {("containerOverrides", "vcpus"), ("containerOverrides", "memory")},
    }
    assert expected.get(member, set()) == check(tmp_path, data, "SubmitJob", unnamed)


CLUSTERS = documents("emr", "RunJobFlow", RUN, split="Instances")
for one in CLUSTERS.values():
    if not {"InstanceGroups", "InstanceFleets"} & set(one["Instances"]):
        one["Instances"].setdefault("MasterInstanceType", "m5.xlarge")


@pytest.mark.parametrize("member", CLUSTERS)
def test_each_member_of_run_job_flow(tmp_path, member):
    """Steps are added by jobs; a cluster is named after its run and stays until the last job has ended."""
    source = CLUSTERS[member]
    create = {"Type": "Task", "Resource": EMR + "createCluster.sync", "Parameters": source, "ResultPath": "$.c"}
    data = machine(create, step())
    of_cluster = {key: value for key, value in source.items() if key not in {"Steps", "StepExecutionRoleArn"}}
    assert check(tmp_path, data, "RunJobFlow", of_cluster) <= {
        ("AmiVersion",),
        ("ReleaseLabel",),
        ("Name",),
        ("Instances", "InstanceCount"),
        ("Instances", "MasterInstanceType"),
        ("Instances", "SlaveInstanceType"),
    }


def refused_from_input(tmp_path, parameters, resource, call, source, *following):
    """The names of the values that cannot come from the execution's input; the others reach the request."""
    refused = set()
    for name, value, given in from_input(parameters):
        data = machine({"Type": "Task", "Resource": resource, "Parameters": given, "ResultPath": "$.c"}, *following)
        translation = translate(data, "p")
        if translation.problems:
            assert all(name in problem.message for problem in translation.problems)
            refused.add(name)
            continue
        for param in translation.file["p"].get("params", {}).values():
            param["default"] = value
        path = tmp_path / "p.yaml"
        path.write_text(json.dumps(translation.file))
        spec = load_file(path)
        assert [] == [str(error) for error in spec.errors]
        made = planned(spec.pipelines["p"], tmp_path)[call]
        assert {member[-1] for member in differences(source, made)} <= NAMED_IN_NOTES
    return refused


#: Members whose differences the tests of each member check.
NAMED_IN_NOTES = {"vcpus", "memory", "Name", "InstanceCount", "MasterInstanceType", "SlaveInstanceType"}


@pytest.mark.parametrize("member", [name for name in SUBMISSIONS if name != "dependsOn"])
def test_values_of_submit_job_from_the_input(tmp_path, member):
    """Also sizes, timeouts and attempts; the names of variables and what decides on the form have to be constant."""
    source = {key: value for key, value in SUBMISSIONS[member].items() if key != "jobName"}
    parameters = capitalized(source, shape("batch", "SubmitJob"))
    resource = "arn:aws:states:::batch:submitJob.sync"
    refused = refused_from_input(tmp_path, parameters, resource, "SubmitJob", source)
    assert ({"Name", "Type"} if member == "containerOverrides" else set()) == refused


@pytest.mark.parametrize("member", [name for name in CLUSTERS if name not in {"AmiVersion", "Steps"}])
def test_values_of_run_job_flow_from_the_input(tmp_path, member):
    """Also the release and the numbers of instances; keys and termination protection have to be constant."""
    source = {key: value for key, value in CLUSTERS[member].items() if key != "StepExecutionRoleArn"}
    refused = refused_from_input(tmp_path, source, EMR + "createCluster.sync", "RunJobFlow", source, step())
    constant = {"Tags": {"Key"}, "Instances.TerminationProtected": {"TerminationProtected"}}
    assert constant.get(member, set()) == refused


STEPS = documents("emr", "AddJobFlowSteps", {"JobFlowId": "j-123ABC", "Steps": [STEP]})


@pytest.mark.parametrize("member", STEPS)
@pytest.mark.parametrize("command", [False, True])
def test_each_member_of_add_job_flow_steps(tmp_path, member, command):
    """A step's name ends with a mark, by which it is found again; a command gets the variables of the run."""
    source = json.loads(json.dumps(STEPS[member]))
    source["JobFlowId"] = "j-123ABC"
    jar = source["Steps"][0]["HadoopJarStep"]
    if command:
        jar.update({"Jar": "command-runner.jar", "Args": ["true"]})
    parameters = {"ClusterId": source["JobFlowId"], "Step": source["Steps"][0]}
    parameters |= {key: value for key, value in source.items() if key not in {"JobFlowId", "Steps"}}
    task = {"Type": "Task", "Resource": EMR + "addStep.sync", "Parameters": parameters}
    spec = load(tmp_path, machine(task))
    assert [] == [str(error) for error in spec.errors]
    made = planned(spec.pipelines["p"], tmp_path)["AddJobFlowSteps"]
    made_step = made["Steps"][0]
    assert made_step["Name"].startswith(f"{source['Steps'][0].pop('Name')} [")
    made_jar = made_step["HadoopJarStep"]
    if made_jar["Jar"] == "command-runner.jar" and "env" in made_jar["Args"][:1]:
        made_jar["Args"] = [argument for argument in made_jar["Args"][1:] if "=" not in argument]
    assert [] == differences(source, made)


DEFINITIONS = documents("batch", "RegisterJobDefinition", DEFINITION)


@pytest.mark.parametrize("member", DEFINITIONS)
def test_each_member_of_register_job_definition(tmp_path, member):
    """Step Functions has no such task; `job_definition` takes it. The name gets a hash of the content."""
    source = dict(DEFINITIONS[member])
    if member in {"ecsProperties", "eksProperties", "nodeProperties"}:
        del source["containerProperties"]
    block = {"queue": "data", "command": ["true"], "job_definition": source}
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"p": {"jobs": {"a": {"batch": block}}}}))
    spec = load_file(path)
    assert [] == [str(error) for error in spec.errors]
    made = planned(spec.pipelines["p"], tmp_path)["RegisterJobDefinition"]
    assert made["jobDefinitionName"].startswith(source.pop("jobDefinitionName"))
    assert [] == differences(source, made)
