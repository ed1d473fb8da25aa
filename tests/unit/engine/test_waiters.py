"""The records of which try waits for which submission tell a clear from a crash, and whose work it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.waiters import cleared, cleared_since, has_fired, record_fired, record_waiter, still_ours
from airflow_batchemr.ledger import Submission

FIRST = JobIdentity("s3://data/_batchemr", "d", "r", "j", "scheduled__1", "task", try_number=1, max_tries=2)
#: Airflow retries after a crash with the same `max_tries`; a clear raises it.
RETRY = replace(FIRST, try_number=2)
AFTER_CLEAR = replace(FIRST, try_number=2, max_tries=3)
#: The run was deleted and triggered again for the same date: it counts its tries anew.
OTHER_RUN = "manual__2"


def test_a_retry_after_a_crash_continues_what_was_waited_for(job):
    """And a clear stops it."""
    record_waiter(job, FIRST, [1])
    assert ([], [1]) == (cleared(job, RETRY, [1]), cleared(job, AFTER_CLEAR, [1]))
    assert [] == cleared(job, AFTER_CLEAR, [2])


def test_a_try_after_a_clear_that_waits_itself_was_not_cleared(job):
    """It resumes after a deferral."""
    record_waiter(job, FIRST, [1])
    record_waiter(job, AFTER_CLEAR, [1])
    assert [] == cleared(job, AFTER_CLEAR, [1])


def test_the_try_before_a_clear_sees_that_a_later_one_waits(job):
    """By which its trigger leaves the work alone."""
    record_waiter(job, RETRY, [1])
    assert not cleared_since(job, FIRST, [1])
    record_waiter(job, replace(AFTER_CLEAR, try_number=3), [1])
    assert cleared_since(job, FIRST, [1])
    assert [] == still_ours(job, FIRST, [Submission(1, None)])


@pytest.mark.parametrize("max_tries", [2, 5])
def test_records_of_another_run_with_the_same_try_numbers_do_not_count(job, max_tries):
    """Neither as a clear, nor as a later try that has taken the work over."""
    other = replace(FIRST, run_id=OTHER_RUN, max_tries=max_tries)
    for try_number in (1, 2, 3):
        record_waiter(job, replace(other, try_number=try_number), [1])
    assert [] == cleared(job, RETRY, [1])
    assert not cleared_since(job, FIRST, [1])
    mine = Submission(1, None)
    assert [mine] == still_ours(job, FIRST, [mine])


def test_a_claim_of_a_later_try_is_its_own(job, new_intent):
    """Unless another run made it."""
    later = Submission(1, None, intent=new_intent(run_id=FIRST.run_id, try_number=2))
    other = Submission(2, None, intent=new_intent(run_id=OTHER_RUN, try_number=2))
    assert [other] == still_ours(job, FIRST, [later, other])


def test_a_fired_trigger_is_known_by_its_wait(job):
    """And by no other."""
    record_fired(job, "abc")
    assert (True, False) == (has_fired(job, "abc"), has_fired(job, "abd"))
