"""Retries by AWS Batch, and resubmission with more memory."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.batch_engine import Job, eventually
from tests.integration.test_batch_array import array_dag

ROLE = "arn:aws:iam::123456789012:role/execution"


@pytest.fixture
def job_of(aws, work, tmp_path):
    """`job_of(script, size, **options)` creates a job."""
    return lambda script, size, **options: Job(f"s3://state/{tmp_path.name}", work.command(script), size, **options)


def running_child(aws, job, index):
    """The id of a child (or single job) whose program runs."""
    (submission,) = job.ledger().read().open_submissions
    (parent,) = submission.handle.jobs
    return parent.job_id if job.size == 1 else f"{parent.job_id}:{index}"


def test_a_reclaimed_spot_instance_is_retried_by_aws(aws, work, job_of):
    """By default, and without another SubmitJob."""
    job = job_of("[ -e again ] || { touch again; sleep 60; }", 1)
    job.step()
    eventually((work.folder / "again").exists)
    aws.faults.reclaim(running_child(aws, job, 0))
    assert job.try_() is None
    assert Counter({0: 2}) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]


def test_an_interrupted_task_on_fargate_spot_is_retried_by_aws(aws, work, job_of):
    """The program gets SIGTERM and ends with 143, which by itself is not retried."""
    fargate = {"platform": "fargate", "vcpus": 0.25, "memory": [512], "execution_role": ROLE}
    job = job_of("[ -e again ] || { touch again; exec sleep 60; }", 1, **fargate)
    job.step()
    eventually((work.folder / "again").exists)
    interrupted = running_child(aws, job, 0)
    aws.faults.reclaim(interrupted)
    assert job.try_() is None
    assert Counter({0: 2}) == work.ran()
    (described,) = aws.client("batch").describe_jobs(jobs=[interrupted])["jobs"]
    first = described["attempts"][0]
    assert ("Your Spot Task was interrupted.", 143) == (first["statusReason"], first["container"]["exitCode"])


def test_a_fargate_job_whose_spot_tasks_are_all_interrupted_fails_by_the_platform(aws, work, job_of):
    """The cause is the interruption, not the exit code, so that Airflow retries it."""
    fargate = {"platform": "fargate", "vcpus": 0.25, "memory": [512], "execution_role": ROLE}
    job = job_of("touch here; exec sleep 60", 1, attempts=1, **fargate)
    step = job.step()
    eventually((work.folder / "here").exists)
    aws.faults.reclaim(running_child(aws, job, 0))
    while step is not None and step.action == "wait":
        step = job.step(prior_submissions=step.prior_submissions)
    assert [("spot", 143)] == [(one.cause, one.exit_code) for one in step.failures]


def test_a_failure_of_the_program_is_not_retried_by_default(aws, work, job_of):
    """Up to three attempts are allowed, but a non-zero exit code ends the job after the first."""
    assert "fail" == job_of("exit 1", 1, attempts=3).try_().action
    assert Counter({0: 1}) == work.ran()


def test_a_listed_exit_code_is_retried(aws, work, job_of):
    """With `retry_on: [exit:75]`, this code is retried up to `attempts` times; others are not."""
    script = "[ $i = 0 ] && exit 74; [ -e $i ] || { touch $i; exit 75; }"
    failed = job_of(script, 2, attempts=3, retry_on=["exit:75"]).try_()
    assert [(0, 74)] == [(one.index, one.exit_code) for one in failed.failures]
    assert Counter({0: 1, 1: 2}) == work.ran()


def test_only_an_index_that_ran_out_of_memory_runs_with_the_next_size(aws, work, job_of):
    """Index 1 gets the second size in the same try; the others run once, with the first."""
    script = "if [ $i = 1 ] && [ ! -e died ]; then touch died; sleep 60; fi"
    job = job_of(script, 3, memory=[512, 1024, 2048])
    step = job.step()
    eventually((work.folder / "died").exists)
    aws.faults.out_of_memory(running_child(aws, job, 1))
    while step is not None:
        step = job.step(prior_submissions=step.prior_submissions)
        assert step is None or "wait" == step.action
    assert Counter({0: 1, 1: 2, 2: 1}) == work.ran()
    second = job.ledger().history().submissions[1].intent.requests[0]
    assert "1" == str(second.indices)
    sizes = {one["type"]: one["value"] for one in second.request["containerOverrides"]["resourceRequirements"]}
    assert "1024" == sizes["MEMORY"]


def test_a_timeout_is_reported_as_the_cause(aws, run_dag, work):
    """AWS ends the attempt, and the report says that it took too long."""
    import threading

    def expire():
        eventually(work.ran)
        found = aws.client("batch").list_jobs(
            jobQueue="default", filters=[{"name": "JOB_NAME", "values": ["too_long-*"]}]
        )["jobSummaryList"]
        aws.faults.expire(found[0]["jobId"])

    thread = threading.Thread(target=expire)
    thread.start()
    finished = run_dag(array_dag("too_long", work.command("sleep 200"), timeout=60))
    thread.join()
    assert {"work": "failed"} == finished.tasks
    assert "timed out" in finished.output
