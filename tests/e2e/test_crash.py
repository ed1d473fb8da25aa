"""After a crash, the task re-attaches: nothing is submitted twice, and running work is not stopped."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.processes import kill, triggerer_of, triggerers, worker

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.aws import LocalAws
    from tests.e2e.conftest import Work


def test_a_worker_killed_right_after_the_submit_submits_nothing_twice(
    airflow: Airflow, aws: LocalAws, work: Work
) -> None:
    """The worker is killed before it receives the response to SubmitJob: the retry finds the job and waits for it."""
    work.hold("worker_killed", "worker_killed", 0)
    before = aws.requests()["SubmitJob"]
    aws.plan_fault("SubmitJob", "slow")
    run = airflow.trigger("worker_killed", "2026-11-02T00:00:00Z")
    airflow.wait(lambda: aws.jobs("worker_killed"), "the submission", every=0.1)
    kill(worker(airflow, run, "worker_killed"))
    assert aws.requests()["SubmitJob"] - before == 1

    airflow.wait_for_task("worker_killed", run, "worker_killed", "deferred", try_number=2)
    work.release("worker_killed")
    assert airflow.wait_for_run("worker_killed", run) == "success"
    assert Counter([0]) == work.count("started", "worker_killed")
    assert Counter([0]) == work.count("done", "worker_killed")
    assert len(aws.jobs("worker_killed")) == 1


def test_another_triggerer_takes_over_and_the_job_continues(airflow: Airflow, aws: LocalAws, work: Work) -> None:
    """A hanging triggerer loses its triggers to another, recovers, cancels them and dies: the job is not stopped."""
    dag = "handed_over"
    work.hold(dag, dag, *range(3))
    run = airflow.trigger(dag, "2026-11-02T00:00:00Z")
    airflow.wait(lambda: work.count("started", dag) == Counter(range(3)), "the job's start")
    airflow.wait(lambda: triggerer_of(airflow, run, dag), "a triggerer to have the wait")
    first, processes = triggerer_of(airflow, run, dag), triggerers(airflow)
    airflow.program("triggerer")  # used by all later tests

    for process in processes:
        process.suspend()
    airflow.wait(lambda: triggerer_of(airflow, run, dag) not in {None, first}, "the take-over")
    for process in processes:
        process.resume()
    airflow.wait(lambda: "invoking on_kill" in airflow.log(dag, run, dag), "the old trigger's on_kill")
    kill(processes)
    work.release(dag)
    assert airflow.wait_for_run(dag, run) == "success"
    assert Counter(range(3)) == work.count("started", dag)
    assert Counter(range(3)) == work.count("done", dag)
    assert len(aws.jobs(dag)) == 1
