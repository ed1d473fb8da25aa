"""A job's own cluster never outlives its task, whether a user or a crash ends it, and there are never two of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.processes import kill, worker

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.aws import LocalAws
    from tests.e2e.conftest import Work

DATE = "2026-11-02T00:00:00Z"


def start_step(airflow: Airflow, work: Work, dag: str) -> str:
    """Trigger a Dag whose step waits, and wait until a trigger watches the step. Returns the run_id."""
    work.hold(dag, dag, 0)
    run = airflow.trigger(dag, DATE)
    airflow.wait(lambda: work.count("started", dag) == Counter([0]), "the step's start")
    airflow.wait_for_task(dag, run, dag, "deferred")
    airflow.wait(lambda: ".trigger." in airflow.log(dag, run, dag), "the trigger")
    return run


def test_marking_failed_terminates_the_cluster_and_its_step(airflow: Airflow, aws: LocalAws, work: Work) -> None:
    """The deferred task is marked failed while its step runs: the cluster is terminated, the step does not finish."""
    dag = "steps_marked"
    run = start_step(airflow, work, dag)
    airflow.mark(dag, run, dag, "failed")
    airflow.wait(lambda: aws.cluster_states(dag) == ["TERMINATED"], "the end of the cluster")
    work.release(dag)
    assert "failed" == airflow.wait_for_run(dag, run)
    assert Counter() == work.count("done", dag)


def test_clearing_terminates_the_cluster_and_the_next_try_starts_another(
    airflow: Airflow, aws: LocalAws, work: Work
) -> None:
    """The deferred task is cleared while its step runs: the step runs again on a new cluster, and succeeds once."""
    dag = "steps_cleared"
    run = start_step(airflow, work, dag)
    airflow.clear(dag, run, dag)
    airflow.wait(lambda: work.count("started", dag)[0] == 2, "the second start of the step")
    assert "TERMINATED" == aws.cluster_states(dag)[-1]
    work.release(dag)
    assert "success" == airflow.wait_for_run(dag, run)
    assert Counter([0]) == work.count("done", dag)
    airflow.wait(lambda: aws.cluster_states(dag) == ["TERMINATED"] * 2, "the end of the new cluster")


def test_a_worker_killed_right_after_run_job_flow_leaves_one_cluster(
    airflow: Airflow, aws: LocalAws, work: Work
) -> None:
    """The worker is killed before it receives the response to RunJobFlow: the retry finds the cluster by its name."""
    dag = "steps_worker_killed"
    work.hold(dag, dag, 0)
    aws.plan_fault("RunJobFlow", "slow")
    run = airflow.trigger(dag, DATE)
    airflow.wait(lambda: aws.cluster_states(dag), "the cluster", every=0.1)
    kill(worker(airflow, run, dag))
    airflow.wait_for_task(dag, run, dag, "deferred", try_number=2)
    work.release(dag)
    assert "success" == airflow.wait_for_run(dag, run)
    airflow.wait(lambda: aws.cluster_states(dag) == ["TERMINATED"], "the end of the only cluster")
    assert Counter([0]) == work.count("started", dag)
    assert Counter([0]) == work.count("done", dag)
