"""The history of a job, from its records and from the state of open submissions on AWS."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_batchemr.core.errors import InvalidRequest, Throttled
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import Ending, Observation
from airflow_batchemr.engine.history import index_history_of, job_history_of
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.policy import DEFAULT, Policy
from airflow_batchemr.engine.unrecorded import JobRecords, observe_open
from airflow_batchemr.ledger import (
    Failure,
    Handle,
    HandleJob,
    Intent,
    LedgerState,
    Marker,
    Request,
    Result,
    StopRequest,
    Submission,
)

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=timezone.utc)
REQUEST = {
    "jobName": "n",
    "jobQueue": "arn:aws:batch:eu-west-1:1:job-queue/data",
    "jobDefinition": "arn:aws:batch:eu-west-1:1:job-definition/etl:4",
    "containerOverrides": {
        "command": ["score.py", "--x"],
        "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "8192"}],
    },
}


def submission(
    number, indices, succeeded=None, *, outcome="failed", failures=(), rerun_token=None, stop=None, abandoned=False
):
    """A submission of array indices. It has not ended if `succeeded` is None."""
    wanted = IndexSet.parse(indices)
    intent = Intent(
        kind="batch",
        name="n",
        requests=[Request(name="n", indices=wanted, request=REQUEST)],
        indices=wanted,
        rerun_token=rerun_token,
        try_number=number,
        dag_id="d",
        run_key="k",
        job="j",
        run_id="r",
        task_id="t",
    )
    result = None
    if succeeded is not None:
        result = Result(
            kind="batch",
            outcome=outcome,
            indices=wanted,
            succeeded=IndexSet.parse(succeeded),
            rerun_token=rerun_token,
            failures=list(failures),
        )
    jobs = [] if abandoned else [HandleJob(job_id=f"job-{number}", name="n", indices=wanted)]
    handle = Handle(kind="batch", jobs=jobs, abandoned=abandoned)
    return Submission(number, NOW + timedelta(hours=number), intent=intent, handle=handle, result=result, stop=stop)


def state(*submissions, marker=None, since=0):
    """The ledger of a job with these submissions."""
    return LedgerState([one.number for one in submissions], list(submissions), marker, None, since, NOW)


def test_a_job_without_submissions_has_the_state_nothing():
    """It has no times."""
    job = job_history_of("j", state())
    assert ("nothing", "-", None, None) == (job.state, job.progress, job.began, job.ended)


def test_a_job_runs_while_its_last_submission_is_open():
    """Successes of earlier submissions count."""
    job = job_history_of("j", state(submission(1, "0-9", "0-6"), submission(2, "7-9")))
    assert ("running", "7/10", None) == (job.state, job.progress, job.ended)
    assert ["failed", "running"] == [one.state for one in job.submissions]


def test_with_a_marker_everything_is_done():
    """Even without submissions, as after `batchemr replay --mark`."""
    job = job_history_of("j", state(marker=Marker(submission=0, size=1200, rerun_token=None, finished_at=NOW)))
    assert ("succeeded", "1,200/1,200", NOW) == (job.state, job.progress, job.ended)


def test_a_rerun_starts_with_nothing_done():
    """Earlier submissions are listed, but their successes do not count."""
    job = job_history_of(
        "j", state(submission(1, "0-3", "0-3", outcome="succeeded"), submission(2, "0-3", rerun_token="x"), since=2)
    )
    assert ("running", "0/4") == (job.state, job.progress)
    assert 2 == len(job.submissions)


def test_a_submission_shows_the_request_and_its_owner():
    """Names of queue and definition, requested resources and command, and who stopped it."""
    request = StopRequest(reason="the task was cleared", by="try 3")
    (found,) = job_history_of("j", state(submission(3, "0-3", "1", outcome="stopped", stop=request))).submissions
    assert "try 3 of task t in run r" == found.by
    assert "the task was cleared (try 3)" == found.stopped
    assert [
        ("Batch job", "job-3 (indices 0-3)"),
        ("queue", "data"),
        ("definition", "etl:4"),
        ("resources", "VCPU 2, MEMORY 8192"),
        ("command", "score.py --x"),
    ] == found.facts


def test_a_submission_that_never_reached_aws_is_abandoned():
    """It has no jobs and is not running."""
    job = job_history_of("j", state(submission(1, "0-3", abandoned=True)))
    assert ("abandoned", 0) == (job.submissions[0].state, len(job.submissions[0].indices))


def test_a_failure_is_reported_with_the_successes_so_far():
    """Without those of later submissions, and with the command that reruns an index."""
    failure = Failure(index=2, reason="Essential container in task exited", exit_code=65, cause="exit 65")
    first = submission(1, "0-3", "0-1,3", failures=[failure])
    job = job_history_of(
        "j", state(first, submission(2, "2", "2", outcome="succeeded")), ["batchemr", "replay", "d", "k", "j"]
    )
    assert "1 of 4 indices failed; 3 are done and will not run again" in job.submissions[0].failure
    assert "batchemr replay d k j --index 2" in job.submissions[0].failure
    assert "" == job.submissions[1].failure


def test_an_index_of_a_resumed_array_is_mapped_to_its_child():
    """Child 1 of the second submission's array ran index 7."""
    failure = Failure(index=7, reason="gone", exit_code=1, job_id="job-1:7", log_stream="s")
    children = {2: [{"jobId": "job-2:0"}, {"jobId": "job-2:1", "startedAt": 1000, "container": {"exitCode": 0}}]}
    whole = state(submission(1, "0-9", "0-2", failures=[failure]), submission(2, "3,7", "3,7", outcome="succeeded"))
    first, second = index_history_of(whole, children, 7)
    assert [
        ("submission", "1"),
        ("outcome", "failed"),
        ("reason", "gone"),
        ("exit code", "1"),
        ("Batch job", "job-1:7"),
        ("log stream", "s"),
    ] == first
    assert ("Batch job", "job-2:1") in second
    assert ("started", "1970-01-01 00:00:01 UTC") in second
    assert [] == index_history_of(whole, children, 10)


@pytest.mark.parametrize("times", [{}, {"startedAt": 0}])
def test_an_index_that_never_started_has_no_start_time(times):
    """AWS's model requires a start time; the example event of a job in RUNNABLE has none."""
    children = {1: [{"jobId": "job-1:7", "stoppedAt": 1000, **times}]}
    (facts,) = index_history_of(state(submission(1, "0-9", "0-2")), children, 7)
    assert ("stopped", "1970-01-01 00:00:01 UTC") in facts
    assert "started" not in dict(facts)


def test_an_index_without_its_own_failure_has_the_outcome_of_its_submission():
    """It was stopped before it ran, or still runs."""
    whole = state(submission(1, "0-3", "0", outcome="stopped"), submission(2, "1-3"))
    assert ["stopped", "running"] == [dict(facts)["outcome"] for facts in index_history_of(whole, {}, 3)]


class FakeAws:
    """Remote work with a configured observation or error per job id."""

    policy = DEFAULT

    def __init__(self, answers, result=None, prefetch=None):
        self.answers, self.ending, self.error = answers, result, prefetch
        self.prefetched, self.observed = [], []

    def prefetch(self, submissions):
        self.prefetched += [one.number for one in submissions]
        if self.error is not None:
            raise self.error

    def of(self, ledger, identity):
        return self

    def observe(self, submission):
        job_id = submission.handle.jobs[0].job_id
        self.observed.append(job_id)
        answer = self.answers[job_id]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def result(self, submission, observation):
        return None if self.ending is None else Ending(self.ending, {"children/0001.json": b"[]"})


def seen(aws, *submissions, **options):
    """The history of a job with these submissions and their state on AWS."""
    whole = state(*submissions, **options)
    identity = JobIdentity("s3://b", "d", "k", "j", run_id="k", task_id="j")
    (sightings,) = observe_open(aws, [JobRecords(None, identity, whole)])
    return job_history_of("j", whole, sightings=sightings)


def ended(succeeded, outcome="succeeded", **details):
    """The result that a try would record."""
    wanted = IndexSet.parse("0-3")
    return Result(
        kind="batch",
        outcome=outcome,
        indices=wanted,
        succeeded=IndexSet.parse(succeeded),
        rerun_token=None,
        details=details,
    )


def test_a_submission_that_has_ended_on_aws_has_its_outcome_and_is_not_recorded():
    """With the time at which it ended on AWS."""
    aws = FakeAws({"job-1": Observation("ended", state="SUCCEEDED 4")}, ended("0-3", jobs=[{"stoppedAt": 1000}]))
    job = seen(aws, submission(1, "0-3"))
    (found,) = job.submissions
    assert ("succeeded (not recorded)", "4/4", False) == (job.label, job.progress, job.recorded)
    assert ("succeeded", False, 1.0) == (found.state, found.recorded, found.ended.timestamp())
    assert ("state on AWS", "SUCCEEDED 4") == found.facts[0]
    assert "clear it: the next try records this result, and nothing runs again" in found.facts[1][1]


def test_running_work_has_its_state_on_aws():
    """Also if its jobs have ended, but not their children."""
    for observation in (Observation("running", state="RUNNABLE 4"), Observation("ended", state="RUNNABLE 4")):
        job = seen(FakeAws({"job-1": observation}), submission(1, "0-3"))
        assert ("running", True) == (job.label, job.recorded)
        assert ("state on AWS", "RUNNABLE 4") == job.submissions[0].facts[0]


def test_work_that_is_not_visible_is_neither_running_nor_lost():
    """The next try decides whether it is lost."""
    job = seen(FakeAws({"job-1": Observation("not_visible")}), submission(1, "0-3"))
    assert ("not_visible", None) == (job.label, job.ended)
    assert job.submissions[0].facts[0][1].startswith("not visible")


def test_aws_is_not_queried_for_recorded_work_or_without_ids():
    """Nothing is open, or there is no id to query."""
    aws = FakeAws({})
    claimed = replace(submission(2, "0-3"), handle=None)
    assert "running" == seen(aws, submission(1, "0-3", "0"), claimed).label
    assert "abandoned" == seen(aws, submission(1, "0-3", abandoned=True)).label
    assert ([], []) == (aws.prefetched, aws.observed)


def test_the_ledger_is_shown_with_a_note_if_aws_cannot_be_reached():
    """The other submissions are not queried, because each query would time out."""
    aws = FakeAws({}, prefetch=Throttled("batch:DescribeJobs: no connection"))
    job = seen(aws, submission(1, "0-3"), submission(2, "4"))
    assert ["running", "running"] == [one.state for one in job.submissions]
    assert "AWS cannot be queried about open submissions: batch:DescribeJobs: no connection" == job.note
    assert [] == aws.observed


def test_an_error_about_one_submission_does_not_hide_the_others():
    """AWS refuses a single request."""
    aws = FakeAws({"job-1": InvalidRequest("no"), "job-2": Observation("ended")}, ended("0-3"))
    job = seen(aws, submission(1, "0-3"), submission(2, "0-3"))
    assert ["running", "succeeded"] == [one.state for one in job.submissions]
    assert "no" in job.note


def test_a_job_with_a_marker_is_recorded():
    """Even if something is still open, such as a cluster."""
    marker = Marker(submission=1, size=4, rerun_token=None, finished_at=NOW)
    aws = FakeAws({"job-1": Observation("ended")}, ended("0-3", "failed"))
    assert "succeeded" == seen(aws, submission(1, "0-3"), marker=marker).label


@pytest.mark.parametrize(("lease", "status"), [(60.0, "not_visible"), (600.0, "running")])
def test_work_without_an_id_is_given_up_after_the_configured_lease(lease, status):
    """As the next try of the task would. Until then, its owner may still make the call."""
    claimed = replace(submission(1, "0-3"), handle=None, claimed_at=NOW - timedelta(minutes=5))
    aws = FakeAws({})
    aws.policy, aws.find = Policy(claim_lease=lease), lambda _: None
    assert status == seen(aws, claimed).label
