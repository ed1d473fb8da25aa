"""Clusters and steps that EMR does not show are reported as lost after a grace period, and never replaced silently."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from botocore.config import Config

from airflow_batchemr.aws.errors import AwsError
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.engine.submission_records import refused_result
from airflow_batchemr.ledger import Request
from airflow_batchemr.ledger.state import Submission
from airflow_batchemr.operators.emr import EmrStepsOperator, EphemeralEmrOperator
from tests.integration.emr_engine import Job, SharedClusterJob, eventually, existing_cluster
from tests.integration.emr_steps import CLUSTER, Steps, alive, named
from tests.integration.task_engine import Task

HOLD = "until [ -e go ]; do sleep 0.05; done"


@pytest.fixture
def steps(account, tmp_path):
    """Steps that can wait for `go`."""
    yield Steps(tmp_path)
    account.faults.clear()
    (tmp_path / "go").touch()


def make(account, steps, kind, grace):
    """A job whose first try has submitted its work, the id of its cluster, and the outcome of that try."""
    policy = Policy(visibility_grace=grace)
    if kind == "shared":
        job = SharedClusterJob(account, policy=policy)
    else:
        existing = existing_cluster(account) if kind == "existing" else None
        job = Job(account, [steps.step("a", HOLD)], existing=existing, policy=policy)
    outcome = job.pass_()
    return job, outcome.waits[0].handle.cluster_id, outcome


@pytest.mark.parametrize("kind", ["own", "existing", "shared"])
@pytest.mark.parametrize("try_number", [1, 2], ids=["same_try", "next_try"])
def test_try_waits_for_a_cluster_that_is_not_visible_yet(account, steps, kind, try_number):
    """For the grace period, without submitting anything again."""
    job, cluster_id, outcome = make(account, steps, kind, grace=120)
    before = account.requests()
    account.faults.hide(cluster_id, 3)
    (steps.folder / "go").touch()
    prior_submissions = outcome.prior_submissions if try_number == 1 else None
    assert "succeed" == job.try_(try_number=try_number, prior_submissions=prior_submissions).action
    for call in ("RunJobFlow", "AddJobFlowSteps", "TerminateJobFlows"):
        assert before[call] == account.requests()[call]
    assert [1] == job.ledger().read().numbers


@pytest.mark.parametrize("kind", ["own", "existing", "shared"])
@pytest.mark.parametrize("try_number", [1, 2], ids=["same_try", "next_try"])
def test_cluster_that_stays_invisible_is_lost_and_not_replaced(account, steps, kind, try_number):
    """The try fails after the grace period, and the next try runs the work again."""
    job, cluster_id, outcome = make(account, steps, kind, grace=2)
    if kind != "shared":
        eventually(steps.ran)
    before = account.requests()
    account.faults.hide(cluster_id)
    prior_submissions = outcome.prior_submissions if try_number == 1 else None
    outcome = job.try_(try_number=try_number, prior_submissions=prior_submissions)
    assert ("fail", True) == (outcome.action, outcome.lost)
    assert ["lost"] == [failure.cause for failure in outcome.failures]
    assert cluster_id in outcome.failures[0].reason
    for call in ("RunJobFlow", "AddJobFlowSteps"):
        assert before[call] == account.requests()[call]
    account.faults.clear()
    (steps.folder / "go").touch()
    assert "succeed" == job.try_(try_number=try_number + 1).action
    assert ["lost", None if kind == "shared" else "succeeded"] == job.outcomes()


def test_task_whose_cluster_is_lost_fails_without_a_retry(aws, state, tmp_path, monkeypatch):
    """The message says what to check. After a clear, the steps run again."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__VISIBILITY_GRACE", "2")
    steps = Steps(tmp_path)

    def operator():
        step = steps.step("a", HOLD)
        with DAG("dag", schedule=None):
            return EphemeralEmrOperator(
                task_id="work", cluster=CLUSTER, steps=[step], state=state, aws_conn_id=None, retries=3
            )

    task = Task(operator)
    trigger = task.begin()
    eventually(steps.ran)
    (cluster,) = alive(aws, "dag")
    aws.faults.hide(cluster["Id"])
    with pytest.raises(AirflowFailException, match="Check its output, then clear the task") as raised:
        task.try_(trigger)
    assert cluster["Id"] in str(raised.value)
    assert 1 == aws.requests()["RunJobFlow"]
    aws.faults.clear()
    (tmp_path / "go").touch()
    assert 2 == task.try_(try_number=2, clears=1)["submissions"]
    assert ["a", "a"] == steps.ran()
    assert 2 == len(named(aws, "dag"))


@pytest.mark.parametrize("fault", ["error", "throttle"])
def test_other_errors_of_describe_cluster_do_not_mean_a_lost_cluster(account, steps, fault, monkeypatch):
    """They are raised. The cluster continues, and the next try waits for it."""
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr("airflow_batchemr.aws.clients.IDEMPOTENT", once)
    job, cluster_id, _ = make(account, steps, "own", grace=0.1)
    account.faults.plan("DescribeCluster", fault, times=20)
    with pytest.raises(AwsError, match="DescribeCluster"):
        job.pass_(try_number=2, missing=[cluster_id])
    account.faults.clear()
    (steps.folder / "go").touch()
    assert "succeed" == job.try_(try_number=3).action
    assert ["a"] == steps.ran()
    assert 1 == account.requests()["RunJobFlow"]
    assert ["succeeded"] == job.outcomes()


def on_existing_cluster(account, steps, grace):
    """A job whose first try has added a step to an existing cluster, the id of the step, and that try's outcome."""
    job = Job(
        account, [steps.step("a", HOLD)], existing=existing_cluster(account), policy=Policy(visibility_grace=grace)
    )
    outcome = job.pass_()
    return job, outcome.waits[0].handle.step_ids[0], outcome


def test_try_waits_for_a_step_that_is_not_visible_yet(account, steps):
    """ListSteps does not return it, and it is not added again."""
    job, step_id, first = on_existing_cluster(account, steps, grace=120)
    account.faults.hide(step_id, 3)
    (steps.folder / "go").touch()
    assert "succeed" == job.try_(prior_submissions=first.prior_submissions).action
    assert 1 == account.requests()["AddJobFlowSteps"]


def test_step_that_stays_invisible_is_lost_and_not_replaced(account, steps):
    """Although its cluster is visible."""
    job, step_id, first = on_existing_cluster(account, steps, grace=2)
    account.faults.hide(step_id)
    outcome = job.try_(prior_submissions=first.prior_submissions)
    assert ("fail", True) == (outcome.action, outcome.lost)
    assert f"step {step_id}: EMR no longer shows it" == outcome.failures[0].reason
    assert 1 == account.requests()["AddJobFlowSteps"]
    account.faults.clear()
    (steps.folder / "go").touch()
    assert "succeed" == job.try_(try_number=2).action
    assert ["lost", "succeeded"] == job.outcomes()


def test_steps_of_an_ended_cluster_that_are_not_visible_do_not_run_again(account, steps):
    """They may have completed: the cluster has started and ended normally."""
    (steps.folder / "go").touch()
    job = Job(account, [steps.step("a", HOLD)], policy=Policy(visibility_grace=2))
    first = job.pass_()
    eventually(lambda: steps.ran() and not alive(account, "pipe-"))
    step_id = account.client("emr").list_steps(ClusterId=first.waits[0].handle.cluster_id)["Steps"][0]["Id"]
    account.faults.hide(step_id)
    outcome = job.try_(try_number=2)
    assert ("fail", True) == (outcome.action, outcome.lost)
    assert 1 == account.requests()["RunJobFlow"]


@pytest.mark.parametrize("options", [{}, {"LogUri": "s3://state/logs"}], ids=["no_logs", "late_logs"])
def test_trigger_reports_a_step_that_stays_invisible(aws, state, tmp_path, monkeypatch, options):
    """The wait ends after the grace period, and the task fails without retries, also if it then waits for logs."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__VISIBILITY_GRACE", "2")
    monkeypatch.setattr("airflow_batchemr.operators.emr_base.LOGS_LATE", 1.0)
    cluster_id, steps = existing_cluster(aws, **options), Steps(tmp_path)

    def operator():
        step = steps.step("a", HOLD)
        with DAG("dag", schedule=None):
            return EmrStepsOperator(
                task_id="work", cluster_id=cluster_id, steps=[step], state=state, aws_conn_id=None, retries=3
            )

    task = Task(operator)
    trigger = task.begin()
    aws.faults.hide(trigger.step_ids[0])
    with pytest.raises(AirflowFailException, match="Check its output, then clear the task"):
        task.try_(trigger)
    assert 1 == aws.requests()["AddJobFlowSteps"]
    aws.faults.clear()
    (tmp_path / "go").touch()


def test_task_that_has_waited_for_logs_does_not_retry_a_refusal(aws, state):
    """AWS would refuse the request again."""
    with DAG("dag", schedule=None):
        operator = EmrStepsOperator(
            task_id="work", cluster_id="j-1", steps=["x"], state=state, aws_conn_id=None, retries=3
        )
    operator.open_run(Task(None).context(operator, 1, 3))
    ledger, one = operator.ledger, IndexSet.range(1)
    intent = operator.identity.intent(
        1, "steps", [Request(name="x", indices=one, request={})], one, rerun_token=None, details={}
    )
    ledger.claim(1, intent)
    ledger.record_result(1, refused_result(Submission(1, None, intent=intent), "not accepted"))
    with pytest.raises(AirflowFailException, match="not accepted"):
        operator.on_event({"status": "logs", "submissions": [1], "prior_submissions": []}, ledger.read())
