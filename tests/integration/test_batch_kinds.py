"""All kinds of job definitions: the job's command reaches the program of an ECS task, a pod, and a multi-node job."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.test_batch_array import array_dag

#: Required fields of each kind's containers, in addition to the image.
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
    """It is registered as written, is valid according to botocore's model, and runs with index 0."""
    command = work.command('[ "$WORD" = "it\'s" ] && [ -n "$PIPELINE_RUN_ID" ]')
    dag = array_dag(f"kind_{kind}", command, image=None, job_definition=KINDS[kind], env={"WORD": "it's"}, memory=300)
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter([0]) == work.ran()


@pytest.mark.parametrize("kind", ["ecs", "eks"])
def test_arrays_of_every_kind_resume_by_index(aws, run_dag, work, kind):
    """Like those of plain containers."""
    command = work.command("[ $i != 2 ] || [ -e fixed ]")
    dag = array_dag(f"resume_{kind}", command, image=None, job_definition=KINDS[kind], array=4)
    assert {"work": "failed"} == run_dag(dag).tasks
    (work.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(range(4)) + Counter([2]) == work.ran()


def test_the_definitions_command_is_used_if_the_job_has_none(aws, run_dag, work):
    """It runs inside the preamble as well."""
    own = {"containerProperties": {**PLAIN, "command": work.command("true")}}
    dag = array_dag("own_command", None, image=None, job_definition=own, array=3)
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(range(3)) == work.ran()


def test_an_unknown_field_is_rejected_before_anything_runs(aws, run_dag, work):
    """By botocore's model. Nothing is registered."""
    wrong = {"ecsProperties": {"taskProperties": [{"containers": [{"name": "main", **PLAIN, "imagePullPolicy": "x"}]}]}}
    finished = run_dag(array_dag("wrong_kind", work.command("true"), image=None, job_definition=wrong))
    assert {"work": "failed"} == finished.tasks
    assert "imagePullPolicy" in finished.output
    assert 0 == aws.requests()["RegisterJobDefinition"]
