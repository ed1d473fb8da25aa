"""What the ledger tells people of a job."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.history import index_history_of, job_history_of
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
    """An attempt of array indices; `succeeded` None: it has not ended."""
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
    """A job's ledger with these attempts."""
    return LedgerState([one.number for one in submissions], list(submissions), marker, None, since, NOW)


def test_nothing_is_told_of_a_job_without_attempts():
    """A name without a past."""
    story = job_history_of("j", state())
    assert ("nothing", "-", None, None) == (story.state, story.progress, story.began, story.ended)


def test_a_job_runs_while_its_last_attempt_is_open():
    """What earlier attempts have done is counted."""
    story = job_history_of("j", state(submission(1, "0-9", "0-6"), submission(2, "7-9")))
    assert ("running", "7/10", None) == (story.state, story.progress, story.ended)
    assert ["failed", "running"] == [one.state for one in story.submissions]


def test_a_marker_says_that_all_is_done():
    """Also where its attempts are not known any more, as after `batchemr replay --mark`."""
    story = job_history_of("j", state(marker=Marker(submission=0, size=1200, rerun_token=None, finished_at=NOW)))
    assert ("succeeded", "1,200/1,200", NOW) == (story.state, story.progress, story.ended)


def test_a_rerun_counts_from_nothing():
    """What was done before it is shown among the attempts, and not counted."""
    story = job_history_of(
        "j", state(submission(1, "0-3", "0-3", outcome="succeeded"), submission(2, "0-3", rerun_token="x"), since=2)
    )
    assert ("running", "0/4") == (story.state, story.progress)
    assert 2 == len(story.submissions)


def test_an_attempt_tells_what_ran_and_who_asked():
    """Queue and definition by name, resources and command as they were asked for; who stopped it."""
    word = StopRequest(reason="the task was cleared", by="try 3")
    (told,) = job_history_of("j", state(submission(3, "0-3", "1", outcome="stopped", stop=word))).submissions
    assert "try 3 of task t in run r" == told.by
    assert "the task was cleared (try 3)" == told.stopped
    assert [
        ("Batch job", "job-3 (indices 0-3)"),
        ("queue", "data"),
        ("definition", "etl:4"),
        ("asked for", "VCPU 2, MEMORY 8192"),
        ("command", "score.py --x"),
    ] == told.facts


def test_an_attempt_that_never_reached_aws_is_abandoned():
    """It has no jobs, and is not running."""
    story = job_history_of("j", state(submission(1, "0-3", abandoned=True)))
    assert ("abandoned", 0) == (story.submissions[0].state, len(story.submissions[0].indices))


def test_a_failure_is_told_with_what_was_done_by_then():
    """Not with what later attempts have done; with the command that runs an index again."""
    failure = Failure(index=2, reason="Essential container in task exited", exit_code=65, cause="exit 65")
    first = submission(1, "0-3", "0-1,3", failures=[failure])
    told = job_history_of(
        "j", state(first, submission(2, "2", "2", outcome="succeeded")), ["batchemr", "replay", "d", "k", "j"]
    )
    assert "1 of 4 indices failed; 3 are done and will not run again" in told.submissions[0].failure
    assert "batchemr replay d k j --index 2" in told.submissions[0].failure
    assert "" == told.submissions[1].failure


def test_an_index_of_a_resumed_array_is_found_at_its_place():
    """Child 1 of the second attempt's array ran index 7."""
    failure = Failure(index=7, reason="gone", exit_code=1, job_id="job-1:7", log_stream="s")
    children = {2: [{"jobId": "job-2:0"}, {"jobId": "job-2:1", "startedAt": 0, "container": {"exitCode": 0}}]}
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
    assert ("started", "1970-01-01 00:00:00 UTC") in second
    assert [] == index_history_of(whole, children, 10)


def test_an_index_without_a_failure_of_its_own_has_the_outcome_of_its_attempt():
    """Stopped before it ran, or still running."""
    whole = state(submission(1, "0-3", "0", outcome="stopped"), submission(2, "1-3"))
    assert ["stopped", "running"] == [dict(facts)["outcome"] for facts in index_history_of(whole, {}, 3)]
