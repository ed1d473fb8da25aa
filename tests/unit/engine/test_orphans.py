"""Verdicts about work on AWS that need neither AWS nor a real ledger."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.orphans import IDLE_LIMIT, Verdict, judge, judge_idle
from airflow_batchemr.ledger import Handle, HandleJob, Intent, LedgerState, Submission

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
OPEN = Verdict("in use", "submission 1 is open")


def state(handle=None):
    """A job with one open submission."""
    one = IndexSet.of([0])
    intent = Intent(
        kind="batch", name="n", requests=[], indices=one, rerun_token=None, dag_id="d", run_key="k", job="j"
    )  # fmt: skip
    return LedgerState([1], [Submission(1, NOW, intent=intent, handle=handle)], None, None, 0, NOW)


def handle(job_id):
    return Handle(kind="batch", jobs=[HandleJob(job_id=job_id, name="n", indices=IndexSet.of([0]))])


def test_of_two_jobs_with_one_name_the_recorded_one_is_in_use():
    """The other one is orphaned. Without a record, either may be the one that counts."""
    assert judge(state(handle("a")), 1, "a", twins=["b"]) == OPEN
    assert judge(state(handle("a")), 1, "b", twins=["a"]) == Verdict("orphaned", "it is a duplicate of a")
    assert judge(state(handle("a")), 1, "b").reason == "submission 1 continued without it"
    assert {judge(state(), 1, one, twins=[other]).finding for one, other in ("ab", "ba")} == {"duplicate"}


@pytest.mark.parametrize(
    ("idle", "finding"), [(None, "in use"), (IDLE_LIMIT - 1, "in use"), (IDLE_LIMIT, "probably orphaned")]
)
def test_a_cluster_that_is_idle_for_the_limit_is_probably_orphaned(idle, finding):
    """Between two jobs, Airflow needs some time."""
    assert judge_idle(OPEN, idle).finding == finding


def test_only_a_cluster_in_use_is_reconsidered():
    """A cluster that is kept alive is idle on purpose."""
    kept = Verdict("kept alive", "on purpose")
    assert judge_idle(kept, 2 * IDLE_LIMIT) is kept
