"""A user's clear or mark stops the remote work, even while the task is deferred."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.aws import LocalAws
    from tests.e2e.conftest import Work


@pytest.mark.parametrize("dag", ["cleared", "cleared_at_once"])
def test_clearing_stops_the_running_job_and_keeps_finished_indices(
    airflow: Airflow, aws: LocalAws, work: Work, dag: str
) -> None:
    """The task is cleared when indices 0 and 2 are done and 1 and 3 run: only 1 and 3 run again, and succeed once.

    This holds whether the trigger is already running, or the task is cleared in the second before it starts.
    """
    work.hold(dag, dag, 1, 3)
    run = airflow.trigger(dag, "2026-11-02T00:00:00Z")
    airflow.wait_for_task(dag, run, dag, "deferred")
    airflow.wait(lambda: work.count("done", dag) == Counter([0, 2]), "indices 0 and 2")
    airflow.wait(lambda: work.count("started", dag) == Counter(range(4)), "indices 1 and 3")
    if dag == "cleared":
        airflow.wait(lambda: ".trigger." in airflow.log(dag, run, dag), "the trigger")
    (first,) = aws.jobs(dag)

    airflow.clear(dag, run, dag)
    airflow.wait(lambda: work.count("started", dag)[3] == 2, "the second start of index 3")
    airflow.wait(lambda: aws.job(first)["status"] == "FAILED", "the old job to be stopped")
    work.release(dag)
    assert airflow.wait_for_run(dag, run) == "success"
    assert Counter({0: 1, 1: 2, 2: 1, 3: 2}) == work.count("started", dag)
    assert Counter(range(4)) == work.count("done", dag)
    assert len(aws.jobs(dag)) == 2


def test_marking_failed_stops_the_running_job(airflow: Airflow, aws: LocalAws, work: Work) -> None:
    """The job of a deferred task is terminated when a user marks the task failed."""
    work.hold("marked", "marked", 0)
    run = airflow.trigger("marked", "2026-11-02T00:00:00Z")
    airflow.wait_for_task("marked", run, "marked", "deferred")
    airflow.wait(lambda: work.count("started", "marked") == Counter([0]), "the job's start")
    airflow.wait(lambda: ".trigger." in airflow.log("marked", run, "marked"), "the trigger")
    (job,) = aws.jobs("marked")

    airflow.mark("marked", run, "marked", "failed")
    airflow.wait(lambda: aws.job(job)["status"] == "FAILED", "the job to be stopped")
    work.release("marked")
    assert airflow.wait_for_run("marked", run) == "failed"
    assert Counter() == work.count("done", "marked")
    assert [job] == aws.jobs("marked")


def test_the_cluster_of_a_failed_job_is_terminated(airflow: Airflow, aws: LocalAws, work: Work) -> None:
    """A Batch job with its own EMR cluster fails: the cluster is terminated, and the next try starts another."""
    work.break_("beside_cluster", "beside_cluster", 0)
    run = airflow.trigger("beside_cluster", "2026-11-02T00:00:00Z")
    assert airflow.wait_for_run("beside_cluster", run) == "failed"
    airflow.wait(lambda: aws.cluster_states("beside_cluster") == ["TERMINATED"], "the end of the cluster")

    work.fix("beside_cluster")
    airflow.clear("beside_cluster", run, "beside_cluster")
    assert airflow.wait_for_run("beside_cluster", run) == "success"
    airflow.wait(lambda: aws.cluster_states("beside_cluster") == ["TERMINATED"] * 2, "the end of the second cluster")
    assert Counter([0]) == work.count("done", "beside_cluster")
