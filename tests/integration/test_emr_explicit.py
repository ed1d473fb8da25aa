"""`explicit_success` on EMR: a step that ends well without reporting success has failed."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_batchemr.operators.emr import (
    EmrCreateClusterOperator,
    EmrStepsOperator,
    EmrTerminateClusterOperator,
    EphemeralEmrOperator,
)
from tests.integration.emr_engine import existing_cluster
from tests.integration.emr_steps import CLUSTER, Steps, alive, named

#: Reports success, like a user's program.
SAY = 'echo done | aws s3 cp --quiet - "$BATCHEMR_SUCCESS_URI"'
UNTIL_FIXED = f"[ ! -e fixed ] || {SAY}"


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path)


def own_dag(dag_id, steps, cluster=CLUSTER, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        EphemeralEmrOperator(task_id="work", cluster=cluster, steps=steps, explicit_success=True, **arguments)
    return dag


def test_steps_that_report_success_succeed(aws, run_dag, steps):
    """Each one has its own object. All of them run on one cluster, which ends."""
    dag = own_dag("says", [steps.step("a", SAY), steps.step("b", SAY)])
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a", "b"] == steps.ran()
    assert 1 == len(named(aws, "says-"))
    assert [] == alive(aws, "says-")


def test_a_step_that_ends_well_without_its_object_has_failed(aws, run_dag, steps):
    """As on Batch. The next step does not run, the cluster ends, and a clear continues with the step that failed."""
    dag = own_dag("silent", [steps.step("a", SAY), steps.step("b", UNTIL_FIXED), steps.step("c", SAY)])
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert "Step 2/3 b" in failed.output
    assert "failed: exit 0, but no object at BATCHEMR_SUCCESS_URI (s3://state/" in failed.output
    assert ["a", "b"] == steps.ran()
    assert [] == alive(aws, "silent-")
    (steps.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a", "b", "b", "c"] == steps.ran()


def test_the_last_step_needs_its_object_too(aws, run_dag, steps):
    """Its cluster has ended by itself."""
    assert {"work": "failed"} == run_dag(own_dag("silent_last", [steps.step("a")])).tasks
    assert [] == alive(aws, "silent_last-")


def test_objects_of_an_earlier_submission_do_not_count(aws, run_dag, steps):
    """Each submission has its own URI, although the step is the same."""
    dag = own_dag("says_earlier", [steps.step("a", f"[ -e second ] || {{ touch second; {SAY}; exit 1; }}")])
    assert {"work": "failed"} == run_dag(dag).tasks
    assert {"work": "failed"} == run_dag(dag).tasks
    assert ["a", "a"] == steps.ran()


def test_steps_after_one_with_on_failure_continue_run(aws, run_dag, steps):
    """As after any other failure; the task fails."""
    dag = own_dag("continues", [steps.step("a", on_failure="continue"), steps.step("b", SAY)])
    assert {"work": "failed"} == run_dag(dag).tasks
    assert ["a", "b"] == steps.ran()
    assert 0 == aws.requests()["AddJobFlowSteps"]


def test_concurrent_steps_report_success_before_the_last_copies(aws, run_dag, steps):
    """Copies at the end run only if all have succeeded."""
    save = {"copy": {"source": "s3://state/none/", "destination": "s3://state/none2/"}}
    cluster = {**CLUSTER, "step_concurrency": 2}
    dag = own_dag("concurrent", [steps.step("a", SAY), steps.step("b", UNTIL_FIXED), save], cluster)
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert ["a", "b"] == sorted(steps.ran())
    assert 0 == aws.requests()["AddJobFlowSteps"]
    assert [] == alive(aws, "concurrent-")


def test_steps_on_an_existing_cluster(aws, run_dag, steps):
    """The cluster goes on running."""
    cluster_id = existing_cluster(aws)
    work = [steps.step("a", SAY), steps.step("b", UNTIL_FIXED, on_failure="cancel_and_wait"), steps.step("c", SAY)]
    with DAG("existing_says", schedule=None) as dag:
        EmrStepsOperator(task_id="work", cluster_id=cluster_id, steps=work, explicit_success=True)
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert "no object at BATCHEMR_SUCCESS_URI" in failed.output
    assert ["a", "b"] == steps.ran()
    (steps.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a", "b", "b", "c"] == steps.ran()
    assert [cluster_id] == [one["Id"] for one in alive(aws, "theirs")]


def test_steps_on_a_cluster_of_the_run(aws, run_dag, steps):
    """Which ends in any case."""
    with DAG("shared_says", schedule=None) as dag:
        up = EmrCreateClusterOperator(task_id="up", job="c.cluster", cluster=CLUSTER, used_by=["one"]).as_setup()
        one = EmrStepsOperator(
            task_id="one", cluster="c.cluster", steps=[steps.step("a", UNTIL_FIXED)], explicit_success=True
        )
        up >> one >> EmrTerminateClusterOperator(task_id="down", cluster="c.cluster").as_teardown(setups=up)
    assert "failed" == run_dag(dag).tasks["one"]
    (steps.folder / "fixed").touch()
    assert "success" == run_dag(dag).tasks["one"]
    assert ["a", "a"] == steps.ran()
    assert [] == alive(aws, "shared_says-")


def test_steps_without_environment_variables_are_rejected(aws, run_dag):
    """They could not report anything. Nothing is started."""
    failed = run_dag(own_dag("jar", [{"jar": "s3://code/x.jar"}]))
    assert {"work": "failed"} == failed.tasks
    assert "explicit_success: only `spark` and `command` steps get environment variables" in failed.output
    assert 0 == aws.requests()["RunJobFlow"]
