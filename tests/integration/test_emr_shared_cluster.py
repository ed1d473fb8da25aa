"""Clusters shared by several tasks of a run, and existing clusters."""

from __future__ import annotations

import asyncio

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.errors import NotAllowed
from airflow_batchemr.ledger import Handle
from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import EmrCreateClusterOperator, EmrStepsOperator, EmrTerminateClusterOperator
from tests.integration.emr_steps import CLUSTER, Steps, alive, named
from tests.integration.task_engine import Task, first_event


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path)


def shared_dag(dag_id, jobs, cluster=CLUSTER, needs=None):
    """`jobs` maps names to steps; the jobs run one after another on one cluster."""
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


def test_jobs_share_a_cluster_that_ends_after_the_last_job(aws, run_dag, steps):
    """One RunJobFlow for two jobs, and nothing left running."""
    dag = shared_dag("shared_ok", {"one": [steps.step("a"), steps.step("b")], "two": [steps.step("c")]})
    finished = run_dag(dag)
    assert {
        "up": "success",
        "one": "success",
        "two": "success",
        "down": "success",
        "down.succeeded": "success",
    } == finished.tasks
    assert ["a", "b", "c"] == steps.ran()
    assert 1 == len(named(aws, "shared_ok-"))
    assert [] == alive(aws, "shared_ok-")


def test_no_cluster_is_started_if_all_its_jobs_have_succeeded(aws, run_dag, steps):
    """A second run of the same date starts nothing."""
    dag = shared_dag("shared_twice", {"one": [steps.step("a")]})
    run_dag(dag)
    aws.reset_requests()
    finished = run_dag(dag)
    assert "success" == finished.state
    assert 0 == aws.requests()["RunJobFlow"]
    assert ["a"] == steps.ran()


def test_the_cluster_ends_when_a_job_fails_and_the_next_step_does_not_run(aws, run_dag, steps):
    """The teardown always runs; the step after a failed one does not."""
    dag = shared_dag("shared_fail", {"one": [steps.step("a", "[ -e fixed ] || exit 1"), steps.step("b")]})
    finished = run_dag(dag)
    assert {"up": "success", "one": "failed", "down": "success", "down.succeeded": "success"} == finished.tasks
    assert ["a"] == steps.ran()
    assert [] == alive(aws, "shared_fail-")
    (steps.folder / "fixed").touch()
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
def test_requirements_of_the_jobs_are_checked_before_their_cluster_starts(aws, run_dag, steps, needs, message):
    """Versions and environments of their spark blocks."""
    finished = run_dag(shared_dag(f"shared_needs_{next(iter(needs))}", {"one": [steps.step("a")]}, needs=needs))
    assert "failed" == finished.tasks["up"]
    assert message in finished.output
    assert 0 == aws.requests()["RunJobFlow"]


def test_job_fails_on_a_cluster_without_its_environment(aws, run_dag, tmp_path):
    """In a Dag whose setup task does not list the environment in `needs`."""
    (tmp_path / "requirements.txt").write_text("")
    spark = {"py": "s3://code/x.py", "python_env": str(tmp_path / "requirements.txt")}
    finished = run_dag(shared_dag("shared_lacks", {"one": [{"spark": spark}]}))
    assert {"up": "success", "one": "failed", "down": "success", "down.succeeded": "success"} == finished.tasks
    assert "was started without" in finished.output
    assert 0 == aws.requests()["AddJobFlowSteps"]


def test_batch_job_gets_its_cluster_in_the_environment(aws, run_dag, tmp_path):
    """As EMR_CLUSTER_ID and EMR_MASTER."""
    out = tmp_path / "environment.txt"
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
    described = aws.client("emr").describe_cluster(ClusterId=cluster_id)["Cluster"]
    assert described["MasterPublicDnsName"] == master
    assert [] == alive(aws, "beside-")


def existing_cluster(aws):
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
        },
    )["JobFlowId"]


@pytest.mark.parametrize("by", ["cluster_id", "cluster_name"])
def test_steps_leave_an_existing_cluster_running(aws, run_dag, steps, by):
    """Found by id or by name, and also after a failure."""
    cluster_id = existing_cluster(aws)
    where = {by: cluster_id if by == "cluster_id" else "somebody-elses"}
    with DAG(f"existing_{by}", schedule=None) as dag:
        EmrStepsOperator(task_id="work", steps=[steps.step("a"), steps.step("b", "exit 1"), steps.step("c")], **where)
    assert {"work": "failed"} == run_dag(dag).tasks
    assert ["a", "b"] == steps.ran()
    state = aws.client("emr").describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"]
    aws.client("emr").terminate_job_flows(JobFlowIds=[cluster_id])
    assert "WAITING" == state


def test_unusable_existing_cluster_fails_the_task_before_steps_are_added(aws, run_dag, steps):
    """It has ended, or does not exist. Retries would not help."""
    cluster_id = existing_cluster(aws)
    aws.client("emr").terminate_job_flows(JobFlowIds=[cluster_id])
    for number, (given, message) in enumerate(
        [
            ({"cluster_id": cluster_id}, f"the cluster {cluster_id} has ended"),
            ({"cluster_id": "j-NOSUCHCLUSTER"}, "EMR knows no cluster j-NOSUCHCLUSTER"),
            ({"cluster_name": "nobody"}, "no cluster named 'nobody' is alive"),
            ({"cluster_id": "{{ '' }}"}, "exactly one of cluster, cluster_id and cluster_name"),
        ]
    ):
        with DAG(f"gone_{number}", schedule=None) as dag:
            EmrStepsOperator(task_id="work", steps=[steps.step("a")], retries=3, **given)
        finished = run_dag(dag)
        assert {"work": "failed"} == finished.tasks
        assert message in finished.output
    assert 0 == aws.requests()["AddJobFlowSteps"]


def test_a_name_that_a_strangers_cluster_has_too_gets_no_steps(aws, run_dag, steps):
    """Anybody who may start clusters can use the name, and the newest one need not be the one that is meant."""
    ours, strangers = existing_cluster(aws), existing_cluster(aws)
    with DAG("namesakes", schedule=None) as dag:
        EmrStepsOperator(task_id="work", steps=[steps.step("a")], cluster_name="somebody-elses")
    finished = run_dag(dag)
    aws.client("emr").terminate_job_flows(JobFlowIds=[ours, strangers])
    assert {"work": "failed"} == finished.tasks
    assert f"2 clusters named 'somebody-elses' are alive: {ours}, {strangers}. Set `cluster_id`" in finished.output
    assert 0 == aws.requests()["AddJobFlowSteps"]


@pytest.fixture
def tasks(aws, state):
    """Setup and teardown task of a cluster. `setups` lists the created operators."""

    class Tasks:
        def __init__(self):
            self.setups = []

        def setup(self):
            with DAG("dag", schedule=None):
                up = EmrCreateClusterOperator(
                    task_id="up", job="shared.cluster", cluster=CLUSTER, state=state, aws_conn_id=None
                )
            self.setups.append(up)
            return up

        def teardown(self):
            with DAG("dag", schedule=None):
                return EmrTerminateClusterOperator(
                    task_id="down", cluster="shared.cluster", state=state, aws_conn_id=None
                )

    return Tasks()


@pytest.mark.parametrize("returned", [True, False], ids=["finished", "waiting"])
def test_setup_that_was_given_up_does_not_terminate_the_cluster_of_the_next_try(aws, tasks, returned):
    """Try 1 hangs, try 2 finds the cluster (up or starting), then try 1 receives SIGTERM."""
    aws.clusters.delays.starting = 0.2 if returned else 60.0
    task = Task(tasks.setup)
    trigger = task.begin()
    if returned:
        asyncio.run(first_event(trigger))  # the cluster is up
        cluster_id = task.begin(try_number=2)["cluster_id"]
    else:
        cluster_id = task.begin(try_number=2).cluster_id
    assert cluster_id == trigger.cluster_id
    tasks.setups[0].on_kill()
    assert [cluster_id] == [one["Id"] for one in alive(aws, "dag-")]
    assert 0 == aws.requests()["TerminateJobFlows"]
    tasks.setups[-1].on_kill()  # a kill of the owner
    assert 1 == aws.requests()["TerminateJobFlows"]
    assert [] == alive(aws, "dag-")


def test_refused_teardown_is_retried_and_terminates_the_cluster(aws, tasks):
    """After one AccessDenied on TerminateJobFlows, Airflow retries, because it is not an AirflowFailException."""
    assert Task(tasks.setup).try_()["cluster_id"]
    teardown = Task(tasks.teardown)
    aws.faults.refuse("TerminateJobFlows")
    with pytest.raises(AirflowException, match="elasticmapreduce:TerminateJobFlows") as raised:
        teardown.begin()
    assert not isinstance(raised.value, AirflowFailException)
    assert tasks.teardown().retries >= 1
    assert 1 == len(alive(aws, "dag-"))
    assert 1 == len(teardown.begin(try_number=2)["ended"])
    assert [] == alive(aws, "dag-")


def test_teardown_fails_while_the_cluster_is_not_visible(aws, tasks, monkeypatch):
    """The cluster is terminated nevertheless, and a retry records its end."""
    cluster_id = Task(tasks.setup).try_()["cluster_id"]
    for name, seconds in (("VISIBILITY_GRACE", "1"), ("CLAIM_LEASE", "1"), ("CALL_MARGIN", "0")):
        monkeypatch.setenv(f"AIRFLOW__BATCHEMR__{name}", seconds)
    teardown = Task(tasks.teardown)
    aws.faults.hide(cluster_id)
    with pytest.raises(AirflowException, match=f"Cannot tell whether these clusters have ended: {cluster_id}"):
        teardown.begin()
    aws.faults.clear()
    assert [] == alive(aws, "dag-")
    assert [cluster_id] == teardown.begin(try_number=2)["ended"]


def test_teardown_does_not_terminate_a_cluster_that_a_changed_record_names(aws, tasks):
    """It is a protected one of somebody else. The teardown fails, and so does the run."""
    own = Task(tasks.setup).try_()["cluster_id"]
    theirs = existing_cluster(aws)
    emr = aws.client("emr")
    emr.set_termination_protection(JobFlowIds=[theirs], TerminationProtected=True)
    operator = tasks.setup()
    operator.open_run(Task(None).context(operator, 1, 0))
    key = operator.ledger.handle_uri(1).removeprefix("s3://state/")
    body = Handle(kind="emr", cluster_id=theirs).model_dump_json().encode()
    aws.client("s3").put_object(Bucket="state", Key=key, Body=body)
    aws.reset_requests()
    with pytest.raises(AirflowException, match=f"names {theirs}, which is not the work of this submission"):
        Task(tasks.teardown).begin()
    assert aws.requests()["TerminateJobFlows"] + aws.requests()["SetTerminationProtection"] == 0
    assert emr.describe_cluster(ClusterId=theirs)["Cluster"]["TerminationProtected"]
    aws.client("s3").delete_object(Bucket="state", Key=key)
    assert [own] == Task(tasks.teardown).begin(try_number=2)["ended"]


@pytest.fixture
def quick_loss(monkeypatch):
    """Short times, so that a loss is noticed within a second."""
    for name, seconds in (("VISIBILITY_GRACE", "1"), ("CLAIM_LEASE", "5"), ("CALL_MARGIN", "0")):
        monkeypatch.setenv(f"AIRFLOW__BATCHEMR__{name}", seconds)
    monkeypatch.setattr("airflow_batchemr.operators.emr_cluster.PAUSE", 0.2)


def lose(aws, task):
    """Begin a setup task whose cluster is lost. Returns the cluster's id."""
    trigger = task.begin()
    aws.faults.hide(trigger.cluster_id)
    with pytest.raises(AirflowFailException, match="may have succeeded"):
        task.try_(trigger)
    return trigger.cluster_id


@pytest.mark.parametrize("again", [False, True], ids=["alone", "replaced"])
def test_lost_cluster_that_emr_shows_again_is_terminated(aws, tasks, quick_loss, again):
    """By the teardown, also if a clear has started another cluster in the meantime."""
    task = Task(tasks.setup)
    started = [lose(aws, task)]
    aws.faults.clear()
    if again:
        started.append(task.try_(try_number=2, clears=1)["cluster_id"])
    assert started == Task(tasks.teardown).begin()["ended"]
    assert [] == alive(aws, "dag-")


def test_teardown_waits_for_a_lost_cluster_but_not_forever(aws, tasks, quick_loss):
    """It succeeds: the setup task has reported the loss."""
    cluster_id = lose(aws, Task(tasks.setup))
    assert [] == Task(tasks.teardown).begin()["ended"]
    aws.faults.clear()
    assert [cluster_id] == Task(tasks.teardown).begin()["ended"]
    assert [] == alive(aws, "dag-")


def test_teardown_terminates_the_other_clusters_if_one_cannot_be_terminated(aws, tasks, monkeypatch):
    """The failure is raised afterwards."""
    first = Task(tasks.setup).try_()["cluster_id"]
    operator = tasks.setup()
    operator.open_run(Task(None).context(operator, 1, 0))
    intent = operator.ledger.history().submissions[0].intent
    tags = [{"Key": key, "Value": value} for key, value in operator.identity.tags(2).items()]
    request = {**intent.requests[0].request, "Name": operator.identity.submission_name(2), "Tags": tags}
    second = aws.client("emr").run_job_flow(**request)["JobFlowId"]
    operator.ledger.claim(2, intent.model_copy(update={"writer": "x"}))
    operator.ledger.record_handle(2, Handle(kind="emr", cluster_id=second))
    terminate = clusters.terminate

    def refuse_first(clients, ids):
        if first in ids:
            raise NotAllowed("not the first one")
        terminate(clients, ids)

    monkeypatch.setattr(clusters, "terminate", refuse_first)
    with pytest.raises(AirflowException, match="not the first one"):
        Task(tasks.teardown).begin()
    assert [first] == [one["Id"] for one in alive(aws, "dag-")]
