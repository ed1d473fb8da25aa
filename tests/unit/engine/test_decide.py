"""Decisions about the next action of a try."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchemr.aws.batch.array_work import ArrayWork
from airflow_batchemr.aws.emr.job_steps import PlannedStep
from airflow_batchemr.aws.emr.step_work import StepWork
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import as_rerun, closed, decide, ended_before_try, failed_units
from airflow_batchemr.engine.single_work import SingleWork
from airflow_batchemr.ledger import Failure, Handle, HandleJob, Intent, Marker, Result, Submission
from airflow_batchemr.ledger.state import derive_state

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)


def ended(number, indices, succeeded, outcome="failed", *, failures=(), rerun_token=None):
    result = Result(
        kind="batch", outcome=outcome, indices=indices, succeeded=succeeded, rerun_token=rerun_token,
        failures=[Failure(index=index, reason="x", cause=cause) for index, cause in failures],
    )  # fmt: skip
    return Submission(number, NOW, result=result)


def running(number, indices):
    intent = Intent(
        kind="batch", name="x", requests=[], indices=indices, rerun_token=None, dag_id="d", run_key="r", job="j"
    )  # fmt: skip
    handle = Handle(kind="batch", jobs=[HandleJob(job_id="x", name="x", indices=indices)])
    return Submission(number, NOW, intent=intent, handle=handle)


def state(*submissions, marker=None):
    return derive_state([submission.number for submission in submissions], list(submissions), marker, NOW)


def claims(decision):
    assert decision.action == "claim"
    return [(plan.number, str(plan.indices), plan.variant) for plan in decision.claims]


def test_all_indices_of_a_new_job_are_claimed():
    """As submission 1, with the first memory size."""
    assert claims(decide(ArrayWork(10), state())) == [(1, "0-9", 0)]


def test_the_next_try_claims_the_remaining_indices():
    """Failures before this try do not count."""
    before = state(ended(1, "0-9", "0-6", failures=[(7, None), (8, None), (9, None)]))
    assert claims(decide(ArrayWork(10), replace(before, prior_submissions=closed(before)))) == [(2, "7-9", 0)]


def test_a_failure_of_this_try_fails_it():
    """Each index runs once per try."""
    decision = decide(ArrayWork(10), state(ended(1, "0-9", "0-7", failures=[(8, None), (9, "oom")])))
    assert (
        decision.action, str(decision.failed), [failure.index for failure in decision.failures]
    ) == ("fail", "8-9", [8, 9])  # fmt: skip


def test_a_try_succeeds_when_everything_is_done():
    """By any number of submissions."""
    assert decide(ArrayWork(10), state(ended(1, "0-9", "0-6"), ended(2, "7-9", "7-9"))).action == "succeed"


def test_a_marker_ends_the_try():
    """Later submissions do not matter."""
    marker = Marker(submission=1, size=10, rerun_token=None)
    assert decide(ArrayWork(10), state(running(2, "3"), marker=marker)).action == "succeed"


def test_a_try_waits_for_an_open_submission():
    """Its indices are not claimed."""
    assert decide(ArrayWork(10), state(running(1, "0-9"))).action == "wait"


def test_indices_that_a_partial_submission_did_not_start_are_claimed_immediately():
    """While the others run."""
    assert claims(decide(ArrayWork(10), state(running(1, "0-4")))) == [(2, "5-9", 0)]


def test_a_try_with_a_failed_index_waits_for_the_others():
    """It does not fail while other indices run."""
    found = state(ended(1, "0-4", "0-3", failures=[(4, None)]), running(2, "5-9"))
    assert decide(ArrayWork(10), found).action == "wait"


def test_stopped_indices_are_claimed_again_in_the_same_try():
    """A stop is not a failure."""
    assert claims(decide(ArrayWork(10), state(ended(1, "0-9", "0-2", "stopped")))) == [(2, "3-9", 0)]


def test_an_index_that_failed_before_a_stop_is_a_failure():
    """Only indices that the stop interrupted are claimed again."""
    stopped = state(ended(1, "0-9", "0-2", "stopped", failures=[(5, None)]))
    assert claims(decide(ArrayWork(10), stopped)) == [(2, "3-4,6-9", 0)]


def test_an_abandoned_submission_is_not_a_failure():
    """It never reached AWS."""
    assert claims(decide(ArrayWork(10), state(ended(1, "0-9", "", "abandoned")))) == [(2, "0-9", 0)]


def test_a_lost_submission_is_a_failure():
    """AWS no longer shows it, so the user decides whether it runs again."""
    decision = decide(ArrayWork(10), state(ended(1, "0-9", "0-2", "lost")))
    assert (decision.action, str(decision.failed)) == ("fail", "3-9")


def test_a_failure_without_an_index_is_reported():
    """An array that never started has no failed indices."""
    decision = decide(ArrayWork(10), state(ended(1, "0-9", "", failures=[(None, "pull")])))
    assert (
        decision.action, str(decision.failed), [failure.cause for failure in decision.failures]
    ) == ("fail", "0-9", ["pull"])  # fmt: skip


def test_indices_out_of_memory_run_with_the_next_size_in_the_same_try():
    """Failures with other causes remain failures."""
    first = ended(1, "0-9", "0-5", failures=[(6, "oom"), (7, "oom"), (8, None), (9, "spot")])
    assert claims(decide(ArrayWork(10, memory_sizes=3), state(first))) == [(2, "6-7", 1)]
    second = ended(2, "6-7", "6", failures=[(7, "oom")])
    assert claims(decide(ArrayWork(10, memory_sizes=3), state(first, second))) == [(3, "7", 2)]
    third = ended(3, "7", "", failures=[(7, "oom")])
    assert str(decide(ArrayWork(10, memory_sizes=3), state(first, second, third)).failed) == "7-9"


def test_a_later_try_starts_with_the_last_memory_size():
    """One submission per size; after the largest size, the largest again."""
    before = state(
        ended(1, "0-9", "0-5", failures=[(6, "oom"), (7, "oom"), (8, None), (9, None)]),
        ended(2, "6-7", "", failures=[(6, None), (7, "oom")]),
    )
    assert claims(decide(ArrayWork(10, memory_sizes=2), replace(before, prior_submissions=closed(before)))) == [
        (3, "8-9", 0),
        (4, "6-7", 1),
    ]


def test_another_failure_with_more_memory_is_a_failure():
    """Only the last failure of an index counts."""
    found = state(ended(1, "0", "", failures=[(0, "oom")]), ended(2, "0", "", failures=[(0, None)]))
    assert decide(ArrayWork(1, memory_sizes=3), found).action == "fail"


def test_without_the_preamble_a_resume_runs_the_whole_array():
    """Otherwise, the programs would see wrong indices."""
    before = state(ended(1, "0-9", "0-6"))
    assert claims(decide(ArrayWork(10, resumable=False), replace(before, prior_submissions=closed(before)))) == [
        (2, "0-9", 0)
    ]


def test_without_the_preamble_nothing_is_claimed_during_an_open_submission():
    """Otherwise, each index would run twice."""
    assert decide(ArrayWork(10, resumable=False), state(running(1, "0-4"))).action == "wait"


def test_a_rerun_ignores_earlier_successes_and_memory_sizes():
    """It starts with nothing done and the first memory size."""
    found = state(ended(1, "0-9", "0-8", failures=[(9, "oom")]), ended(2, "0-4", "0-4", rerun_token="again"))
    assert claims(decide(ArrayWork(10, memory_sizes=2), found)) == [(3, "5-9", 0)]


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [("failed", "2-4"), ("lost", "2-4"), ("stopped", "3"), ("abandoned", ""), ("succeeded", "2-4")],
)
def test_failed_units_exclude_those_that_a_stop_interrupted(outcome, failed):
    """All others that did not succeed have failed."""
    assert failed == str(failed_units(ended(1, "0-4", "0-1", outcome, failures=[(3, None)]).result))


SETS = st.sets(st.integers(0, 12)).map(IndexSet.of)
SUBMISSIONS = st.lists(
    st.tuples(SETS, SETS, st.sampled_from(["failed", "stopped", "lost", "abandoned", "open"]), st.booleans()),
    max_size=6,
)


@given(SUBMISSIONS, st.integers(1, 13), st.integers(1, 3))
def test_no_done_or_running_index_is_claimed(history, size, memory_sizes):
    """For any ledger, claims are disjoint, and every index is done, running, claimed or failed."""
    submissions = []
    for number, (indices, subset, outcome, oom) in enumerate(history, 1):
        succeeded = indices & subset
        if outcome == "open":
            submissions.append(running(number, indices))
        elif outcome == "abandoned":
            submissions.append(ended(number, indices, "", outcome))
        else:
            died = [(index, "oom" if oom else None) for index in indices - succeeded]
            submissions.append(ended(number, indices, succeeded, outcome, failures=died))
    found = state(*submissions)
    decision = decide(ArrayWork(size, memory_sizes=memory_sizes), found)
    claimed = [index for plan in decision.claims for index in plan.indices]
    everything = IndexSet.range(size)
    assert len(set(claimed)) == len(claimed)
    assert not IndexSet.of(claimed) & (found.done | found.running)
    assert all(plan.variant < memory_sizes for plan in decision.claims)
    if decision.action == "succeed":
        assert everything <= found.done
    elif decision.action == "fail":
        assert everything <= found.done | decision.failed
        assert decision.failed
    elif decision.action == "wait":
        assert found.open_submissions
    else:
        assert claimed


def test_without_the_preamble_the_whole_array_gets_more_memory():
    """The programs of a part would see wrong indices. All run again, with the largest size that any of them needs."""
    found = state(ended(1, "0-9", "0-2,4-9", failures=[(3, "oom")]))
    assert claims(decide(ArrayWork(10, memory_sizes=3, resumable=False), found)) == [(2, "0-9", 1)]


def test_a_run_keeps_the_array_size_that_it_started_with():
    """If the file has another size now, the other indices do not belong to this run."""
    first = ended(1, "0-9", "0-6")
    sized = replace(first, result=first.result.model_copy(update={"details": {"size": 10}}))
    found = state(sized)
    assert claims(decide(ArrayWork(20), replace(found, prior_submissions=closed(found)))) == [(2, "7-9", 0)]


# Lost submissions


def test_a_try_keeps_its_array_size_although_all_indices_have_failed():
    """A template may render to more indices after a deferral: they belong to the next try."""
    failed = ended(1, "0-3", "", failures=[(index, None) for index in range(4)])
    result = failed.result.model_copy(update={"details": {"size": 4}})
    now = state(replace(failed, result=result))
    decision = decide(ArrayWork(8), now)
    assert ("fail", IndexSet.range(4)) == (decision.action, decision.failed)
    assert claims(decide(ArrayWork(8), replace(now, prior_submissions=closed(now)))) == [(2, "0-7", 0)]


def test_a_stopped_submission_does_not_fix_the_array_size():
    """Nothing of it is done, so the task that a user has cleared runs with the new size."""
    stopped = ended(1, "0-3", "", "stopped")
    result = stopped.result.model_copy(update={"details": {"size": 4}})
    assert claims(decide(ArrayWork(8), state(replace(stopped, result=result)))) == [(2, "0-7", 0)]


def test_a_submission_lost_during_this_try_has_failed():
    """It may have succeeded, so the try fails and nothing runs instead."""
    before = state(running(1, "0-9"))
    after = state(ended(1, "0-9", "0-2", "lost"))
    decision = decide(ArrayWork(10), replace(after, prior_submissions=ended_before_try(after, closed(before))))
    assert (decision.action, str(decision.failed)) == ("fail", "3-9")


def test_a_submission_lost_before_this_try_does_not_count():
    """The user has cleared the task since then; otherwise, Airflow would not have started a try."""
    found = state(ended(1, "0-9", "0-2", "lost"))
    assert claims(decide(ArrayWork(10), replace(found, prior_submissions=ended_before_try(found, closed(found))))) == [
        (2, "3-9", 0)
    ]


def test_a_submission_that_ended_between_two_tries_does_not_count():
    """Although this try is the first to see its failure: no try has run its indices since."""
    before = state(running(1, "0-9"))
    after = state(ended(1, "0-9", "0-2"))
    assert claims(decide(ArrayWork(10), replace(after, prior_submissions=ended_before_try(after, closed(before))))) == [
        (2, "3-9", 0)
    ]


# Reruns


def test_a_rerun_starts_after_open_submissions_have_been_stopped():
    """The marker and earlier successes do not count; open submissions are stale."""
    marker = Marker(submission=1, size=10, rerun_token=None)
    found = as_rerun(state(ended(1, "0-9", "0-9", "succeeded"), running(2, "3"), marker=marker), "again")
    assert [2] == [one.number for one in found.stale_submissions]
    assert claims(decide(ArrayWork(10), found)) == [(3, "0-9", 0)]


# Single work


def test_single_work_has_one_unit():
    """It is claimed, runs, and succeeds or fails as a whole."""
    work = SingleWork()
    assert claims(decide(work, state())) == [(1, "0", 0)]
    assert decide(work, state(running(1, "0"))).action == "wait"
    assert decide(work, state(ended(1, "0", "0", "succeeded"))).action == "succeed"
    failed = state(ended(1, "0", "", failures=[(0, None)]))
    assert decide(work, failed).action == "fail"
    assert claims(decide(work, replace(failed, prior_submissions=closed(failed)))) == [(2, "0", 0)]
    assert claims(decide(work, state(ended(1, "0", "", "stopped")))) == [(2, "0", 0)]


# Steps


def planned(*bodies, stages=None, on_failure=None):
    return [
        PlannedStep(number, body, {"do": body}, on_failure, stages[number] if stages else 1)
        for number, body in enumerate(bodies)
    ]


def steps_ended(number, indices, succeeded, outcome, steps):
    """A submission of steps, with the digests that they had at that time."""
    found = ended(number, indices, succeeded, outcome)
    digests = {str(step.number): step.digest for step in steps if step.number in found.result.succeeded}
    update = {"kind": "steps", "details": {"digests": digests}}
    return replace(found, result=found.result.model_copy(update=update))


def test_steps_are_submitted_together_and_resume_at_the_failed_one():
    """On a cluster that runs them one after another."""
    steps = planned("a", "b", "c")
    work = StepWork(planned=steps)
    assert claims(decide(work, state())) == [(1, "0-2", 0)]
    failed = state(steps_ended(1, "0-2", "0", "failed", steps))
    assert decide(work, failed).action == "fail"
    assert claims(decide(work, replace(failed, prior_submissions=closed(failed)))) == [(2, "1-2", 0)]
    assert decide(work, state(steps_ended(1, "0-2", "0-2", "succeeded", steps))).action == "succeed"


def test_a_changed_step_runs_again_with_all_steps_after_it():
    """The later steps used its output."""
    found = state(steps_ended(1, "0-2", "0-2", "succeeded", planned("a", "b", "c")))
    again = replace(found, prior_submissions=closed(found))
    assert claims(decide(StepWork(planned=planned("a", "B", "c")), again)) == [(2, "1-2", 0)]


def test_a_step_whose_template_renders_differently_within_a_try_stays_done():
    """Airflow renders templates again after each deferral, such as {{ macros.datetime.now() }}."""
    ran = state(steps_ended(1, "0", "0", "succeeded", planned("at 1", "b")))
    assert claims(decide(StepWork(planned=planned("at 2", "b")), ran)) == [(2, "1", 0)]


def test_a_step_after_a_changed_one_has_to_succeed_again():
    """Its success before the change does not count once the changed step has run."""
    before = steps_ended(1, "0-3", "0-2", "failed", planned("a", "b", "c", "d"))
    work = StepWork(planned=planned("a", "B", "c", "d"))
    again = state(before, steps_ended(2, "1-3", "1", "failed", work.planned))
    decision = decide(work, replace(again, prior_submissions=frozenset({1})))
    assert (decision.action, str(decision.failed)) == ("fail", "2-3")
    assert claims(decide(work, replace(again, prior_submissions=closed(again)))) == [(3, "2-3", 0)]


def test_of_concurrent_steps_only_the_changed_one_and_later_stages_run_again():
    """Steps of one stage do not use each other's output."""
    stages = [1, 1, 2]
    before = steps_ended(1, "0-2", "0-2", "succeeded", planned("a", "b", "c", stages=stages))
    work = StepWork(planned=planned("A", "b", "c", stages=stages), concurrency=2)
    prior = frozenset({1})
    assert claims(decide(work, replace(state(before), prior_submissions=prior))) == [(2, "0", 0)]
    changed = steps_ended(2, "0", "0", "succeeded", work.planned)
    assert claims(decide(work, replace(state(before, changed), prior_submissions=prior))) == [(3, "2", 0)]


def test_steps_after_an_unchanged_step_that_runs_again_stay_done():
    """With `on_failure: continue`, they have succeeded without it."""
    steps = planned("a", "b", "c")
    work = StepWork(planned=steps)
    before = steps_ended(1, "0-2", "0,2", "failed", steps)
    assert claims(decide(work, replace(state(before), prior_submissions=frozenset({1})))) == [(2, "1", 0)]
    assert decide(work, state(before, steps_ended(2, "1", "1", "succeeded", steps))).action == "succeed"


def test_a_stage_of_concurrent_steps_waits_for_the_previous_stage():
    """All steps of that stage must succeed."""
    steps = planned("a", "b", "c", stages=[0, 1, 1])
    work = StepWork(planned=steps, concurrency=2)
    assert claims(decide(work, state())) == [(1, "0", 0)]
    assert decide(work, state(running(1, "0"))).action == "wait"
    assert claims(decide(work, state(steps_ended(1, "0", "0", "succeeded", steps)))) == [(2, "1-2", 0)]
    assert decide(work, state(steps_ended(1, "0", "", "failed", steps))).action == "fail"


def test_steps_that_are_submitted_one_by_one_wait_for_each_other():
    """A step with `on_failure` does not prevent the next one from running, so both are submitted together."""
    work = StepWork(planned=planned("a", "b"), one_by_one=True)
    assert claims(decide(work, state())) == [(1, "0", 0)]
    assert decide(work, state(running(1, "0"))).action == "wait"
    assert claims(decide(work, state(steps_ended(1, "0", "0", "succeeded", work.planned)))) == [(2, "1", 0)]
    together = StepWork(planned=planned("a", "b", on_failure="continue"), one_by_one=True)
    assert claims(decide(together, state())) == [(1, "0-1", 0)]


def test_without_resume_a_failure_discards_the_steps_before_it():
    """But not steps that have succeeded since."""
    steps = planned("a", "b")
    work = StepWork(planned=steps, resume=False)
    failed = state(steps_ended(1, "0-1", "0", "failed", steps))
    assert claims(decide(work, replace(failed, prior_submissions=closed(failed)))) == [(2, "0-1", 0)]
    again = state(*failed.submissions, steps_ended(2, "0", "0", "succeeded", steps))
    assert claims(decide(work, replace(again, prior_submissions=closed(failed)))) == [(3, "1", 0)]


def test_without_resume_a_submission_that_never_reached_aws_discards_nothing():
    """Nothing of it ran, so it has not failed."""
    steps = planned("a", "b", stages=[0, 1])
    work = StepWork(planned=steps, resume=False, concurrency=2)
    found = state(steps_ended(1, "0", "0", "succeeded", steps), steps_ended(2, "1", "", "abandoned", steps))
    assert claims(decide(work, found)) == [(3, "1", 0)]


# Idle submissions


def test_the_units_of_an_idle_submission_are_done():
    """A job's own cluster whose steps have succeeded stays open for the next steps."""
    steps = planned("a", "b", stages=[0, 1])
    work = StepWork(planned=steps, concurrency=2)
    assert claims(decide(work, state(running(1, "0")), idle={1})) == [(2, "1", 0)]
    both = state(running(1, "0"), running(2, "1"))
    assert decide(work, both, idle={1}).action == "wait"
    assert decide(work, both, idle={1, 2}).action == "succeed"


def test_a_failure_with_an_idle_submission_fails_the_try():
    """No work is running."""
    steps = planned("a", "b", stages=[0, 1])
    found = state(running(1, "0"), steps_ended(2, "1", "", "failed", steps))
    decision = decide(StepWork(planned=steps, concurrency=2), found, idle={1})
    assert (decision.action, str(decision.failed)) == ("fail", "1")
