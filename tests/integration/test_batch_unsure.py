"""After a lost response, work that may run is neither abandoned, nor started again, nor left unattended."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from airflow_batchemr.aws.batch.backend import BatchBackend
from airflow_batchemr.aws.errors import InvalidRequest, Refused
from airflow_batchemr.core import arrays
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine import loop
from airflow_batchemr.engine.backend import SubmissionPlan
from airflow_batchemr.engine.decide import Decision, decide
from airflow_batchemr.engine.loop import StoppedError
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.engine.submissions import stop
from airflow_batchemr.ledger import JobLedger
from airflow_batchemr.ledger.errors import LedgerUnavailableError
from tests.integration.batch_engine import Job, eventually


@pytest.fixture
def job(aws, work, tmp_path):
    """Two indices that wait until they are released."""
    yield Job(f"s3://state/{tmp_path.name}", work.command("while [ ! -e go ]; do sleep 0.1; done"), 2)
    aws.faults.clear()
    (work.folder / "go").touch()


def running(aws):
    """Number of jobs in the queue that have not ended."""
    statuses = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
    listed = [aws.client("batch").list_jobs(jobQueue="default", jobStatus=status) for status in statuses]
    return sum(len(page["jobSummaryList"]) for page in listed)


def test_a_job_that_cannot_be_searched_for_is_not_abandoned(aws, job, work):
    """SubmitJob takes effect, its response is lost, and ListJobs fails: the job is found later and adopted."""
    aws.faults.plan("SubmitJob", "drop")
    aws.faults.plan("ListJobs", "refuse", times=100)
    step = job.step()
    assert [None] == [submission.handle for submission in step.waits]
    aws.faults.clear()
    (work.folder / "go").touch()
    assert job.try_(prior_submissions=step.prior_submissions) is None
    assert Counter(range(2)) == work.ran()


def test_a_killed_task_terminates_a_job_with_a_lost_response(aws, job, monkeypatch):
    """The job is found by its name."""
    aws.faults.plan("SubmitJob", "drop")
    aws.faults.plan("ListJobs", "refuse")
    killed = []
    engine = job.engine()
    engine.sleep = lambda seconds: killed.append(seconds) if seconds in DEFAULT.find_pauses else None
    engine.stopping = lambda: bool(killed)
    monkeypatch.setattr(job, "engine", lambda *_, **__: engine)
    with pytest.raises(StoppedError):
        job.step()
    eventually(lambda: running(aws) == 0)
    assert job.ledger().stop_request(1) is not None


def test_all_jobs_are_terminated_before_the_search_for_children(aws, job, monkeypatch):
    """The search fails, but the submissions' own jobs are terminated."""
    state = two_submissions(job, monkeypatch)
    aws.faults.plan("DescribeJobQueues", "refuse", times=100)
    with pytest.raises(Refused):
        stop(job.ledger(), job.engine().remote, state.open_submissions, "cleared", by="try 1")
    eventually(lambda: running(aws) == 0)


def test_jobs_are_terminated_even_if_the_stop_request_cannot_be_recorded(aws, job, monkeypatch):
    """S3 is unreachable: the jobs are terminated, and their status contains the reason."""
    state = two_submissions(job, monkeypatch)
    ledger = job.ledger()

    def unreachable(*_):
        raise LedgerUnavailableError("PutObject", "s3://state", "no answer")

    monkeypatch.setattr(ledger, "request_stop", unreachable)
    with pytest.raises(LedgerUnavailableError):
        stop(ledger, job.engine().remote, state.open_submissions, "cleared", by="try 1")
    eventually(lambda: running(aws) == 0)


def two_plans(monkeypatch):
    """One submission per index, as for different memory sizes."""
    plans = [SubmissionPlan(number, IndexSet.of([number - 1])) for number in (1, 2)]
    first = [Decision("claim", claims=plans)]
    monkeypatch.setattr(loop, "decide", lambda *args, **more: first.pop() if first else decide(*args, **more))


def two_submissions(job, monkeypatch):
    """One submission per index, both running."""
    two_plans(monkeypatch)
    job.step()
    return job.ledger().read()


def test_the_try_waits_for_running_work_if_the_next_submission_is_refused(aws, job, work, monkeypatch):
    """AWS accepts the first of two submissions: it ends before the job fails, and the next try runs the rest."""
    two_plans(monkeypatch)
    aws.faults.plan("SubmitJob", "refuse", after=1)
    step = job.step()
    assert ("wait", [1]) == (step.action, [submission.number for submission in step.waits])
    assert "batch:SubmitJob" in str(step.blocked)
    (work.folder / "go").touch()
    step = job.try_(prior_submissions=step.prior_submissions)
    assert [(1, "refused")] == [(failure.index, failure.cause) for failure in step.failures]
    assert "batch:SubmitJob" in step.failures[0].reason
    assert 2 == aws.requests()["SubmitJob"]
    assert job.try_(try_number=2) is None
    assert Counter(range(2)) == work.ran()


def test_the_try_waits_for_running_work_if_the_queue_is_disabled(aws, job, work, monkeypatch):
    """The queue is disabled before the next claim: the job fails once none of its work runs."""
    two_plans(monkeypatch)
    new_submission = BatchBackend.new_submission

    def closed(self, plan, state):
        if plan.number > 1:
            raise InvalidRequest("queue: the job queue 'default' is disabled")
        return new_submission(self, plan, state)

    monkeypatch.setattr(BatchBackend, "new_submission", closed)
    step = job.step()
    assert ("wait", [1]) == (step.action, [submission.number for submission in step.waits])
    (work.folder / "go").touch()
    with pytest.raises(InvalidRequest, match="disabled"):
        job.try_(prior_submissions=step.prior_submissions)
    assert [0] == list(job.ledger().read().done)


def test_the_accepted_part_of_a_refused_submission_is_stopped(aws, job, work, monkeypatch):
    """It is stopped and recorded, and nothing is submitted again in this try."""
    monkeypatch.setattr(arrays, "MAX_ARRAY", 1)
    aws.faults.plan("SubmitJob", "refuse", after=1)
    step = job.try_()
    assert {(0, "refused"), (1, "refused")} == {(failure.index, failure.cause) for failure in step.failures}
    assert 0 == running(aws)
    assert 2 == aws.requests()["SubmitJob"]
    assert ["failed"] == [submission.result.outcome for submission in job.ledger().history().submissions]
    (work.folder / "go").touch()
    assert job.try_(try_number=2) is None
    assert {0, 1} == set(work.ran())


def test_the_second_worker_of_a_rerun_does_not_stop_the_first(aws, job, work, monkeypatch):
    """Two workers begin the same rerun: the second one waits for the submission of the first."""
    (work.folder / "go").touch()
    assert job.try_() is None
    (work.folder / "go").unlink()
    before = replace(job.ledger().read(), marker=None)  # like the operator when the run requests a rerun
    early, read = [before, before], JobLedger.read
    monkeypatch.setattr(JobLedger, "read", lambda self: early.pop() if early else read(self))
    assert [2] == [submission.number for submission in job.step(rerun_token="again#0").waits]
    step = job.step(rerun_token="again#0", try_number=2)
    assert [2] == [submission.number for submission in step.waits]
    assert 0 == aws.requests()["TerminateJob"]
