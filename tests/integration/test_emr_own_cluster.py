"""A job on a cluster of its own: its steps run once, in order, and the cluster ends whatever happens."""

from __future__ import annotations

from collections import Counter

import pytest
from airflow.sdk import DAG

from airflow_batchemr.operators.emr import EphemeralEmrOperator
from tests.integration.emr_steps import CLUSTER, Steps, alive, named

POLLS = {"DescribeCluster", "ListClusters", "ListSteps"}


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path)


def own_dag(dag_id, steps, cluster=CLUSTER, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        EphemeralEmrOperator(task_id="work", cluster=cluster, steps=steps, **arguments)
    return dag


def test_steps_run_in_order_and_the_cluster_ends(aws, run_dag, steps, xcom):
    """Three steps, one cluster, nothing left."""
    dag = own_dag("own_ok", [steps.step("a"), steps.step("b"), steps.step("c")])
    finished = run_dag(dag)
    assert {"work": "success"} == finished.tasks
    assert ["a", "b", "c"] == steps.ran()
    assert [] == alive(aws, "own_ok")
    assert 1 == len(named(aws, "own_ok-"))
    assert 1 == aws.requests()["RunJobFlow"]
    told = xcom(finished, "own_ok", "work")
    assert named(aws, "own_ok-")[0]["Id"] == told["cluster_id"]
    assert 3 == told["steps"]


def test_what_succeeded_is_not_run_again(aws, run_dag, steps):
    """The marker ends a second run in success, without a cluster."""
    dag = own_dag("own_twice", [steps.step("a")])
    run_dag(dag)
    aws.reset_requests()
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a"] == steps.ran()
    assert 0 == sum(count for call, count in aws.requests().items() if call in POLLS | {"RunJobFlow"})


def test_a_retry_begins_at_the_step_that_failed(aws, run_dag, steps):
    """On a new cluster: the first one has ended with the failure."""
    dag = own_dag("own_resume", [steps.step("a"), steps.step("b", "[ -e mended ] || exit 3"), steps.step("c")])
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert ["a", "b"] == steps.ran()
    assert [] == alive(aws, "own_resume")
    assert "Step 2/3 b" in finished.output
    assert "1 of 3 steps are done: a retry or a clear goes on with the rest" in finished.output
    (steps.folder / "mended").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a", "b", "b", "c"] == steps.ran()
    assert 2 == len(named(aws, "own_resume"))


def test_without_resume_a_retry_begins_at_the_first_step(aws, run_dag, steps):
    """Where steps hand data on through HDFS, what an ended cluster has done is gone."""
    script = "[ -e tried ] || { touch tried; exit 3; }"
    dag = own_dag("own_anew", [steps.step("a"), steps.step("b", script)], resume_steps=False, retries=1, retry_delay=0)
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a", "b", "a", "b"] == steps.ran()


def test_a_step_that_has_changed_is_run_again_with_all_after_it(aws, run_dag, steps):
    """What came after rests on what it did before."""
    run_dag(own_dag("own_changed", [steps.step("a"), steps.step("b"), steps.step("c", "exit 1")]))
    run_dag(own_dag("own_changed", [steps.step("a"), steps.step("b", "true # other"), steps.step("c")]))
    assert ["a", "b", "c", "b", "c"] == steps.ran()


def test_a_cluster_with_termination_protection_is_ended_too(aws, run_dag, steps):
    """The protection is lifted when the work is done."""
    dag = own_dag("own_protected", [steps.step("a")], {**CLUSTER, "termination_protection": True})
    assert {"work": "success"} == run_dag(dag).tasks
    assert [] == alive(aws, "own_protected")


def test_a_kept_cluster_stays(aws, run_dag, steps):
    """`keep_alive` leaves it to its idle timeout."""
    dag = own_dag("own_kept", [steps.step("a")], {**CLUSTER, "keep_alive": "4h"})
    assert {"work": "success"} == run_dag(dag).tasks
    kept = alive(aws, "own_kept")
    assert 1 == len(kept)
    policy = aws.client("emr").get_auto_termination_policy(ClusterId=kept[0]["Id"])["AutoTerminationPolicy"]
    assert {"IdleTimeout": 4 * 3600} == policy
    aws.client("emr").terminate_job_flows(JobFlowIds=[kept[0]["Id"]])


def test_more_than_256_steps_run_on_one_cluster(aws, run_dag, steps):
    """The rest is added when the first 256 have ended."""
    many = [["sh", "-c", f"echo {number} >> {steps.log}"] for number in range(270)]
    dag = own_dag("own_many", many)
    assert {"work": "success"} == run_dag(dag).tasks
    assert [str(number) for number in range(270)] == steps.ran()
    assert 1 == len(named(aws, "own_many"))
    assert [] == alive(aws, "own_many")


def test_steps_at_once_rerun_only_what_failed(aws, run_dag, steps):
    """With step_concurrency, steps do not rest on each other."""
    dag = own_dag(
        "own_at_once",
        [steps.step("a"), steps.step("b", "[ -e mended ] || exit 3"), steps.step("c")],
        {**CLUSTER, "step_concurrency": 3},
    )
    assert {"work": "failed"} == run_dag(dag).tasks
    (steps.folder / "mended").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(a=1, b=2, c=1) == Counter(steps.ran())
    assert [] == alive(aws, "own_at_once")
