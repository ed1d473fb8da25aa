"""Wherever a process dies, the command of each index succeeds once."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_batchemr.engine.policy import DEFAULT, Policy
from tests.integration.batch_engine import Job, KilledError, Killer, eventually


@pytest.fixture
def short_lease(monkeypatch):
    """Abandon a claim without a call after one second instead of three minutes."""
    monkeypatch.setattr(Policy, "abandon_after", 0.0)


@pytest.fixture
def job(aws, work, tmp_path):
    return Job(f"s3://state/{tmp_path.name}", work.command("true"), 3)


def lives(job):
    """Number of calls of a complete job."""
    killer = Killer()
    job.try_(killer)
    return killer.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", range(12))
def test_a_worker_killed_at_any_call_runs_nothing_twice(aws, job, work, short_lease, place, after):
    """The process dies before a call, or after its effect but before the response; the next try does the rest."""
    killer = Killer(place, after=after)
    with pytest.raises(KilledError):
        job.try_(killer)
    job.try_(try_number=2)
    assert Counter(range(3)) == work.ran(), killer.calls
    assert 1 == aws.requests()["SubmitJob"]
    assert job.ledger().read().marker is not None


def test_the_kill_points_reach_beyond_the_submission(job):
    """A complete job makes more calls than the submission, and the kill points cover them."""
    calls = lives(job)
    assert calls.index("submit_job") < 11
    assert len(calls) > 12


@pytest.mark.parametrize("kind", ["drop", "error_after"])
def test_a_job_with_a_lost_response_is_found_by_its_name(aws, job, work, kind):
    """SubmitJob took effect but its response was lost; nothing is submitted again."""
    aws.faults.plan("SubmitJob", kind)
    job.try_()
    assert Counter(range(3)) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]


def test_duplicates_of_a_job_with_a_lost_response_are_terminated(aws, tmp_path, work, monkeypatch):
    """Several jobs have its name: the oldest is adopted, the others are the same submission once more."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("while [ ! -e go ]; do sleep 0.05; done"), 3)
    batch = aws.client("batch")
    engine = job.engine()

    def submit_twice_more(seconds):
        (claimed,) = job.ledger().read().submissions
        if seconds == DEFAULT.find_pauses[0]:
            for _ in range(2):
                batch.submit_job(**claimed.intent.requests[0].request)

    engine.sleep = submit_twice_more
    aws.faults.drop("SubmitJob")
    with monkeypatch.context() as once:
        once.setattr(job, "engine", lambda *_, **__: engine)
        (waits,) = job.step().waits
    (adopted,) = waits.handle.jobs
    first, *others = sorted(jobs_of(aws, job), key=lambda one: one["createdAt"])
    assert first["jobId"] == adopted.job_id
    assert 2 == len(others)
    eventually(lambda: {"FAILED"} == {one["status"] for one in described(batch, others)})
    assert all("another one has the same name" in one["statusReason"] for one in described(batch, others))
    (work.folder / "go").touch()
    assert job.try_() is None
    assert {"SUCCEEDED"} == {one["status"] for one in described(batch, [first])}


def described(batch, listed):
    return batch.describe_jobs(jobs=[one["jobId"] for one in listed])["jobs"]


def test_all_jobs_with_the_name_of_a_submission_are_stopped(aws, tmp_path, work):
    """No id is recorded, and a stop is requested: none of them may go on."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("sleep 300"), 1)
    batch = aws.client("batch")

    class AfterSubmit(Killer):
        def around(self, name, call):
            if name == "submit_job":
                self.at, self.after = len(self.calls), True
            return super().around(name, call)

    with pytest.raises(KilledError):
        job.step(AfterSubmit())
    (claimed,) = job.ledger().read().submissions
    assert claimed.handle is None
    batch.submit_job(**claimed.intent.requests[0].request)
    job.engine().remote.terminate(claimed, "cleared")
    both = jobs_of(aws, job)
    assert 2 == len(both)
    eventually(lambda: {"FAILED"} == {one["status"] for one in described(batch, both)})


@pytest.mark.parametrize("kind", ["throttle", "error", "drop_before"])
def test_a_submit_without_effect_is_repeated(aws, job, work, short_lease, kind):
    """After throttling, or a lost response without a job of that name, the job is submitted again and runs once."""
    aws.faults.plan("SubmitJob", kind)
    job.try_()
    assert Counter(range(3)) == work.ran()
    assert 2 == aws.requests()["SubmitJob"]


@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "ListObjectsV2", "DescribeJobs", "ListJobs"])
@pytest.mark.parametrize("kind", ["error", "drop", "throttle"])
def test_idempotent_calls_are_repeated(aws, job, work, operation, kind):
    """They survive lost responses, server errors and throttling."""
    aws.faults.plan(operation, kind, times=2)
    job.try_()
    assert Counter(range(3)) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]


def test_two_workers_at_once_submit_once(aws, job, work):
    """Two schedulers start the same try: one claims, the other adopts."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: job.try_(), range(4)))
    assert Counter(range(3)) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]


def test_a_late_submit_of_an_abandoned_claim_is_terminated(aws, work, tmp_path, short_lease):
    """The request takes so long that the next try does the work. The job that it starts is terminated."""
    job = Job(f"s3://state/{tmp_path.name}", work.command('[ "$BATCHEMR_SUBMISSION" = 2 ] || exec sleep 300'), 3)

    class Late(Killer):
        def around(self, name, call):
            if name == "submit_job":
                job.try_(try_number=2)
            return call()

    job.try_(Late())
    assert "SUCCEEDED" == jobs_of(aws, job)[1]["status"]
    eventually(lambda: jobs_of(aws, job)[0]["status"] == "FAILED")
    assert "another try has taken the submission over" in jobs_of(aws, job)[0]["statusReason"]


def jobs_of(aws, job):
    """All jobs on AWS with the prefix of the job, by name."""
    named = [{"name": "JOB_NAME", "values": [f"{job.identity.work_name()}*"]}]
    batch = aws.client("batch")
    ids = [one["jobId"] for one in batch.list_jobs(jobQueue="default", filters=named)["jobSummaryList"]]
    found = batch.describe_jobs(jobs=ids)["jobs"] if ids else []
    return sorted(found, key=lambda one: one["jobName"])
