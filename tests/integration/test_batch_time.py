"""Jobs that take too long are stopped. Jobs that AWS has deleted are reported."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.waiters import record_waiter
from airflow_batchemr.ledger import Ledger, Submission
from airflow_batchemr.ledger.state import derive_state
from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.triggers import batch as batch_trigger
from tests.integration.batch_engine import Job, clients, eventually
from tests.integration.test_batch_array import array_dag


def statuses(aws, name):
    batch = aws.client("batch")
    found = batch.list_jobs(jobQueue="default", filters=[{"name": "JOB_NAME", "values": [f"{name}-*"]}])
    described = batch.describe_jobs(jobs=[job["jobId"] for job in found["jobSummaryList"]])["jobs"]
    described.sort(key=lambda job: job["createdAt"])
    return [(job["status"], job.get("statusReason")) for job in described]


def ended(aws, job_id):
    return aws.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]["status"] in {"SUCCEEDED", "FAILED"}


def test_a_deferred_job_is_stopped_at_its_deadline(aws, run_dag, work):
    """The task fails without retries, and finished indices are kept."""
    dag = array_dag("deadline", work.command("[ $i = 0 ] || [ -e go ] || sleep 300"), array=2, deadline=6, retries=2)
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert "The deadline of 6 s from the first submission has passed" in finished.output
    eventually(lambda: statuses(aws, "deadline")[0][0] == "FAILED")
    assert "the deadline has passed" in statuses(aws, "deadline")[0][1]
    (work.folder / "go").touch()
    longer = array_dag("deadline", work.command("[ $i = 0 ] || [ -e go ] || sleep 300"), array=2, deadline=600)
    assert {"work": "success"} == run_dag(longer).tasks
    assert Counter({0: 1, 1: 2}) == work.ran()


@pytest.mark.parametrize("retries", [None, 1])
def test_a_deferred_job_is_stopped_at_its_execution_timeout(aws, run_dag, work, retries):
    """Airflow does not enforce it while a task is deferred. As in Airflow, each of the `retries` has the whole time."""
    options = {} if retries is None else {"retries": retries, "retry_delay": timedelta(0)}
    script = "[ -e go ] || { touch go; sleep 300; }"
    dag = array_dag("slow", work.command(script), array=1, execution_timeout=timedelta(seconds=5), **options)
    finished = run_dag(dag)
    assert {"work": "failed" if retries is None else "success"} == finished.tasks
    assert "The execution_timeout of 0:00:05 has passed: stopped the remaining work" in finished.output
    assert "the deadline has passed" in next(reason for _, reason in statuses(aws, "slow"))


@pytest.fixture
def full(aws):
    """A queue without capacity."""
    aws.faults.no_capacity("default")
    yield
    aws.faults.no_capacity("default", capacity=True)


def test_a_job_that_never_starts_is_stopped_and_explained(aws, full, run_dag, work):
    """After `runnable_timeout`, the task reports why AWS has not started it."""
    options = {"runnable_timeout": 2, "vcpus": 300, "retry_delay": 0}
    finished = run_dag(array_dag("stuck", work.command("true"), array=3, **options))
    assert {"work": "failed"} == finished.tasks
    assert "longer than the runnable_timeout of 2 s: stopped." in finished.output
    assert (
        "the job requests 300 vCPUs, more than any of its compute environments may have (local: 256)" in finished.output
    )
    assert {} == work.ran()
    eventually(lambda: statuses(aws, "stuck")[0][0] == "FAILED")


def test_the_reason_is_logged_while_a_job_does_not_start(aws, full, run_dag, work, monkeypatch):
    """Without a timeout, the task log contains the reason once, and the wait continues."""
    monkeypatch.setattr(batch_trigger, "EXPLAIN_AFTER", 1.0)

    def explained():
        eventually(lambda: aws.requests()["GetJobQueueSnapshot"])
        aws.faults.no_capacity("default", capacity=True)

    later = threading.Thread(target=explained)
    later.start()
    finished = run_dag(array_dag("slow_start", work.command("true"), array=2))
    later.join()
    assert {"work": "success"} == finished.tasks
    assert 1 == finished.output.count("it is number 1 in its queue")


def test_a_job_that_aws_has_deleted_is_reported_and_a_later_try_runs_it(aws, work, tmp_path):
    """DescribeJobs does not return it. After the grace period, the try fails and starts nothing."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("true"), 2)
    job.step()
    (open_,) = job.ledger().read().open_submissions
    (parent,) = open_.handle.jobs
    eventually(lambda: ended(aws, parent.job_id))
    aws.faults.forget(parent.job_id)
    waiting = job.step(try_number=1)
    assert ("wait", "not_visible") == (waiting.action, waiting.observations[1].status)
    failed = job.try_(prior_submissions=waiting.prior_submissions, missing=[parent.job_id])
    assert ("fail", True) == (failed.action, failed.lost)
    assert {"AWS Batch no longer knows the job"} == {failure.reason for failure in failed.failures}
    assert job.try_(try_number=2) is None
    assert Counter({0: 2, 1: 2}) == work.ran()


@pytest.mark.parametrize(("max_tries", "counts"), [(1, 1), (2, 2)])
def test_a_clear_restarts_the_deadline(aws, state, max_tries, counts):
    """Otherwise, the rest would be stopped as soon as it starts. A retry alone does not restart it."""
    start = datetime(2026, 11, 20, tzinfo=timezone.utc)
    hours = {number: start + timedelta(hours=number) for number in (1, 2)}
    found = derive_state([1, 2], [Submission(number, hour) for number, hour in hours.items()], None, start)
    operator = BatchArrayOperator(task_id="work", queue="default", image="busybox", command="true", deadline=60)
    first = JobIdentity(state, "dag", "key", "work", "run", "work", max_tries=1)
    operator.ledger = Ledger(clients().s3, state).job("dag", "key", "work")
    record_waiter(operator.ledger, first, [1])
    operator.identity = replace(first, try_number=2, max_tries=max_tries)
    assert hours[counts].timestamp() + 60 == operator._limits({"ti": None, "dag_run": None}).due(found)
