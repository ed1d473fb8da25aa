"""A rendered value in a text command stays one argument: no shell interprets it, on Batch or on EMR."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from airflow.sdk import DAG

from airflow_batchemr import BatchArrayOperator, EphemeralEmrOperator, load_pipelines
from tests.integration.emr_steps import CLUSTER

HOSTILE = "a; touch {folder}/owned; $(touch {folder}/owned) `touch {folder}/owned` 'b' \"c\"\n--all * \\ #d"


@pytest.fixture
def program(tmp_path):
    """A text command that writes its arguments to a file, the hostile value, and the written arguments."""
    script = tmp_path / "arguments.py"
    script.write_text("import json, pathlib, sys\npathlib.Path(sys.argv[1]).write_text(json.dumps(sys.argv[2:]))\n")
    value = HOSTILE.format(folder=tmp_path)
    text = f"{sys.executable} {script} {tmp_path}/seen " + "{{ params.x }} --x={{ params['x'] }} 'and {{ params.x }}'"
    yield text, value
    assert [value, f"--x={value}", f"and {value}"] == json.loads((tmp_path / "seen").read_text())
    assert not (tmp_path / "owned").exists()


def test_a_batch_job_gets_the_value_as_one_argument(aws, run_dag, program):
    """Inside the preamble, which runs in a shell."""
    command, value = program
    with DAG("hostile_batch", schedule=None, params={"x": value}) as dag:
        BatchArrayOperator(task_id="work", queue="default", image="busybox", command=command)
    assert {"work": "success"} == run_dag(dag).tasks


@pytest.mark.parametrize("form", ["text", "mapping"])
def test_an_emr_step_gets_the_value_as_one_argument(aws, run_dag, program, form):
    """A step given as text, and a step with `command`."""
    command, value = program
    with DAG(f"hostile_emr_{form}", schedule=None, params={"x": value}) as dag:
        steps = [command if form == "text" else {"command": command}]
        EphemeralEmrOperator(task_id="work", cluster=CLUSTER, steps=steps)
    assert {"work": "success"} == run_dag(dag).tasks


@pytest.mark.parametrize(
    "job",
    [
        lambda command: {"batch": {"queue": "default", "image": "busybox:1", "command": command}},
        lambda command: {"emr": CLUSTER, "steps": [command]},
    ],
    ids=["batch", "emr"],
)
def test_a_job_of_a_pipeline_file_gets_the_value_as_one_argument(aws, run_dag, program, tmp_path, job):
    """The Dag of a file behaves like the operators."""
    command, value = program
    file = tmp_path / "hostile.yaml"
    file.write_text(yaml.safe_dump({"hostile": {"schedule": None, "params": {"x": value}, **job(command)}}))
    dags = {}
    load_pipelines(dags, file)
    assert {"hostile": "success"} == run_dag(dags["hostile"]).tasks
