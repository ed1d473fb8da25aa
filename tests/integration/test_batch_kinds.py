"""Any kind of job definition: what a job says reaches the program of an ECS task, a pod, and a multi-node job."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.test_batch_array import array_dag

#: What each kind wants of its containers besides the image.
PLAIN = {
    "image": "busybox",
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
}
KINDS = {
    "ecs": {"ecsProperties": {"taskProperties": [{"containers": [{"name": "main", **PLAIN}]}]}},
    "eks": {"eksProperties": {"podProperties": {"containers": [{"name": "main", "image": "busybox"}]}}},
    "nodes": {
        "type": "multinode",
        "nodeProperties": {
            "numNodes": 2,
            "mainNode": 0,
            "nodeRangeProperties": [
                {"targetNodes": "0", "container": {**PLAIN, "command": ["main"]}},
                {"targetNodes": "1:", "container": {**PLAIN, "command": ["other"]}},
            ],
        },
    },
    "plain": {"containerProperties": PLAIN},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_raw_job_definition_runs_the_command_with_its_environment(aws, run_dag, work, kind):
    """Registered as the file says it, checked against AWS's own model, and run with index 0."""
    command = work.command('[ "$WORD" = "it\'s" ] && [ -n "$PIPELINE_RUN_ID" ]')
    dag = array_dag(f"kind_{kind}", command, image=None, job_definition=KINDS[kind], env={"WORD": "it's"}, memory=300)
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter([0]) == work.ran()


@pytest.mark.parametrize("kind", ["ecs", "eks"])
def test_arrays_of_them_resume_to_the_index(aws, run_dag, work, kind):
    """As those of plain containers do."""
    command = work.command("[ $i != 2 ] || [ -e fixed ]")
    dag = array_dag(f"resume_{kind}", command, image=None, job_definition=KINDS[kind], array=4)
    assert {"work": "failed"} == run_dag(dag).tasks
    (work.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(range(4)) + Counter([2]) == work.ran()


def test_the_definitions_own_command_is_taken_where_the_job_gives_none(aws, run_dag, work):
    """It gets the preamble as the job's would."""
    own = {"containerProperties": {**PLAIN, "command": work.command("true")}}
    dag = array_dag("own_command", None, image=None, job_definition=own, array=3)
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(range(3)) == work.ran()


def test_a_name_that_aws_does_not_know_is_refused_before_anything_runs(aws, run_dag, work):
    """By botocore's own model; nothing is registered."""
    wrong = {"ecsProperties": {"taskProperties": [{"containers": [{"name": "main", **PLAIN, "imagePullPolicy": "x"}]}]}}
    finished = run_dag(array_dag("wrong_kind", work.command("true"), image=None, job_definition=wrong))
    assert {"work": "failed"} == finished.tasks
    assert "imagePullPolicy" in finished.output
    assert 0 == aws.requests()["RegisterJobDefinition"]
