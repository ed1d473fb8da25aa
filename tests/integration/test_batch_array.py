"""A Batch array runs each index once. After a failure, only the failed indices run again."""

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
    """In arrays of any size and single jobs, each program sees its index."""
    finished = run_dag(array_dag(f"size_{size}", work.command("true"), array=size))
    assert {"work": "success"} == finished.tasks
    assert Counter(range(size)) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]


def test_a_successful_run_does_not_run_again(aws, run_dag, work, xcom):
    """With the marker, the task succeeds with its earlier XCom."""
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


def test_only_failed_indices_run_again(aws, run_dag, work):
    """After a clear, the failed indices run and see the same index as before."""
    dag = array_dag("resume", work.command("[ -e fixed ] || case $i in 3|17|21) exit 7;; esac"), array=23)
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert Counter(range(23)) == work.ran()
    (work.folder / "fixed").touch()
    fixed = run_dag(dag)
    assert {"work": "success"} == fixed.tasks
    assert Counter(range(23)) + Counter([3, 17, 21]) == work.ran()


def test_airflow_retries_run_the_failed_indices(aws, run_dag, work):
    """A retry in the same run does the rest."""
    dag = array_dag(
        "retry", work.command("[ $i != 2 ] || [ -e m ] || { touch m; exit 1; }"), array=4, retries=1, retry_delay=0
    )
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter({0: 1, 1: 1, 2: 2, 3: 1}) == work.ran()
