"""A task that is cleared before its trigger has started: nobody but the next try can stop the old job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_batchemr.engine.waiters import cleared, record_waiter
from tests.integration.batch_engine import Job


@pytest.fixture
def waiting(aws, work, tmp_path):
    """A job whose only submission try 1 waits for, before any clear."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("while [ ! -e go ]; do sleep 0.1; done"), 1)
    job.step()
    record_waiter(job.ledger(), job.identity, [1])
    yield job
    (work.folder / "go").touch()


def test_an_attempt_waited_for_before_the_clear_is_to_stop(waiting):
    """The try after the clear finds the submission of the previous try."""
    assert cleared(waiting.ledger(), replace(waiting.identity, try_number=2, max_tries=1), [1]) == [1]


def test_a_retry_without_a_clear_goes_on_waiting(waiting):
    """A crash is no user action."""
    assert not cleared(waiting.ledger(), replace(waiting.identity, try_number=2), [1])


def test_a_retry_after_the_clear_goes_on_waiting(waiting):
    """The try after the clear has waited for the submission itself, and crashed: the clear has already taken effect."""
    after = replace(waiting.identity, try_number=2, max_tries=1)
    record_waiter(waiting.ledger(), after, [1])
    assert not cleared(waiting.ledger(), replace(after, try_number=3), [1])


def test_an_attempt_that_nobody_has_waited_for_goes_on(waiting):
    """Whoever submitted it died before waiting: a clear does not say that its work is unwanted."""
    assert not cleared(waiting.ledger(), replace(waiting.identity, try_number=2, max_tries=1), [2])


def test_another_run_of_the_same_date_is_no_clear(waiting):
    """A run that is deleted and triggered again has tries of its own: its crash is not taken for a clear."""
    again = replace(waiting.identity, run_id="manual__again", try_number=2, max_tries=1)
    assert not cleared(waiting.ledger(), again, [1])
