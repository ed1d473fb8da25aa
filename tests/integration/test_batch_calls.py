"""AWS calls of a resumed array, without polls."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_batchemr.aws.poller import Poller
from airflow_batchemr.triggers import batch as batch_trigger
from tests.integration.test_batch_array import array_dag


@pytest.fixture
def polls(monkeypatch):
    """Counts the DescribeJobs calls of the poll loop."""
    counted = []

    class Counted(Poller):
        def __init__(self, describe, **arguments):
            super().__init__(lambda ids: counted.append(1) or describe(ids), **arguments)

    monkeypatch.setattr(batch_trigger, "Poller", Counted)
    return counted


def test_a_resume_takes_two_submits_and_few_other_calls(aws, run_dag, work, polls):
    """37 of 400 indices fail once and run again, with 2 SubmitJob calls and at most 42 other calls without polls."""
    bad = Counter(range(5, 375, 10))
    listed = "|".join(map(str, bad))
    script = f"case $i in {listed}) [ -e failed.$i ] || {{ : > failed.$i; exit 1; }};; esac"
    finished = run_dag(array_dag("calls", work.command(script), array=400, retries=1, retry_delay=0))
    assert {"work": "success"} == finished.tasks
    assert Counter(range(400)) + bad == work.ran()
    requests = aws.requests()
    assert 2 == requests.pop("SubmitJob")
    assert 42 >= sum(requests.values()) - len(polls)
