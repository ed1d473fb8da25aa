"""A task that is cleared before its trigger has started: only the next try can stop the old job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_batchemr.engine.waiters import cleared, record_waiter
from tests.integration.batch_engine import Job


@pytest.fixture
def waiting(aws, work, tmp_path):
    """A job with one submission, for which try 1 waited before any clear."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("while [ ! -e go ]; do sleep 0.1; done"), 1)
    job.step()
    record_waiter(job.ledger(), job.identity, [1])
    yield job
    (work.folder / "go").touch()


def test_a_submission_awaited_before_the_clear_is_stopped(waiting):
    """The try after the clear finds the submission of the previous try."""
    assert cleared(waiting.ledger(), replace(waiting.identity, try_number=2, max_tries=1), [1]) == [1]


def test_a_retry_without_a_clear_continues_to_wait(waiting):
    """A crash is not a user action."""
    assert not cleared(waiting.ledger(), replace(waiting.identity, try_number=2), [1])


def test_a_retry_after_the_clear_continues_to_wait(waiting):
    """The try after the clear waited for the submission and crashed: the clear has already taken effect."""
    after = replace(waiting.identity, try_number=2, max_tries=1)
    record_waiter(waiting.ledger(), after, [1])
    assert not cleared(waiting.ledger(), replace(after, try_number=3), [1])


def test_a_submission_without_a_recorded_wait_continues(waiting):
    """Its worker died before it waited, so the clear does not refer to it."""
    assert not cleared(waiting.ledger(), replace(waiting.identity, try_number=2, max_tries=1), [2])


def test_another_run_of_the_same_date_is_not_a_clear(waiting):
    """A run that was deleted and triggered again counts its own tries, and its crash is not a clear."""
    again = replace(waiting.identity, run_id="manual__again", try_number=2, max_tries=1)
    assert not cleared(waiting.ledger(), again, [1])
