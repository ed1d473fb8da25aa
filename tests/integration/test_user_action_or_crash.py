"""A user action stops running work, a crash does not: cases in which both look the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timezone

import pytest
from airflow.sdk import DAG
from botocore.config import Config

from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import EmrCreateClusterOperator, EphemeralEmrOperator
from airflow_batchemr.triggers.batch import BatchJobsTrigger
from tests.integration.batch_engine import eventually
from tests.integration.emr_steps import CLUSTER, Steps, alive
from tests.integration.task_engine import Task

HOLD = "while [ ! -e go ]; do sleep 0.05; done"


class Batch(Task):
    """An array of 2 whose programs wait until they are released. `operator` is the last one created."""

    def __init__(self, state, work, **arguments):
        self.arguments = arguments

        def make():
            self.operator = BatchArrayOperator(
                task_id="work",
                queue="default",
                image="busybox",
                command=work.command(HOLD),
                state=state,
                array=2,
                aws_conn_id=None,
                **self.arguments,
            )
            return self.operator

        super().__init__(make)


@pytest.fixture
def job(aws, state, work):
    yield Batch(state, work)
    (work.folder / "go").touch()


@pytest.fixture
def impatient(monkeypatch):
    """Botocore does not retry."""
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr("airflow_batchemr.aws.clients.IDEMPOTENT", once)


def stopped(aws):
    return aws.requests()["TerminateJob"] > 0


def terminated(aws):
    of_any_status = {"name": "AFTER_CREATED_AT", "values": ["0"]}
    (job,) = aws.client("batch").list_jobs(jobQueue="default", filters=[of_any_status])["jobSummaryList"]
    return "FAILED" == job["status"]


# A worker that Airflow considers lost, and that is killed after another one has taken over its task


def test_a_killed_worker_stops_its_job(aws, job):
    """No other try waits for it."""
    job.begin()
    job.operator.on_kill()
    assert stopped(aws)


@pytest.mark.parametrize("calls", [("ListObjectsV2",), ("TerminateJob",), ("ListObjectsV2", "TerminateJob")])
def test_a_killed_worker_tries_again_if_a_call_fails(aws, impatient, job, calls):
    """Airflow kills a task only once."""
    job.begin()
    for call in calls:
        aws.faults.error(call, times=2)
    job.operator.on_kill()
    aws.faults.clear()
    eventually(lambda: terminated(aws))


def test_a_killed_worker_stops_its_job_without_the_ledger(aws, impatient, job, monkeypatch, capfd):
    """It knows its job. What S3 answers is one line in the log, not a traceback."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__KILL_LIMIT", "6")
    job.begin()
    aws.faults.error("ListObjectsV2", times=1000)
    job.operator.on_kill()
    aws.faults.clear()
    eventually(lambda: terminated(aws))
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_worker_killed_late_does_not_stop_the_job_of_the_next_try(aws, work, job):
    """It is killed when the next try has found the job and waits for it."""
    job.begin()
    zombie = job.operator
    waits = job.begin(try_number=2)
    zombie.on_kill()
    assert not stopped(aws)
    (work.folder / "go").touch()
    assert 1 == job.try_(waits, try_number=2)["submissions"]
    assert Counter({0: 1, 1: 1}) == work.ran()


def test_a_worker_killed_late_does_not_stop_claims_of_the_next_try(aws, impatient, job):
    """Even if the next try does not wait for its claim, because it was killed."""
    job.make()
    zombie = job.operator
    zombie.open_run(job.context(zombie, 1, 0))
    aws.faults.plan("PutObject", "error", times=20, after=2)  # intent and handle are written, the wait is not
    job.begin(try_number=2)
    aws.faults.clear()
    assert [1] == zombie.ledger.read().numbers
    assert not zombie.ledger.documents("waiters/")
    zombie.on_kill()
    assert not stopped(aws)


def test_a_worker_killed_late_does_not_end_the_cluster_of_the_next_try(aws, state, tmp_path):
    """On EMR, a stop would terminate the cluster."""
    steps = Steps(tmp_path)
    operators = []

    def make():
        step = steps.step("a", "while [ ! -e go ]; do sleep 0.05; done")
        with DAG("dag", schedule=None):
            operators.append(
                EphemeralEmrOperator(task_id="work", cluster=CLUSTER, steps=[step], state=state, aws_conn_id=None)
            )
        return operators[-1]

    task = Task(make)
    task.begin()
    task.begin(try_number=2)
    operators[0].on_kill()
    assert 1 == len(alive(aws, "dag"))
    assert 0 == aws.requests()["TerminateJobFlows"]
    operators[1].on_kill()
    assert 1 == aws.requests()["TerminateJobFlows"]
    (tmp_path / "go").touch()


# A triggerer that had lost its triggers and recovers


def fired(trigger):
    """Another triggerer runs the same trigger and fires it."""

    async def first():
        async for event in type(trigger)(**trigger.arguments()).run():
            return event.payload

    return asyncio.run(first())


def comes_back(trigger, state):
    """Cancel the trigger in the triggerer that had lost it, while the task has `state`."""
    trigger._task_state = lambda: state
    asyncio.run(trigger.on_kill())


@pytest.mark.parametrize("state_of_task", ["scheduled", "queued", "running", "up_for_retry"])
def test_a_task_that_resumes_after_its_wait_is_not_stopped(aws, job, state_of_task):
    """The wait ended while the job runs: Airflow resumes the task without a user action."""
    trigger = job.begin()
    woken = BatchJobsTrigger(**{**trigger.arguments(), "wake_at": 0.0})
    assert "wake" == fired(woken)["status"]
    comes_back(woken, state_of_task)
    assert not stopped(aws)


@pytest.mark.parametrize("state_of_task", ["failed", "success", None])
def test_a_task_ended_by_a_user_is_stopped_even_if_its_wait_has_fired(aws, job, state_of_task):
    """The triggerer that fired it may have died before Airflow received the event, so another one has waited since."""
    trigger = job.begin()
    woken = BatchJobsTrigger(**{**trigger.arguments(), "wake_at": 0.0})
    fired(woken)
    comes_back(woken, state_of_task)
    assert stopped(aws)


@pytest.fixture
def cluster(aws, state):
    """A setup task that waits for its cluster, which takes a moment to start."""

    def make():
        with DAG("dag", schedule=None):
            return EmrCreateClusterOperator(task_id="up", cluster=CLUSTER, state=state, aws_conn_id=None)

    aws.clusters.delays.starting = 0.3
    yield Task(make)
    for left in alive(aws, "dag"):
        aws.client("emr").terminate_job_flows(JobFlowIds=[left["Id"]])


def test_a_cluster_in_use_is_not_terminated_after_its_task_has_succeeded(aws, cluster):
    """The other triggerer has fired the trigger and the task has succeeded, while this one had lost it."""
    trigger = cluster.begin()
    assert cluster.try_(type(trigger)(**trigger.arguments()))["cluster_id"]
    comes_back(trigger, "success")
    assert 1 == len(alive(aws, "dag"))


def test_a_cluster_is_terminated_if_its_task_is_marked_success_while_it_waits(aws, cluster):
    """Even if the wait has fired: the event may not have reached Airflow, and nothing uses the cluster."""
    trigger = cluster.begin()
    fired(trigger)
    comes_back(trigger, "success")
    assert [] == alive(aws, "dag")


def test_the_next_wait_of_a_try_is_stopped_by_a_clear(aws, job):
    """An earlier wait of the same try has ended normally, which has no effect on this one."""
    trigger = job.begin()
    fired(BatchJobsTrigger(**{**trigger.arguments(), "wake_at": 0.0}))
    comes_back(trigger, "queued")
    assert stopped(aws)


def test_a_wait_ends_even_if_its_end_cannot_be_recorded(aws, impatient, job):
    """The ledger cannot be reached, but the task continues."""
    trigger = job.begin()
    aws.faults.error("PutObject", times=50)
    assert "wake" == fired(BatchJobsTrigger(**{**trigger.arguments(), "wake_at": 0.0}))["status"]
    aws.faults.clear()


# `retries` that change in the file during the run


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 3)])
def test_changed_retries_in_the_file_do_not_count_as_a_clear(aws, work, job, before, after):
    """A retry after a crash continues with the job, although the file now has more or fewer retries."""
    job.arguments = {"retries": before}
    job.begin(clears=2)
    job.arguments = {"retries": after}
    waits = job.begin(try_number=2, clears=2)
    assert not stopped(aws)
    (work.folder / "go").touch()
    assert 1 == job.try_(waits, try_number=2, clears=2)["submissions"]


@pytest.mark.parametrize(("before", "after"), [(5, 0), (0, 3)])
def test_a_clear_after_changed_retries_is_detected(aws, work, job, before, after):
    """Airflow counts the clear with the new retries: the previous job is stopped, and its rest runs again."""
    job.arguments = {"retries": before}
    job.begin(clears=before)
    job.arguments = {"retries": after}
    waits = job.begin(try_number=2, clears=1 + after)
    assert stopped(aws)
    (work.folder / "go").touch()
    assert 2 == job.try_(waits, try_number=2, clears=1 + after)["submissions"]


def test_a_rerun_spans_all_retries_between_two_clears(aws, state, work):
    """A retry of a rerun recognizes the marker as its own; a clear starts a new rerun."""
    (work.folder / "go").touch()
    job = Batch(state, work, skip_if_succeeded=False, retries=2)
    assert 1 == job.try_(clears=2)["submissions"]
    job.arguments = {"skip_if_succeeded": False, "retries": 0}
    assert 1 == job.try_(try_number=2, clears=2)["submissions"]
    assert 2 == job.try_(try_number=3, clears=3)["submissions"]


@pytest.mark.parametrize("how", ["always", "rerun"])
def test_a_run_that_is_created_again_runs_its_work_again(aws, state, work, how):
    """It has the same id, so that only its start tells it from the deleted one. A retry starts nothing."""
    (work.folder / "go").touch()
    job = Batch(state, work, skip_if_succeeded=how != "always")
    job.conf = {"rerun": ["work"]} if how == "rerun" else {}
    for day in (1, 2):
        job.run_began = datetime(2026, 11, day, tzinfo=timezone.utc)
        for try_number in (1, 2):
            assert day == job.try_(try_number=try_number)["submissions"]
