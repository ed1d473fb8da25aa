"""A Batch array runs once for each index, and after a failure what is left runs and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
from airflow.sdk import DAG

from airflow_batchemr.operators.batch import BatchArrayOperator


def array_dag(dag_id, command, /, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        arguments = {"queue": "default", "image": "busybox", "command": command} | arguments
        BatchArrayOperator(task_id="work", **arguments)
    return dag


@pytest.mark.parametrize("size", [1, 2, 23])
def test_each_index_runs_once(aws, run_dag, work, size):
    """An array of any size, a single job among them, shows each program its index."""
    finished = run_dag(array_dag(f"size_{size}", work.command("true"), array=size))
    assert {"work": "success"} == finished.tasks
    assert Counter(range(size)) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]


def test_a_run_that_succeeded_is_not_run_again(aws, run_dag, work, xcom):
    """The marker ends the task in success, with the XCom that it had."""
    dag = array_dag("again", work.command("true"), array=3)
    first = run_dag(dag)
    first_xcom = xcom(first, "again", "work")
    aws.reset_requests()
    second = run_dag(dag)
    assert "success" == second.state
    assert first_xcom == xcom(second, "again", "work")
    assert 3 == first_xcom["size"]
    assert Counter(range(3)) == work.ran()
    assert 0 == aws.requests()["SubmitJob"]


def test_after_a_failure_only_what_failed_runs_again(aws, run_dag, work):
    """Clearing the task runs the failed indices, which still see their own numbers."""
    dag = array_dag("resume", work.command("[ -e fixed ] || case $i in 3|17|21) exit 7;; esac"), array=23)
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert Counter(range(23)) == work.ran()
    (work.folder / "fixed").touch()
    fixed = run_dag(dag)
    assert {"work": "success"} == fixed.tasks
    assert Counter(range(23)) + Counter([3, 17, 21]) == work.ran()


def test_airflow_retries_run_what_is_left(aws, run_dag, work):
    """A retry within the run does the rest, too."""
    dag = array_dag(
        "retry", work.command("[ $i != 2 ] || [ -e m ] || { touch m; exit 1; }"), array=4, retries=1, retry_delay=0
    )
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter({0: 1, 1: 1, 2: 2, 3: 1}) == work.ran()
