"""Whatever dies when: each index's command runs to success once."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_batchemr.engine.policy import Policy
from tests.integration.batch_engine import Job, KilledError, Killer, eventually


@pytest.fixture
def short_lease(monkeypatch):
    """A claim without a call is abandoned after a second instead of three minutes."""
    monkeypatch.setattr(Policy, "abandon_after", 0.0)


@pytest.fixture
def job(aws, work, tmp_path):
    return Job(f"s3://state/{tmp_path.name}", work.command("true"), 3)


def lives(job):
    """How many calls a whole life of the job makes."""
    killer = Killer()
    job.try_(killer)
    return killer.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", range(12))
def test_a_worker_killed_at_any_call_runs_nothing_twice(aws, job, work, short_lease, place, after):
    """The process dies before a call, or after it took effect but before the answer; the next try does the rest."""
    killer = Killer(place, after=after)
    with pytest.raises(KilledError):
        job.try_(killer)
    job.try_(try_number=2)
    assert Counter(range(3)) == work.ran(), killer.calls
    assert 1 == aws.requests()["SubmitJob"]
    assert job.ledger().read().marker is not None


def test_the_places_above_reach_beyond_the_submit(job):
    """A whole life makes more calls than the submit's, and those at which the worker dies above are among them."""
    calls = lives(job)
    assert calls.index("submit_job") < 11
    assert len(calls) > 12


@pytest.mark.parametrize("kind", ["drop", "error_after"])
def test_after_a_lost_answer_the_job_is_searched(aws, job, work, kind):
    """SubmitJob took effect but its answer was lost: the job is found by its name, and not submitted again."""
    aws.faults.plan("SubmitJob", kind)
    job.try_()
    assert Counter(range(3)) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]


@pytest.mark.parametrize("kind", ["throttle", "error", "drop_before"])
def test_a_submit_that_was_not_carried_out_is_made_again(aws, job, work, short_lease, kind):
    """Throttled, or an answer that says nothing and no job by that name: it is submitted once more, and runs once."""
    aws.faults.plan("SubmitJob", kind)
    job.try_()
    assert Counter(range(3)) == work.ran()
    assert 2 == aws.requests()["SubmitJob"]


@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "ListObjectsV2", "DescribeJobs", "ListJobs"])
@pytest.mark.parametrize("kind", ["error", "drop", "throttle"])
def test_other_calls_are_simply_made_again(aws, job, work, operation, kind):
    """Calls that may be repeated survive lost answers, 5xx and throttling."""
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


def test_a_submit_that_arrives_after_its_claim_was_given_up_is_ended(aws, work, tmp_path, short_lease):
    """The request was under way for so long that the next try did the work: what it started is terminated."""
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
    """All that AWS knows under the job's name, by name."""
    named = [{"name": "JOB_NAME", "values": [f"{job.identity.work_name()}*"]}]
    found = aws.client("batch").list_jobs(jobQueue="default", filters=named)["jobSummaryList"]
    return sorted(found, key=lambda one: one["jobName"])
