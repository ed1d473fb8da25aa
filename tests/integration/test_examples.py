"""The Python examples load, run on the local AWS, and have the results in their comments."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from airflow.sdk.bases.operator import BaseOperator

import airflow_batchemr

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
FILES = sorted(EXAMPLES.glob("example_*.py"))
TOTALS = b"""\
import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
orders = spark.read.csv(sys.argv[1] + "/in.csv", header=True, inferSchema=True)
orders.groupBy("shop").sum("amount").write.parquet(sys.argv[1] + "/out")
"""


def load(name):
    """The Dag of an example, and the XComs and messages in its comments."""
    path = EXAMPLES / f"example_{name}.py"
    (dag,) = dags_of(path)
    shown = "\n".join(line[6:] for line in path.read_text().split("\n") if line.startswith("#     "))
    return dag, shown


def dags_of(path):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(path, bundle_path=EXAMPLES)
    assert bag.import_errors == {}
    return list(bag.dags.values())


@pytest.fixture
def account(aws, monkeypatch):
    """The queue and the data that the examples use."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://data/_batchemr")
    batch, s3 = aws.client("batch"), aws.client("s3")
    environments = batch.describe_job_queues(jobQueues=["default"])["jobQueues"][0]["computeEnvironmentOrder"]
    batch.create_job_queue(jobQueueName="data", priority=1, computeEnvironmentOrder=environments)
    s3.create_bucket(Bucket="data")
    for number in range(4):
        s3.put_object(Bucket="data", Key=f"shards/{number}.csv", Body=b"b\na\n")
    s3.put_object(Bucket="data", Key="orders.csv", Body=b"shop,amount\na,1\nb,2\na,3\n")
    s3.put_object(Bucket="data", Key="totals.py", Body=TOTALS)
    return s3


def same(shown, value):
    """Whether a comment contains an XCom, except for ids from AWS."""
    text = re.sub(r"j-[A-Z0-9]+", "j-3H6EATEXAMPLE", value if isinstance(value, str) else json.dumps(value))
    return "".join(text.split()) in "".join(shown.split())


def test_there_is_an_example_of_every_operator():
    """The imports of the examples cover all operators."""
    used = {
        alias.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "airflow_batchemr"
        for alias in node.names
    }
    exported = {name for name in airflow_batchemr.__all__ if isinstance(getattr(airflow_batchemr, name), type)}
    operators = {name for name in exported if issubclass(getattr(airflow_batchemr, name), BaseOperator)}
    assert operators == used


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_loads_without_an_error(airflow_db, path):
    """It contains one Dag with the name of the file."""
    assert [path.stem] == [dag.dag_id for dag in dags_of(path)]


def test_the_batch_examples_have_the_documented_results(account, run_dag, xcom):
    """The sensor finds the marker of the array."""
    for name, tasks in (("batch_array", ["sort"]), ("marker_sensor", ["wait"]), ("mapped_tasks", ["bill"])):
        dag, shown = load(name)
        finished = run_dag(dag)
        assert {"success"} == set(finished.tasks.values())
        for task in tasks:
            value = xcom(finished, dag.dag_id, task, map_index=0 if name == "mapped_tasks" else -1)
            assert same(shown, value), value
    assert b"a\nb\n" == account.get_object(Bucket="data", Key="sorted/2026-11-20/3.csv")["Body"].read()


def test_the_example_of_a_shared_cluster_has_the_documented_results(account, run_dag, xcom):
    """The cluster is terminated."""
    dag, shown = load("emr_cluster")
    finished = run_dag(dag)
    assert {"success"} == set(finished.tasks.values())
    for task in ("load", "terminate_cluster"):
        assert same(shown, value := xcom(finished, dag.dag_id, task)), value
    assert account.get_object(Bucket="data", Key="report/2026-11-20.csv")["Body"].read()


def test_the_example_of_an_existing_cluster_reports_the_missing_cluster(account, run_dag):
    """Nothing is started."""
    dag, shown = load("emr_steps")
    finished = run_dag(dag)
    assert {"report": "failed"} == finished.tasks
    assert shown.strip() in finished.output


@pytest.mark.spark
def test_the_example_of_an_ephemeral_cluster_has_the_documented_results(account, run_dag, xcom):
    """With real Spark."""
    pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
    dag, shown = load("ephemeral_emr")
    finished = run_dag(dag)
    assert {"totals": "success"} == finished.tasks
    assert same(shown, value := xcom(finished, dag.dag_id, "totals")), value
