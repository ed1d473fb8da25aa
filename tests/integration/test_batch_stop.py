"""A user's action stops the remote work, a handover between triggerers does not. The next try runs the rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from airflow_batchemr import settings
from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.engine.waiters import record_waiter
from airflow_batchemr.ledger import LedgerError
from airflow_batchemr.triggers.batch import BatchJobsTrigger
from tests.integration import batch_engine
from tests.integration.batch_engine import Job, clients, eventually


@pytest.fixture
def job(aws, work, tmp_path):
    """Four indices: 0 and 2 end immediately, 1 and 3 when they are released."""
    job = Job(
        f"s3://state/{tmp_path.name}", work.command("case $i in 1|3) while [ ! -e go ]; do sleep 0.1; done;; esac"), 4
    )
    yield job
    (work.folder / "go").touch()


def deferred(job, work, *, try_number=1, clears=0):
    """The trigger of a try that has submitted and waits, as created by `BatchArrayOperator`."""
    step = job.step(try_number=try_number)
    eventually(lambda: set(work.ran()) == {0, 1, 2, 3})
    identity = replace(job.identity, try_number=try_number, max_tries=clears)
    record_waiter(job.ledger(), identity, [submission.number for submission in step.waits])
    return BatchJobsTrigger(
        jobs={one.job_id: one.indices.text() for submission in step.waits for one in submission.handle.jobs},
        size=4,
        identity=identity.values(),
        submissions=[submission.number for submission in step.waits],
        prior_submissions=sorted(step.prior_submissions),
        aws_conn_id=None,
    )


def kill(trigger, state):
    """Cancel a trigger, like Airflow, while the task instance has `state`."""
    trigger._task_state = lambda: state
    asyncio.run(trigger.on_kill())


@pytest.mark.parametrize("state", [None, "scheduled", "running", "failed", "success", "skipped", "removed"])
def test_a_user_action_on_the_task_stops_the_job(aws, job, work, state):
    """Cleared, marked or deleted: the job is terminated, and the ledger records the request."""
    trigger = deferred(job, work)
    kill(trigger, state)
    (parent,) = trigger.jobs
    eventually(lambda: aws.client("batch").describe_jobs(jobs=[parent])["jobs"][0]["status"] == "FAILED")
    assert "try 1" == job.ledger().stop_request(1).by


def test_the_job_is_stopped_even_if_the_ledger_is_unreachable(aws, job, work, monkeypatch):
    """S3 refuses all calls, and Airflow calls `on_kill` once: the job is ended by id. The next try runs the rest."""
    monkeypatch.setattr(settings, "engine_policy", lambda: Policy(refusal_limit=0.1))
    trigger = deferred(job, work)
    aws.faults.refuse("ListObjectsV2", times=2)
    with pytest.raises(LedgerError):
        kill(trigger, "failed")
    aws.faults.clear()
    (parent,) = trigger.jobs
    eventually(lambda: aws.client("batch").describe_jobs(jobs=[parent])["jobs"][0]["status"] == "FAILED")
    (work.folder / "go").touch()
    assert job.try_(try_number=2) is None
    assert Counter({0: 1, 1: 2, 2: 1, 3: 2}) == work.ran()


def test_a_handover_to_another_triggerer_stops_nothing(aws, job, work):
    """The task is still deferred in the same try, so another triggerer waits for the job."""
    trigger = deferred(job, work)
    kill(trigger, "deferred")
    assert 0 == aws.requests()["TerminateJob"]
    assert job.ledger().stop_request(1) is None


def test_a_retry_that_waits_for_the_job_does_not_stop_it(aws, job, work):
    """A later try without a clear has re-attached, so the old triggerer stops nothing when it recovers."""
    trigger = deferred(job, work)
    deferred(job, work, try_number=2)
    kill(trigger, "deferred")
    assert 0 == aws.requests()["TerminateJob"]


def test_a_clear_stops_the_job_even_if_the_next_try_waits_for_it(aws, job, work):
    """The next try starts before the kill. It survives the kill, keeps finished work, and runs the rest."""
    trigger = deferred(job, work)
    second = deferred(job, work, try_number=2, clears=1)
    assert trigger.jobs == second.jobs
    kill(trigger, "deferred")
    eventually(lambda: job.ledger().stop_request(1) is not None)
    (work.folder / "go").touch()
    assert job.try_(try_number=2) is None
    assert Counter({0: 1, 1: 2, 2: 1, 3: 2}) == work.ran()
    outcomes = [submission.result.outcome for submission in job.ledger().history().submissions]
    assert ["stopped", "succeeded"] == outcomes


def test_an_unknown_task_state_stops_nothing(aws, job, work):
    """Airflow's API does not respond, so a long job is not stopped."""
    trigger = deferred(job, work)

    def unreachable():
        raise ConnectionError("no answer")

    trigger._task_state = unreachable
    asyncio.run(trigger.on_kill())
    assert 0 == aws.requests()["TerminateJob"]


def test_a_stop_request_is_carried_out_by_a_later_try(aws, job, work):
    """The try that recorded it died before it terminated the jobs: the next pass does, and the rest runs again."""
    from airflow_batchemr.ledger import StopRequest

    deferred(job, work)
    job.ledger().request_stop(1, StopRequest(reason="cleared", by="try 1"))
    (work.folder / "go").touch()
    assert job.try_(try_number=2) is None
    assert Counter(range(4)) == Counter(set(work.ran()))


def test_a_rerun_stops_running_work_and_starts_with_nothing_done(aws, job, work):
    """The old submission ends before the new one starts, and none of its successes count."""
    deferred(job, work)
    step = job.step(rerun_token="again#0")
    first = next(one for one in job.ledger().history().submissions if one.number == 1)
    assert first.result is not None or [1] == [submission.number for submission in step.waits]
    (work.folder / "go").touch()
    assert job.try_(rerun_token="again#0") is None
    assert Counter(dict.fromkeys(range(4), 2)) == work.ran()


def test_many_tasks_cleared_together_share_the_search_for_children(aws, work, tmp_path, monkeypatch):
    """40 kills make six calls each for their own jobs, and share a few list calls per queue; a driver is found."""
    shared = clients()
    monkeypatch.setattr(batch_engine, "clients", lambda _=None: shared)
    hold = work.command("while [ ! -e go ]; do sleep 0.1; done")
    jobs = [Job(f"s3://state/{tmp_path.name}", hold, 1, name=f"job{number}") for number in range(40)]
    triggers = []
    for job in jobs:
        (submission,) = job.step().waits
        ids = {one.job_id: "0" for one in submission.handle.jobs}
        triggers.append(BatchJobsTrigger(jobs=ids, identity=job.identity.values(), submissions=[1], aws_conn_id=None))
        triggers[-1]._task_state = lambda: "failed"
    batch = aws.client("batch")
    definition = batch.describe_jobs(jobs=list(triggers[7].jobs))["jobs"][0]["jobDefinition"]
    child = batch.submit_job(
        jobName=f"{jobs[7].identity.child_prefix(1)}x",
        jobQueue="default",
        jobDefinition=definition,
        containerOverrides={"command": hold},
    )["jobId"]
    aws.reset_requests()

    async def main():
        await asyncio.gather(*(trigger.on_kill() for trigger in triggers))

    asyncio.run(main())
    requests = aws.requests()
    eventually(lambda: {job["status"] for job in batch.describe_jobs(jobs=[child])["jobs"]} == {"FAILED"})
    (work.folder / "go").touch()
    assert 41 == aws.requests()["TerminateJob"]  # on a busy machine, the driver's child is ended after `on_kill`
    assert 40 >= requests["ListJobs"]
    assert 8 >= requests["DescribeJobQueues"]
    assert 40 * 6 + 60 >= sum(requests.values())
