"""The result of a job that has ended, as recorded in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.array_work import ArrayWork
from airflow_batchemr.aws.batch.results import JobEnd, cause, collect, result_of
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import closed, decide
from airflow_batchemr.engine.history import index_history_of
from airflow_batchemr.ledger import Failure, HandleJob, Result, Submission
from airflow_batchemr.ledger.state import derive_state

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
#: AWS's message, with ids.
DIED = "OutOfMemoryError: Container killed due to memory usage; Essential container in task exited"
EXITED = "Essential container in task exited"
SIZE = 10_000


def failures(indices, cause, reason):
    return [
        Failure(index=i, reason=reason, exit_code=137, job_id=f"54944523-9a66-4bdc-aa80-4bc130414fb7:{i}", cause=cause)
        for i in indices
    ]


def written(*ended):
    """A result as read by later tries, and its size in bytes."""
    body = result_of(list(ended), rerun_token=None, ignored={"stopped"}).model_dump_json(indent=1)
    return Result.model_validate_json(body), len(body)


def decided(*results, **options):
    submissions = [Submission(number, NOW, result=result) for number, result in enumerate(results, 1)]
    state = derive_state([one.number for one in submissions], submissions, None, NOW)
    return decide(ArrayWork(SIZE, **options), state), state


def plans(decision):
    return [(plan.number, str(plan.indices), plan.variant) for plan in decision.claims]


def test_an_array_of_10000_that_runs_out_of_memory_is_retried_whole_and_has_a_small_result():
    """All indices run with each larger size. After the largest one, all have failed; a new try starts with it."""
    died = JobEnd(IndexSet.range(SIZE), IndexSet(), failures(range(SIZE), "oom", DIED))
    result, length = written(died)
    assert length < 500_000
    assert [(2, "0-9999", 1)] == plans(decided(result, memory_sizes=3)[0])
    assert [(3, "0-9999", 2)] == plans(decided(result, result, memory_sizes=3)[0])
    last, state = decided(result, result, result, memory_sizes=3)
    assert ("fail", "0-9999") == (last.action, str(last.failed))
    assert [(4, "0-9999", 2)] == plans(
        decide(ArrayWork(SIZE, memory_sizes=3), replace(state, prior_submissions=closed(state)))
    )


def test_a_result_lists_a_rare_failure_beside_thousands_of_another_cause():
    """The failure with another cause is listed, and its index gets no more memory."""
    died = JobEnd(
        IndexSet.range(SIZE), IndexSet(), [*failures(range(9_999), "oom", DIED), *failures([9_999], "exit 3", "x")]
    )
    result, _ = written(died)
    assert (1_000, 9_999) == (len(result.failures), result.failures[-1].index)
    assert [(2, "0-9998", 1)] == plans(decided(result, memory_sizes=2)[0])


def test_a_stopped_submission_records_thousands_of_indices_that_had_failed():
    """Indices that the stop interrupted run again in this try; those that had failed before do not."""
    own = failures(range(3_000), "exit 7", "bad row")
    cut = failures(range(5_000, SIZE), "stopped", "airflow-batchemr: the task was cleared")
    result, length = written(JobEnd(IndexSet.range(SIZE), IndexSet.range(3_000, 5_000), [*own, *cut]))
    assert ("stopped", 1_000) == (result.outcome, len(result.failures))
    assert length < 500_000
    assert [(2, "5000-9999", 0)] == plans(decided(result)[0])


def test_the_history_shows_the_failure_of_an_index_that_the_result_does_not_list():
    """The ledger has its cause, but not AWS's reason."""
    own = failures(range(3_000), "exit 7", "bad row")
    cut = failures(range(5_000, SIZE), "stopped", "airflow-batchemr: the task was cleared")
    result, _ = written(JobEnd(IndexSet.range(SIZE), IndexSet.range(3_000, 5_000), [*own, *cut]))
    _, state = decided(result)
    outcomes = [dict(index_history_of(state, {}, index)[0])["outcome"] for index in (2_999, 4_000, 6_000)]
    assert ["failed", "succeeded", "stopped"] == outcomes


def terminated(**container):
    """A single job as returned by DescribeJobs after our TerminateJob."""
    return {
        "jobId": "j-1",
        "status": "FAILED",
        "statusReason": f"{jobs.OUR_REASON}the task was cleared",
        "container": container,
    }


def end_of(job):
    one = HandleJob(job_id="j-1", name="x", indices=IndexSet.of([4]))
    return result_of([collect(None, one, job)], rerun_token=None, ignored={"stopped"})


def test_a_program_that_exits_with_0_while_being_terminated_has_succeeded():
    """AWS reports such a job as failed, with the reason of the TerminateJob."""
    result = end_of(terminated(exitCode=0))
    assert ("succeeded", "4", []) == (result.outcome, str(result.succeeded), result.failures)


@pytest.mark.parametrize("container", [{}, {"exitCode": 143}])
def test_a_terminated_program_without_exit_code_0_has_not_succeeded(container):
    """It may not have started, or the signal ended it: the index runs again."""
    result = end_of(terminated(**container))
    assert ("stopped", "", {}) == (result.outcome, str(result.succeeded), result.causes)


def test_exit_code_0_does_not_hide_a_failure_that_is_not_our_stop():
    """For example, a container that AWS could not clean up."""
    result = end_of({**terminated(exitCode=0), "statusReason": "DockerTimeoutError"})
    assert ("failed", ["platform"]) == (result.outcome, list(result.causes))


@pytest.mark.parametrize(
    ("reason", "exit_code", "expected"),
    [
        ("Host EC2 (instance i-0a1b2c3d4e5f60718) terminated.", None, "spot"),
        ("Your Spot Task was interrupted.", 143, "spot"),
        ("Your Spot Task was interrupted.", 137, "spot"),
        (DIED, 137, "oom"),
        ("Task failed to start; CannotPullContainerError: Error response from daemon: denied", None, "pull"),
        ("Task failed to start; DockerTimeoutError: Could not transition to created; timed out", None, "platform"),
        (f"{EXITED}; CannotInspectContainerError: Could not transition to inspecting", 0, "platform"),
        ("AGENT", None, "platform"),
        ("Pod was terminated in response to imminent node shutdown.", 143, "platform"),
        ("Timeout waiting for network interface provisioning to complete.", None, "platform"),
        ('Task failed to start; CannotStartContainerError: exec: "x": executable file not found', 127, "start"),
        ("Task failed to start; ResourceInitializationError: unable to pull secrets or registry auth", None, "start"),
        ("Task failed to start", None, "start"),
        ("Job attempt duration exceeded timeout", 137, "timeout"),
        ("Dependent Job failed", None, "dependency"),
        (EXITED, 143, "exit 143"),
        (EXITED, None, "other"),
    ],
)
def test_the_cause_follows_from_the_reasons_of_batch_and_ecs(reason, exit_code, expected):
    """Their texts are those of AWS's documentation and of public reports; an exit code alone is the program's."""
    assert expected == cause(reason, exit_code)


def test_a_failed_dependency_is_ignored_only_on_request():
    """The index did not run. With `ignored`, it can run again."""
    cut = failures([1], "dependency", "Dependent Job failed")
    ended = JobEnd(IndexSet.range(2), IndexSet.of([0]), cut)
    assert "failed" == result_of([ended], rerun_token=None, ignored={"stopped"}).outcome
    ignored = result_of([ended], rerun_token=None, ignored={"stopped", "dependency"})
    assert ("stopped", []) == (ignored.outcome, ignored.failures)


class BatchClient:
    """Has an array whose children all failed before they had a container; counts the described ones."""

    described = 0

    def list_jobs(self, *, jobStatus, **_):  # noqa: N803 - AWS's name
        child = {"jobName": "n", "status": "FAILED"}
        listed = [{**child, "jobId": f"j-1:{i}", "arrayProperties": {"index": i}} for i in range(1_200)]
        return {"jobSummaryList": listed if jobStatus == "FAILED" else []}

    def describe_jobs(self, jobs):
        self.described += len(jobs)
        return {"jobs": []}


@pytest.mark.parametrize(
    ("kind", "described"), [({"container": {"image": "x"}}, 100), ({"ecsProperties": {}}, 1_200), ({}, 1_200)]
)
def test_all_failed_children_are_described_only_if_list_jobs_cannot_have_exit_codes(kind, described):
    """That is 100 calls for 10,000 children. The array itself shows the kind."""
    batch = BatchClient()
    one = HandleJob(job_id="j-1", name="x", indices=IndexSet.range(1_200))
    parent = {"jobId": "j-1", "status": "FAILED", "arrayProperties": {"size": 1_200, "statusSummary": {}}, **kind}
    assert 1_200 == len(collect(SimpleNamespace(batch=batch), one, parent).failures)
    assert described == batch.described
