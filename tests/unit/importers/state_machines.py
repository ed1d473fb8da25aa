"""Small state machines for the tests of the import from Step Functions."""

from __future__ import annotations

import json

from airflow_batchemr.pipeline_file import load_file
from airflow_batchemr.pipeline_file.importers.document import read_json
from airflow_batchemr.pipeline_file.importers.step_functions import translate

BATCH = "arn:aws:states:::batch:submitJob.sync"
EMR = "arn:aws:states:::elasticmapreduce:"


def batch(parameters=None, **fields):
    """A task that submits a Batch job."""
    given = {"JobName": "j", "JobDefinition": "etl:1", "JobQueue": "data"} | (parameters or {})
    return {"Type": "Task", "Resource": BATCH, "Parameters": given} | fields


def cluster(state=None, **fields):
    """A task that creates a cluster."""
    parameters = {
        "Name": "c",
        "ReleaseLabel": "emr-7.5.0",
        "LogUri": "s3://logs/",
        "Instances": {"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "m5.2xlarge", "InstanceCount": 4},
    } | fields
    made = {"Type": "Task", "Resource": EMR + "createCluster.sync", "Parameters": parameters, "ResultPath": "$.c"}
    return made | (state or {})


def step(path="$.c.ClusterId", more=None, **fields):
    """A task that adds a step."""
    made = {"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", "s3://a.py"]}} | fields
    parameters = {"ClusterId.$": path, "Step": made} if path.startswith("$") else {"ClusterId": path, "Step": made}
    parameters |= more or {}
    return {"Type": "Task", "Resource": EMR + "addStep.sync", "Parameters": parameters, "ResultPath": None}


def terminate(path="$.c.ClusterId", **fields):
    """A task that terminates a cluster."""
    parameters = {"ClusterId.$": path}
    return {"Type": "Task", "Resource": EMR + "terminateCluster", "Parameters": parameters, "ResultPath": None} | fields


def machine(*states, **fields):
    """A sequence of states named A, B, C …, and additional states by name."""
    names = [chr(65 + number) for number in range(len(states))]
    made = {}
    for number, (name, state) in enumerate(zip(names, states, strict=True)):
        following = {"Next": names[number + 1]} if number + 1 < len(names) else {"End": True}
        ends = state.get("Type") in {"Succeed", "Fail", "Choice"} or "Next" in state
        made[name] = dict(state) if ends else following | state
    return {"StartAt": "A", "States": made | fields}


def pipeline(data):
    """The pipeline of a translation without problems."""
    translation = translate(data, "p")
    assert [str(problem) for problem in translation.problems] == []
    return translation.file["p"]


def jobs(data):
    """The jobs of a translation without problems."""
    return pipeline(data)["jobs"]


def problems(data):
    """Path and message of each problem."""
    return [(".".join(map(str, problem.keys)), problem.message) for problem in translate(data, "p").problems]


def notes(data):
    """Messages of the notes."""
    return [note.message for note in translate(data, "p").notes]


def load(tmp_path, data, name="p"):
    """Write the translated pipeline file and load it."""
    document = read_json("x.json", json.dumps(data), lambda found: translate(found, name))
    path = tmp_path / "imported.yaml"
    path.write_text(document.yaml("header"))
    return load_file(path)
