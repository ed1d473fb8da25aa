"""Clusters that are there: set up and torn down for several tasks, or somebody else's."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import EmrCreateClusterOperator, EmrStepsOperator, EmrTerminateClusterOperator
from tests.integration.emr_steps import CLUSTER, Steps, alive, named


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path)


def shared_dag(dag_id, jobs, cluster=CLUSTER, needs=None):
    """`jobs`: name -> steps; they run one after another on one cluster."""
    with DAG(dag_id, schedule=None) as dag:
        up = EmrCreateClusterOperator(
            task_id="up", job="shared.cluster", cluster=cluster, used_by=list(jobs), needs=needs
        ).as_setup()
        down = EmrTerminateClusterOperator(task_id="down", cluster="shared.cluster").as_teardown(setups=up)
        before = up
        for name, work in jobs.items():
            task = EmrStepsOperator(task_id=name, cluster="shared.cluster", steps=work)
            before >> task
            before = task
        before >> down
    return dag


def test_jobs_share_a_cluster_that_ends_after_the_last_of_them(aws, run_dag, steps):
    """One RunJobFlow for two jobs, and nothing left."""
    dag = shared_dag("shared_ok", {"one": [steps.step("a"), steps.step("b")], "two": [steps.step("c")]})
    finished = run_dag(dag)
    assert {"up": "success", "one": "success", "two": "success", "down": "success"} == finished.tasks
    assert ["a", "b", "c"] == steps.ran()
    assert 1 == len(named(aws, "shared_ok-"))
    assert [] == alive(aws, "shared_ok-")


def test_no_cluster_when_all_its_jobs_have_succeeded(aws, run_dag, steps):
    """A second run of the same date costs nothing."""
    dag = shared_dag("shared_twice", {"one": [steps.step("a")]})
    run_dag(dag)
    aws.reset_requests()
    finished = run_dag(dag)
    assert "success" == finished.state
    assert 0 == aws.requests()["RunJobFlow"]
    assert ["a"] == steps.ran()


def test_the_cluster_ends_when_a_job_fails_and_the_next_step_does_not_run(aws, run_dag, steps):
    """The teardown runs whatever happened; a failed step keeps the next one from running."""
    dag = shared_dag("shared_fail", {"one": [steps.step("a", "[ -e mended ] || exit 1"), steps.step("b")]})
    finished = run_dag(dag)
    assert {"up": "success", "one": "failed", "down": "success"} == finished.tasks
    assert ["a"] == steps.ran()
    assert [] == alive(aws, "shared_fail-")
    (steps.folder / "mended").touch()
    assert "success" == run_dag(dag).state
    assert ["a", "a", "b"] == steps.ran()
    assert 2 == len(named(aws, "shared_fail-"))


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"requires": {"spark": "4.0"}}, "has spark 3.5"),
        ({"python_env": ["no-such.txt"]}, "python_env: no-such.txt cannot be read"),
    ],
    ids=["version", "environment"],
)
def test_what_the_jobs_need_is_looked_at_before_their_cluster_is_paid_for(aws, run_dag, steps, needs, message):
    """The versions and environments of its jobs' spark blocks."""
    finished = run_dag(shared_dag(f"shared_needs_{next(iter(needs))}", {"one": [steps.step("a")]}, needs=needs))
    assert "failed" == finished.tasks["up"]
    assert message in finished.output
    assert 0 == aws.requests()["RunJobFlow"]


def test_a_job_whose_environment_its_cluster_lacks_says_so(aws, run_dag, tmp_path):
    """In a Dag by hand whose cluster is not told of it."""
    (tmp_path / "requirements.txt").write_text("")
    spark = {"py": "s3://code/x.py", "python_env": str(tmp_path / "requirements.txt")}
    finished = run_dag(shared_dag("shared_lacks", {"one": [{"spark": spark}]}))
    assert {"up": "success", "one": "failed", "down": "success"} == finished.tasks
    assert "was started without" in finished.output
    assert 0 == aws.requests()["AddJobFlowSteps"]


def test_a_batch_job_is_told_of_its_cluster_and_can_use_it(aws, run_dag, tmp_path):
    """EMR_CLUSTER_ID and EMR_MASTER are in the environment of the Batch job beside the cluster."""
    out = tmp_path / "told.txt"
    with DAG("beside", schedule=None) as dag:
        up = EmrCreateClusterOperator(
            task_id="work.create_cluster", job="work.cluster", cluster=CLUSTER, used_by=["work"]
        ).as_setup()
        work = BatchArrayOperator(
            task_id="work",
            queue="default",
            image="busybox",
            command=["sh", "-c", f'echo "$EMR_CLUSTER_ID $EMR_MASTER" > {out}'],
            cluster="work.cluster",
        )
        down = EmrTerminateClusterOperator(task_id="work.terminate_cluster", cluster="work.cluster")
        up >> work >> down.as_teardown(setups=up)
    finished = run_dag(dag)
    assert "success" == finished.state
    cluster_id, master = out.read_text().split()
    said = aws.client("emr").describe_cluster(ClusterId=cluster_id)["Cluster"]
    assert said["MasterPublicDnsName"] == master
    assert [] == alive(aws, "beside-")


def existing_cluster(aws, **instances):
    return aws.client("emr").run_job_flow(
        Name="somebody-elses",
        ReleaseLabel="emr-7.5.0",
        ServiceRole="EMR_DefaultRole",
        JobFlowRole="EMR_EC2_DefaultRole",
        Instances={
            "MasterInstanceType": "m5.xlarge",
            "SlaveInstanceType": "m5.xlarge",
            "InstanceCount": 2,
            "KeepJobFlowAliveWhenNoSteps": True,
            **instances,
        },
    )["JobFlowId"]


@pytest.mark.parametrize("by", ["cluster_id", "cluster_name"])
def test_steps_on_an_existing_cluster_leave_it_alone(aws, run_dag, steps, by):
    """By id or by name; it is there afterwards, also after a failure."""
    cluster_id = existing_cluster(aws)
    where = {by: cluster_id if by == "cluster_id" else "somebody-elses"}
    with DAG(f"guest_{by}", schedule=None) as dag:
        EmrStepsOperator(task_id="work", steps=[steps.step("a"), steps.step("b", "exit 1"), steps.step("c")], **where)
    assert {"work": "failed"} == run_dag(dag).tasks
    assert ["a", "b"] == steps.ran()
    state = aws.client("emr").describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"]
    aws.client("emr").terminate_job_flows(JobFlowIds=[cluster_id])
    assert "WAITING" == state


def test_a_cluster_that_has_ended_is_told_before_anything_is_added(aws, run_dag, steps):
    """With its state; the same for one that does not exist."""
    cluster_id = existing_cluster(aws)
    aws.client("emr").terminate_job_flows(JobFlowIds=[cluster_id])
    for number, (given, message) in enumerate(
        [
            ({"cluster_id": cluster_id}, f"the cluster {cluster_id} has ended"),
            ({"cluster_id": "j-NOSUCHCLUSTER"}, "EMR knows no cluster j-NOSUCHCLUSTER"),
            ({"cluster_name": "nobody"}, "no cluster named 'nobody' is alive"),
            ({}, "exactly one of cluster, cluster_id and cluster_name"),
        ]
    ):
        with DAG(f"gone_{number}", schedule=None) as dag:
            EmrStepsOperator(task_id="work", steps=[steps.step("a")], retries=3, **given)
        finished = run_dag(dag)
        assert {"work": "failed"} == finished.tasks
        assert message in finished.output
    assert 0 == aws.requests()["AddJobFlowSteps"]
