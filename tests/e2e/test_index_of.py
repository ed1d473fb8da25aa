"""Two arrays with index dependencies: AWS starts an index of the second when that of the first has succeeded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.aws import LocalAws
    from tests.e2e.conftest import Work

DAG, ONE, TWO = "joined", "first", "second"


def test_a_failed_index_blocks_only_its_successor(airflow: Airflow, aws: LocalAws, work: Work) -> None:
    """Index 2 of the first array fails, so index 2 of the second does not run. After clearing, only these two run."""
    work.hold(DAG, ONE, 1, 2)
    work.break_(DAG, ONE, 2)
    run = airflow.trigger(DAG, "2026-11-02T00:00:00Z")
    airflow.wait(lambda: work.count("done", DAG, TWO) == Counter([0, 3]), "the second's free indices")
    assert Counter(range(4)) == work.count("started", DAG, ONE)
    airflow.wait(lambda: states(airflow, run) == {ONE: "deferred", TWO: "deferred"}, "both to wait")

    work.release(DAG)
    assert "failed" == airflow.wait_for_run(DAG, run)
    assert {ONE: "failed", TWO: "failed"} == states(airflow, run)
    assert "cannot read shard 2: it is broken" in airflow.log(DAG, run, ONE)
    assert "first, which this job follows index by index, is failed: clear both" in airflow.log(DAG, run, TWO)
    assert Counter([0, 1, 3]) == work.count("started", DAG, TWO)

    work.fix(DAG)
    airflow.clear(DAG, run, ONE, TWO)
    assert "success" == airflow.wait_for_run(DAG, run)
    assert Counter({0: 1, 1: 1, 2: 2, 3: 1}) == work.count("started", DAG, ONE)
    assert Counter(range(4)) == work.count("done", DAG, ONE)
    assert Counter(range(4)) == work.count("started", DAG, TWO)
    assert Counter(range(4)) == work.count("done", DAG, TWO)
    assert 4 == len(aws.jobs(DAG))


def states(airflow: Airflow, run: str) -> dict[str, str]:
    """Return the states of both tasks."""
    return {name: task["state"] for name, task in airflow.tasks(DAG, run).items()}
