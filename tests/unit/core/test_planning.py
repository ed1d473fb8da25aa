"""What a try does next."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import closed, decide, failed_indices
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
    return [(plan.number, str(plan.indices), plan.memory_step) for plan in decision.claims]


def test_an_untouched_job_is_claimed_whole():
    """All indices, as attempt 1, with the first memory size."""
    assert claims(decide(state(), 10)) == [(1, "0-9", 0)]


def test_the_next_try_claims_what_is_left():
    """Failures of before this try are forgiven."""
    before = state(ended(1, "0-9", "0-6", failures=[(7, None), (8, None), (9, None)]))
    assert claims(decide(before, 10, before=closed(before))) == [(2, "7-9", 0)]


def test_a_failure_of_this_try_fails_it():
    """Each index runs once a try."""
    decision = decide(state(ended(1, "0-9", "0-7", failures=[(8, None), (9, "oom")])), 10)
    assert (
        decision.action, str(decision.failed), [failure.index for failure in decision.failures]
    ) == ("fail", "8-9", [8, 9])  # fmt: skip


def test_all_done_is_marked():
    """By however many attempts."""
    assert decide(state(ended(1, "0-9", "0-6"), ended(2, "7-9", "7-9")), 10).action == "mark"


def test_a_standing_marker_is_the_end():
    """Whatever came after it."""
    marker = Marker(submission=1, size=10, rerun_token=None)
    assert decide(state(running(2, "3"), marker=marker), 10).action == "mark"


def test_an_open_attempt_is_adopted():
    """What it has in hand is not claimed."""
    decision = decide(state(running(1, "0-9")), 10)
    assert (decision.action, [submission.number for submission in decision.waits]) == ("wait", [1])


def test_what_a_half_submitted_attempt_left_is_claimed_at_once():
    """Beside the open one."""
    assert claims(decide(state(running(1, "0-4")), 10)) == [(2, "5-9", 0)]


def test_a_try_with_a_failed_index_waits_for_the_others():
    """What runs is not left alone."""
    assert decide(state(ended(1, "0-4", "0-3", failures=[(4, None)]), running(2, "5-9")), 10).action == "wait"


def test_what_was_stopped_is_claimed_again_in_the_same_try():
    """A job that our own earlier try stopped is no failure of the new one."""
    assert claims(decide(state(ended(1, "0-9", "0-2", "stopped")), 10)) == [(2, "3-9", 0)]


def test_what_failed_by_itself_before_a_stop_is_a_failure():
    """Only what the stop cut short is claimed again."""
    stopped = state(ended(1, "0-9", "0-2", "stopped", failures=[(5, None)]))
    assert claims(decide(stopped, 10)) == [(2, "3-4,6-9", 0)]


def test_an_abandoned_attempt_is_no_failure():
    """It never reached AWS."""
    assert claims(decide(state(ended(1, "0-9", "", "abandoned")), 10)) == [(2, "0-9", 0)]


def test_a_lost_attempt_is_a_failure():
    """AWS no longer knows it: a person is told, and the next try runs what is left."""
    decision = decide(state(ended(1, "0-9", "0-2", "lost")), 10)
    assert (decision.action, str(decision.failed)) == ("fail", "3-9")


def test_a_job_that_failed_as_a_whole_says_so():
    """An array that never started has no index to blame."""
    decision = decide(state(ended(1, "0-9", "", failures=[(None, "pull")])), 10)
    assert (
        decision.action, str(decision.failed), [failure.cause for failure in decision.failures]
    ) == ("fail", "0-9", ["pull"])  # fmt: skip


def test_what_died_of_memory_runs_with_the_next_size_in_the_same_try():
    """The others do not; failures of other kinds stay failures."""
    first = ended(1, "0-9", "0-5", failures=[(6, "oom"), (7, "oom"), (8, None), (9, "spot")])
    assert claims(decide(state(first), 10, memory_sizes=3)) == [(2, "6-7", 1)]
    second = ended(2, "6-7", "6", failures=[(7, "oom")])
    assert claims(decide(state(first, second), 10, memory_sizes=3)) == [(3, "7", 2)]
    third = ended(3, "7", "", failures=[(7, "oom")])
    assert str(decide(state(first, second, third), 10, memory_sizes=3).failed) == "7-9"


def test_a_later_try_keeps_the_memory_that_was_reached():
    """One attempt a size; beyond the last size, the last."""
    before = state(
        ended(1, "0-9", "0-5", failures=[(6, "oom"), (7, "oom"), (8, None), (9, None)]),
        ended(2, "6-7", "", failures=[(6, None), (7, "oom")]),
    )
    assert claims(decide(before, 10, before=closed(before), memory_sizes=2)) == [(3, "8-9", 0), (4, "6-7", 1)]


def test_what_died_otherwise_with_more_memory_is_a_failure():
    """Only the last death counts."""
    found = state(ended(1, "0", "", failures=[(0, "oom")]), ended(2, "0", "", failures=[(0, None)]))
    assert decide(found, 1, memory_sizes=3).action == "fail"


def test_without_the_preamble_a_resume_is_the_whole_array():
    """The programs would see wrong indices."""
    before = state(ended(1, "0-9", "0-6"))
    assert claims(decide(before, 10, before=closed(before), resumable=False)) == [(2, "0-9", 0)]


def test_without_the_preamble_nothing_is_claimed_beside_an_open_attempt():
    """Or each index would run twice."""
    assert decide(state(running(1, "0-4")), 10, resumable=False).action == "wait"


def test_a_rerun_forgets_what_was_done_and_what_died_of_memory():
    """It is a new beginning."""
    found = state(ended(1, "0-9", "0-8", failures=[(9, "oom")]), ended(2, "0-4", "0-4", rerun_token="again"))
    assert claims(decide(found, 10, memory_sizes=2)) == [(3, "5-9", 0)]


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [("failed", "2-4"), ("lost", "2-4"), ("stopped", "3"), ("abandoned", ""), ("succeeded", "2-4")],
)
def test_what_failed_by_itself(outcome, failed):
    """All that did not succeed, but for what a stop cut short."""
    assert failed == str(failed_indices(ended(1, "0-4", "0-1", outcome, failures=[(3, None)]).result))


SETS = st.sets(st.integers(0, 12)).map(IndexSet.of)
ATTEMPTS = st.lists(
    st.tuples(SETS, SETS, st.sampled_from(["failed", "stopped", "lost", "abandoned", "open"]), st.booleans()),
    max_size=6,
)


@given(ATTEMPTS, st.integers(1, 13), st.integers(1, 3))
def test_nothing_is_claimed_that_is_done_or_in_hand(history, size, memory_sizes):
    """Whatever stands in the ledger: claims are disjoint, and every index is done, in hand, claimed or failed."""
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
    decision = decide(found, size, memory_sizes=memory_sizes)
    claimed = [index for plan in decision.claims for index in plan.indices]
    everything = IndexSet.range(size)
    assert len(set(claimed)) == len(claimed)
    assert not IndexSet.of(claimed) & (found.done | found.running)
    assert all(plan.memory_step < memory_sizes for plan in decision.claims)
    if decision.action == "mark":
        assert everything <= found.done
    elif decision.action == "fail":
        assert everything <= found.done | decision.failed
        assert decision.failed
    elif decision.action == "wait":
        assert decision.waits
    else:
        assert claimed


def test_without_the_preamble_more_memory_is_for_the_whole_array():
    """A part of it would see wrong indices: all run again, with the largest size that any of them needs."""
    found = state(ended(1, "0-9", "0-2,4-9", failures=[(3, "oom")]))
    assert claims(decide(found, 10, memory_sizes=3, resumable=False)) == [(2, "0-9", 1)]
