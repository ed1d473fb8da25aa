"""A failed run resumes where it failed after it is cleared."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.aws import LocalAws
    from tests.e2e.conftest import Work


def test_a_cleared_task_runs_only_the_failed_index(airflow: Airflow, work: Work) -> None:
    """One of 5 indices fails. After fixing it and clearing the task, it runs again, and then the downstream task."""
    work.break_("resumed", "shards", 2)
    run = airflow.trigger("resumed", "2026-11-02T00:00:00Z")
    assert airflow.wait_for_run("resumed", run) == "failed"
    assert airflow.tasks("resumed", run)["after"]["state"] == "upstream_failed"
    log = airflow.log("resumed", run, "shards")
    assert "1 of 5" in log
    assert "cannot read shard 2: it is broken" in log

    work.fix("resumed")
    airflow.clear("resumed", run, "shards")
    assert airflow.wait_for_run("resumed", run) == "success"
    assert Counter({0: 1, 1: 1, 2: 2, 3: 1, 4: 1}) == work.count("started", "resumed", "shards")
    assert Counter(range(5)) == work.count("done", "resumed", "shards")
    assert Counter([0]) == work.count("done", "resumed", "after")


def test_clearing_a_successful_run_submits_nothing(airflow: Airflow, aws: LocalAws, work: Work) -> None:
    """Its tasks only check their markers."""
    run = airflow.trigger("repeated", "2026-11-03T00:00:00Z")
    assert airflow.wait_for_run("repeated", run) == "success"
    submitted, done = aws.requests()["SubmitJob"], work.count("done", "repeated", "shards")

    airflow.clear("repeated", run, "shards", "after")
    assert airflow.wait_for_run("repeated", run) == "success"
    assert {name: task["try_number"] for name, task in airflow.tasks("repeated", run).items()} == {
        "shards": 2,
        "after": 2,
    }
    assert submitted == aws.requests()["SubmitJob"]
    assert done == work.count("done", "repeated", "shards")


def test_the_second_of_two_backfills_submits_nothing(airflow: Airflow, aws: LocalAws, work: Work) -> None:
    """`airflow backfill create` for three dates runs each job once per date; repeating it finds all markers."""
    dates = ("--from-date", "2026-11-03", "--to-date", "2026-11-05")
    before = aws.requests()["SubmitJob"]
    airflow.backfill("backfilled", *dates)
    assert Counter({0: 3, 1: 3}) == work.count("done", "backfilled", "shards")
    assert aws.requests()["SubmitJob"] - before == 6

    airflow.backfill("backfilled", *dates, "--reprocess-behavior", "completed")
    assert {"success"} == {run["state"] for run in airflow.runs("backfilled")}
    assert {2} == {
        task["try_number"]
        for run in airflow.runs("backfilled")
        for task in airflow.tasks("backfilled", run["dag_run_id"]).values()
    }
    assert Counter({0: 3, 1: 3}) == work.count("started", "backfilled", "shards")
    assert Counter({0: 3}) == work.count("started", "backfilled", "after")
    assert aws.requests()["SubmitJob"] - before == 6
