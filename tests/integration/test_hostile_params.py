"""What a user who triggers a run writes into a param is one argument, in every command of Batch and EMR."""

from __future__ import annotations

import json
import sys

import pytest
from airflow.sdk import DAG, task

from airflow_batchemr import BatchArrayOperator, EphemeralEmrOperator, build_dags
from tests.integration.emr_steps import CLUSTER

HOSTILE = [
    "a; id",
    "a --out s3://other",
    "O'Brien",
    'a" && id && "',
    "line 1\nline 2; id",
    "$(id) `id` ${HOME} $HOME",
    "{{ params.secret }} {% raw %} }}",
    "Ref::secret",
    "*",
    "\\",
    "--out=s3://other",
]
#: The program: it writes its arguments, and a variable, as JSON.
PROGRAM = """\
#!{python}
import json, os, sys
with open({out!r}, "a") as file:
    file.write(json.dumps([sys.argv[1:], os.environ.get("MODEL")]) + "\\n")
"""


@pytest.fixture
def program(work, tmp_path):
    """The program and what it has seen."""
    path, out = tmp_path / "train", tmp_path / "seen"
    path.write_text(PROGRAM.format(python=sys.executable, out=str(out)))
    path.chmod(0o755)
    return path, lambda: [json.loads(line) for line in out.read_text().splitlines()]


PARAMS = {f"p{number}": value for number, value in enumerate(HOSTILE)}
ARGUMENTS = " ".join(f"{{{{ params.{name} }}}} 'of {{{{ params.{name} }}}}'" for name in PARAMS)
ENV = {"MODEL": "{{ params.p0 }}"}
#: What one execution of the program sees.
EXPECTED = [[argument for value in HOSTILE for argument in (value, f"of {value}")], HOSTILE[0]]


def test_a_param_is_one_argument_of_a_text_command_of_a_file(aws, run_dag, work, program, tmp_path):
    """Of a Batch job, an array and an EMR step: whatever it contains, no shell sees it and nothing splits it."""
    path, seen = program
    command, batch = f"{path} {ARGUMENTS}", {"image": "a:1", "queue": "default"}
    jobs = {
        "single": {"batch": {**batch, "command": command}},
        "array": {"after": "single", "array": 2, "batch": {**batch, "command": command}},
        "steps": {
            "after": "array",
            "emr": {"type": "m5.xlarge", "log_uri": "s3://state/logs/"},
            "steps": [command, {"command": command}],
        },
    }
    params = {**dict.fromkeys(PARAMS, "a"), "secret": "S3CRET"}
    file = tmp_path / "p.yaml"
    file.write_text(json.dumps({"hostile": {"params": params, "defaults": {"env": ENV}, "jobs": jobs}}))
    (dag,) = build_dags(file)
    finished = run_dag(dag, conf=PARAMS)
    assert {"success"} == set(finished.tasks.values())
    assert [EXPECTED] * 5 == seen()


def test_a_param_is_one_argument_of_a_text_command_in_python(aws, run_dag, work, program):
    """Of an operator, of a mapped operator, and of the steps of an EMR operator."""
    path, seen = program
    text, batch = f"{path} {ARGUMENTS}", {"image": "a", "job_queue": "default", "env": ENV}
    with DAG("hostile_python", schedule=None, params={**PARAMS, "secret": "S3CRET"}) as dag:
        BatchArrayOperator(task_id="plain", command=text, **batch)
        BatchArrayOperator.partial(task_id="mapped", **batch).expand(command=[text])
        EphemeralEmrOperator(task_id="emr", cluster=CLUSTER, steps=[text, {"command": text}], env=ENV)
        EphemeralEmrOperator.partial(task_id="steps", cluster=CLUSTER, env=ENV).expand(steps=[[text]])
    finished = run_dag(dag)
    assert {"success"} == set(finished.tasks.values())
    assert [EXPECTED] * 5 == seen()


def test_an_empty_param_stays_an_argument(aws, run_dag, work, program):
    """On EMR; AWS Batch accepts no empty arguments."""
    path, seen = program
    with DAG("hostile_empty", schedule=None, params={"model": ""}) as dag:
        EphemeralEmrOperator(task_id="emr", cluster=CLUSTER, steps=[f"{path} --model {{{{ params.model }}}} -v"])
    assert "success" == run_dag(dag).state
    assert [[["--model", "", "-v"], None]] == seen()


def test_a_text_command_of_another_task_is_not_a_template(aws, run_dag, work, program):
    """It is split, but what it contains has no other meaning: also not braces that would not be closed."""
    path, seen = program

    @task
    def command():
        return f"{path} '{{{{ params.secret' {{% if"

    with DAG("hostile_output", schedule=None, params={"secret": "S3CRET"}) as dag:
        text = command()
        BatchArrayOperator(task_id="work", image="a", job_queue="default", command=text)
    finished = run_dag(dag)
    assert {"success"} == set(finished.tasks.values())
    assert [[["{{ params.secret", "{%", "if"], None]] == seen()


def test_a_list_in_a_param_does_not_become_several_arguments(aws, run_dag, work, program):
    """Also if the Dag renders to Python objects."""
    path, seen = program
    params = {"model": ["a", "--out", "s3://other"]}
    with DAG("hostile_list", schedule=None, params=params) as dag:
        BatchArrayOperator(task_id="text", image="a", job_queue="default", command=f"{path} {{{{ params.model }}}}")
    assert "success" == run_dag(dag).state
    assert [[["['a', '--out', 's3://other']"], None]] == seen()
    with DAG("hostile_native", schedule=None, params=params, render_template_as_native_obj=True) as dag:
        BatchArrayOperator(task_id="native", image="a", job_queue="default", command=f"{path} {{{{ params.model }}}}")
    finished = run_dag(dag)
    assert {"native": "failed"} == finished.tasks
    assert "expected text, not a list" in finished.output


def test_arguments_of_spark_that_yarn_would_execute_start_no_cluster(aws, run_dag):
    """Spark does not quote backticks for YARN in cluster mode."""
    spark = {"py": "s3://state/x.py", "args": ["{{ params.model }}"]}
    with DAG("hostile_spark", schedule=None, params={"model": "a`id`"}) as dag:
        EphemeralEmrOperator(task_id="emr", cluster=CLUSTER, steps=[{"spark": spark}])
    finished = run_dag(dag)
    assert {"emr": "failed"} == finished.tasks
    assert "steps[0].spark.args[0]: '`' is not supported with `deploy_mode: cluster`" in finished.output
    names = [cluster["Name"] for cluster in aws.client("emr").list_clusters()["Clusters"]]
    assert not any("hostile_spark" in name for name in names)
