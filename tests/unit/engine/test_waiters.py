"""Which try waits for which submission: records that distinguish a clear from a crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.waiters import (
    cleared,
    cleared_since,
    has_fired,
    record_fired,
    record_waiter,
    still_ours,
    undecided,
)
from airflow_batchemr.ledger import Submission

FIRST = JobIdentity("s3://data/_batchemr", "d", "r", "j", "scheduled__1", "task", try_number=1, max_tries=2)
#: A retry after a crash has the same `max_tries`; a clear increases it.
RETRY = replace(FIRST, try_number=2)
AFTER_CLEAR = replace(FIRST, try_number=2, max_tries=3)
#: The run was deleted and triggered again for the same date; its tries are counted from 1.
OTHER_RUN = "manual__2"


def test_only_a_try_after_a_clear_finds_cleared_submissions(job):
    """A retry after a crash does not, and continues the work."""
    record_waiter(job, FIRST, [1])
    assert ([], [1]) == (cleared(job, RETRY, [1]), cleared(job, AFTER_CLEAR, [1]))
    assert [] == cleared(job, AFTER_CLEAR, [2])


def test_a_try_after_a_clear_does_not_clear_its_own_waits(job):
    """It resumes after a deferral."""
    record_waiter(job, FIRST, [1])
    record_waiter(job, AFTER_CLEAR, [1])
    assert [] == cleared(job, AFTER_CLEAR, [1])


def test_the_try_before_a_clear_finds_the_wait_of_a_later_try(job):
    """Its trigger then does not stop the work."""
    record_waiter(job, RETRY, [1])
    assert not cleared_since(job, FIRST, [1])
    record_waiter(job, replace(AFTER_CLEAR, try_number=3), [1])
    assert cleared_since(job, FIRST, [1])
    assert [] == still_ours(job, FIRST, [Submission(1, None)])


@pytest.mark.parametrize("max_tries", [2, 5])
def test_records_of_another_run_with_the_same_try_numbers_do_not_count(job, max_tries):
    """Neither as a clear, nor as a later try that has taken over the work."""
    other = replace(FIRST, run_id=OTHER_RUN, max_tries=max_tries)
    for try_number in (1, 2, 3):
        record_waiter(job, replace(other, try_number=try_number), [1])
    assert [] == cleared(job, RETRY, [1])
    assert not cleared_since(job, FIRST, [1])
    mine = Submission(1, None)
    assert [mine] == still_ours(job, FIRST, [mine])


def test_a_claim_of_a_later_try_is_not_ours(job, new_intent):
    """A claim of another run does not count as that of a later try."""
    later = Submission(1, None, intent=new_intent(run_id=FIRST.run_id, try_number=2))
    other = Submission(2, None, intent=new_intent(run_id=OTHER_RUN, try_number=2))
    assert [other] == still_ours(job, FIRST, [later, other])


def test_a_fired_trigger_is_identified_by_its_wait(job):
    """Other waits have not fired."""
    record_fired(job, "abc")
    assert (True, False) == (has_fired(job, "abc"), has_fired(job, "abd"))


@pytest.mark.parametrize(("seconds", "ours"), [(-60, False), (60, True)])
def test_work_that_another_run_waits_for_since_this_try_began_is_not_ours(job, s3, seconds, ours):
    """The run was deleted and triggered again, and the new run has adopted the work."""
    record_waiter(job, replace(FIRST, run_id=OTHER_RUN), [1])
    began = s3.clock + timedelta(seconds=seconds)
    assert [1] * ours == [one.number for one in still_ours(job, FIRST, [Submission(1, None)], began)]


def test_a_loss_is_undecided_until_a_user_clears_the_task(job):
    """A try that Airflow starts after a crash must not run the units again."""
    record_waiter(job, FIRST, [1])
    assert [{1}, set()] == [undecided(job, who, [1]) for who in (RETRY, AFTER_CLEAR)]
    assert set() == undecided(job, replace(RETRY, run_id=OTHER_RUN), [1])
