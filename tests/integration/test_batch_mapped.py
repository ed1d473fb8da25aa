"""`BatchArrayOperator.partial(...).expand(...)`: each map index is a job of its own in the ledger."""

from __future__ import annotations

from collections import Counter

from airflow.sdk import DAG

from airflow_batchemr.operators.batch import BatchArrayOperator


def mapped_dag(dag_id, work, script="true", **arguments):
    with DAG(dag_id, schedule=None) as dag:
        BatchArrayOperator.partial(task_id="work", job_queue="default", image="busybox", **arguments).expand(
            command=[work.command(f"who={who}; echo $who >> who.txt; {script}") for who in ("a", "b", "c")]
        )
    return dag


def names(work):
    return Counter((work.folder / "who.txt").read_text().split())


def test_each_map_index_runs_its_own_job(aws, run_dag, work):
    """Three jobs with ledger names of their own, each done once, whatever the run."""
    dag = mapped_dag("mapped", work, array=2)
    finished = run_dag(dag)
    assert {f"work.{index}": "success" for index in range(3)} == finished.tasks
    assert Counter({"a": 2, "b": 2, "c": 2}) == names(work)
    listed = aws.client("s3").list_objects_v2(Bucket="state", Prefix=f"{work.folder.parent.name}/mapped/")["Contents"]
    jobs = {one["Key"].split("/")[3] for one in listed} - {"_files"}
    assert {"work.0", "work.1", "work.2"} == jobs
    aws.reset_requests()
    assert {f"work.{index}": "success" for index in range(3)} == run_dag(dag).tasks
    assert 0 == aws.requests()["SubmitJob"]


def test_one_map_index_that_failed_runs_again_alone(aws, run_dag, work):
    """The others' markers stand."""
    dag = mapped_dag("mapped_once", work, "[ $who != b ] || [ -e mended ]")
    failed = run_dag(dag)
    assert {"work.0": "success", "work.1": "failed", "work.2": "success"} == failed.tasks
    (work.folder / "mended").touch()
    assert {f"work.{index}": "success" for index in range(3)} == run_dag(dag).tasks
    assert Counter({"a": 1, "b": 2, "c": 1}) == names(work)
