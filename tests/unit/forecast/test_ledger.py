"""A ledger whose writes stay in memory."""

from __future__ import annotations

import pytest

from airflow_batchemr.forecast.ledger import ForecastLedger
from airflow_batchemr.ledger import Handle, Intent, Ledger, Marker
from tests.unit.conftest import MemoryS3

URI, JOB = "s3://data/state", ("dag", "2026-11-20T000000Z", "job")


def intent(token=None):
    return Intent(kind="batch", name="x", requests=[], indices="0-9", rerun_token=token,
                  dag_id="dag", run_key="r", job="job")  # fmt: skip


@pytest.fixture
def s3():
    return MemoryS3()


def test_writes_are_read_back_and_not_sent(s3):
    Ledger(s3, URI).job(*JOB).claim(1, intent())
    objects = dict(s3.objects)
    job = ForecastLedger(s3, URI).job(*JOB)
    assert not job.claim(1, intent())
    assert job.claim(2, intent())
    job.record_handle(2, Handle(kind="batch", abandoned=True))
    job.put_document("array.json", b"{}")
    state = job.read()
    assert [1, 2] == state.numbers
    assert [False, True] == [one.handle is not None for one in state.submissions]
    assert (b"{}", ["array.json"]) == (job.get_document("array.json"), job.documents())
    assert objects == s3.objects


def test_a_rerun_removes_the_marker_in_memory_only(s3):
    real = Ledger(s3, URI).job(*JOB)
    real.mark(Marker(submission=0, size=10, rerun_token=None))
    job = ForecastLedger(s3, URI).job(*JOB)
    assert job.claim(1, intent("run#1"))
    assert job.marker() is None
    assert real.marker() is not None


def test_documents_of_s3_are_kept_where_they_exist(s3):
    Ledger(s3, URI).job(*JOB).put_document("a", b"there")
    assert b"there" == ForecastLedger(s3, URI).job(*JOB).put_document("a", b"new")


def test_without_a_client_the_ledger_is_empty():
    job = ForecastLedger(None, URI).job(*JOB)
    assert [] == job.read().numbers
    assert job.claim(1, intent())
    assert [1] == job.read().numbers
