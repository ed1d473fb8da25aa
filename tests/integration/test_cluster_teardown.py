"""The task that terminates a cluster: when it runs, and how it affects the state of the run."""

from __future__ import annotations

import dataclasses
import textwrap

import pytest
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_batchemr.dags.build import build_dag
from airflow_batchemr.dags.plan import EMPTY_OPERATOR, plan_dag
from airflow_batchemr.operators.emr import EmrCreateClusterOperator, EmrTerminateClusterOperator
from airflow_batchemr.pipeline_file import load_file

ONE_JOB = """
    beside:
      jobs:
        first: {batch: {image: 'a:1', queue: q, command: x}}
        work: {after: first, emr: {type: m5.xlarge, instances: 2}, batch: {image: 'a:1', queue: q, command: x}}
        last: {after: work, batch: {image: 'a:1', queue: q, command: x}}
"""
LEAF = """
    leaf:
      jobs:
        work: {emr: {type: m5.xlarge, instances: 2}, batch: {image: 'a:1', queue: q, command: x}}
"""
SHARED = """
    shared:
      clusters: {spark: {type: m5.xlarge, instances: 4, log_uri: s3://logs}}
      jobs:
        a: {emr: {cluster: spark}, spark: {py: s3://code/a.py}}
        b: {emr: {cluster: spark}, spark: {py: s3://code/b.py}}
"""


class Scripted(BaseOperator):
    """Succeeds or fails as configured, and prints when it runs."""

    def __init__(self, *, fails=False, **kwargs):
        super().__init__(**kwargs)
        self.fails = fails

    def execute(self, context):
        print(f"ran {self.task_id}")  # noqa: T201 - read by the test
        if self.fails:
            raise AirflowFailException("configured to fail")


class ScriptedTeardown(EmrTerminateClusterOperator):
    """As `Scripted`."""

    fails = False
    execute = Scripted.execute


class WronglyFailed(EmrCreateClusterOperator):
    """Starts its cluster and fails nevertheless, like a task that the scheduler wrongly considers killed."""

    def execute(self, context):
        super().execute(context)
        raise AirflowFailException("finished with state success, but the task instance's state is queued")

    def resume(self, context, event=None):
        super().resume(context, event)
        raise AirflowFailException("finished with state success, but the task instance's state is queued")


@pytest.fixture
def planned(tmp_path):
    """`planned(text, *failing)` builds the planned Dag, with operators that only succeed or fail."""

    def make(text, *failing):
        file = tmp_path / "p.yaml"
        file.write_text(textwrap.dedent(text))
        (pipeline,) = load_file(file).pipelines.values()
        plan = plan_dag(pipeline)
        tasks = [
            task
            if task.operator == EMPTY_OPERATOR
            else dataclasses.replace(
                task, operator=f"{__name__}.Scripted", kwargs={"fails": task.task_id in failing, "retries": 0}
            )
            for task in plan.tasks
        ]
        return build_dag(dataclasses.replace(plan, tasks=tasks))

    return make


def ran(finished):
    return [line.split("ran ")[1].split()[0] for line in finished.output.splitlines() if "ran " in line]


@pytest.mark.parametrize(
    ("failing", "states", "run"),
    [
        ((), ("success", "success", "success", "success"), "success"),
        (("work",), ("success", "failed", "upstream_failed", "success"), "failed"),
        (("work.create_cluster",), ("failed", "upstream_failed", "upstream_failed", "success"), "failed"),
        (("first",), ("upstream_failed", "upstream_failed", "upstream_failed", "success"), "failed"),
        (("work.terminate_cluster",), ("success", "success", "success", "failed"), "failed"),
    ],
    ids=["all is well", "work fails", "setup fails", "upstream of the setup fails", "teardown fails"],
)
def test_the_cluster_is_terminated_after_any_failure(planned, run_dag, failing, states, run):
    finished = run_dag(planned(ONE_JOB, *failing), again=True)
    names = ("work.create_cluster", "work", "last", "work.terminate_cluster")
    assert tuple(finished.tasks[name] for name in names) == states
    assert finished.state == run


@pytest.mark.parametrize("failing", ["work", "work.create_cluster", "work.terminate_cluster"])
def test_a_run_without_later_jobs_fails_if_its_work_or_teardown_fails(planned, run_dag, failing):
    """The teardown is the last task, but its success does not hide a failure of the work."""
    finished = run_dag(planned(LEAF, failing), again=True)
    assert finished.tasks[failing] == "failed"
    assert finished.state == "failed"


@pytest.mark.parametrize("failing", ["a", "b"])
def test_a_shared_cluster_is_terminated_after_all_its_jobs(planned, run_dag, failing):
    finished = run_dag(planned(SHARED, failing), again=True)
    assert finished.tasks["spark.terminate_cluster"] == "success"
    assert finished.state == "failed"
    order = ran(finished)
    assert order[0] == "spark.create_cluster"
    assert sorted(order[1:3]) == ["a", "b"]
    assert order[3:] == ["spark.terminate_cluster"]


def test_clearing_a_job_also_clears_setup_and_teardown(planned):
    """In the scheduler's copy of the Dag. The empty task is cleared as well, so that the teardown waits again."""
    dag = DagSerialization.from_dict(DagSerialization.to_dict(planned(ONE_JOB)))
    cluster = {"work.create_cluster", "work.terminate_cluster", "work.terminate_cluster.after_finished"}

    def cleared(task_id, *, downstream=False):
        return set(dag.partial_subset(task_id, include_upstream=False, include_downstream=downstream).task_dict)

    assert cleared(["work"]) == {"work", *cluster}
    assert cleared(["work"], downstream=True) == {"work", "last", *cluster}
    assert cleared(["work.create_cluster"]) == cluster
    assert cleared(["last"]) == {"last"}


def test_the_cluster_of_a_wrongly_failed_setup_task_is_terminated(aws, run_dag, tmp_path):
    (tmp_path / "p.yaml").write_text(textwrap.dedent(LEAF))
    plan = plan_dag(load_file(tmp_path / "p.yaml").pipelines["leaf"])
    tasks = [
        dataclasses.replace(task, operator=f"{__name__}.WronglyFailed") if task.setup else task for task in plan.tasks
    ]
    finished = run_dag(build_dag(dataclasses.replace(plan, tasks=tasks)), again=True)
    assert finished.tasks["work.create_cluster"] == "failed"
    assert finished.tasks["work.terminate_cluster"] == "success"
    (cluster,) = aws.client("emr").list_clusters()["Clusters"]
    assert cluster["Status"]["State"] in {"TERMINATING", "TERMINATED"}


def written(*failing, dag_id="written"):
    """A Dag written in Python, as in the documentation."""
    with DAG(dag_id, schedule=None) as dag:
        names = ("first", "create", "load", "report")
        first, create, load, report = (Scripted(task_id=name, fails=name in failing, retries=0) for name in names)
        terminate = ScriptedTeardown(task_id="terminate", cluster="spark.cluster", retries=0)
        terminate.fails = "terminate" in failing
        first >> create.as_setup() >> load >> report >> terminate.as_teardown(setups=create)
    return dag


@pytest.mark.parametrize("failing", [None, "first", "create", "load", "report", "terminate"])
def test_teardown_of_a_dag_in_python_runs_and_nothing_hides_a_failure(run_dag, failing):
    """`as_teardown` alone is enough."""
    finished = run_dag(written(failing), again=True)
    assert "terminate" in ran(finished)
    assert finished.state == ("failed" if failing else "success")
    assert finished.tasks["terminate.succeeded"] == {
        None: "success",
        "load": "success",
        "report": "success",
    }.get(failing, "upstream_failed")


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_jobs_may_be_set_upstream_before_or_after_as_teardown(run_dag, first):
    """And the task may be in a task group."""
    with DAG("order", schedule=None) as dag, TaskGroup("group"):
        create = Scripted(task_id="create")
        work = Scripted(task_id="work", fails=True)
        terminate = ScriptedTeardown(task_id="terminate", cluster="spark.cluster")
        create >> work
        if first:
            work >> terminate
        terminate.as_teardown(setups=(one for one in [create]))
        if not first:
            terminate.set_upstream(work)
    finished = run_dag(dag, again=True)
    assert finished.state == "failed"
    assert finished.tasks["group.terminate.succeeded"] == "success"


def test_clearing_a_job_of_a_dag_in_python_also_clears_setup_and_teardown():
    dag = DagSerialization.from_dict(DagSerialization.to_dict(written()))
    subset = dag.partial_subset("report", include_upstream=False, include_downstream=False)
    assert set(subset.task_dict) == {"create", "report", "terminate", "terminate.succeeded"}


def test_fail_dagrun_that_is_given_has_the_meaning_of_airflow():
    """No task is added."""
    with DAG("given", schedule=None) as dag:
        terminate = EmrTerminateClusterOperator(task_id="terminate", cluster="spark.cluster")
        terminate.as_teardown(on_failure_fail_dagrun=True)
    assert dag.task_ids == ["terminate"]
    assert terminate.on_failure_fail_dagrun
    assert terminate.trigger_rule == "all_done"


@pytest.mark.parametrize("cluster", ["j-3H6EATEXAMPLE", None, ""])
def test_teardown_requires_the_name_of_a_cluster_in_the_ledger(cluster):
    """With an id, it would find nothing in the ledger, and succeed."""
    with pytest.raises(AirflowFailException, match="give the `job` of the EmrCreateClusterOperator"):
        EmrTerminateClusterOperator(task_id="terminate", cluster=cluster)


def test_teardown_rejects_a_template_that_renders_to_an_id():
    terminate = EmrTerminateClusterOperator(task_id="terminate", cluster="{{ ti.xcom_pull('create') }}")
    terminate.cluster = "j-3H6EATEXAMPLE"
    with pytest.raises(AirflowFailException, match="not 'j-3H6EATEXAMPLE'"):
        terminate.execute({})
