"""The `spark:` block in the operator, with real Spark."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_batchemr.operators.emr import EphemeralEmrOperator
from tests.integration.emr_steps import alive

pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
pytestmark = pytest.mark.spark

CLUSTER = {"type": "m5.xlarge", "instances": 2, "log_uri": "s3://spark-logs/"}
TOTALS = b"""\
import sys

from pyspark.sql import SparkSession


def totals(frame):
    return frame.groupBy("shop").sum("amount")


spark = SparkSession.builder.getOrCreate()
orders = spark.read.csv(sys.argv[1], header=True, inferSchema=True)
totals(orders).write.mode("overwrite").parquet(sys.argv[2])
"""


@pytest.fixture
def code(aws):
    """A program and its input in S3."""
    s3 = aws.client("s3")
    for bucket in ("spark-logs", "code", "orders"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="code", Key="totals.py", Body=TOTALS)
    s3.put_object(Bucket="orders", Key="in/1.csv", Body=b"shop,amount\na,1\nb,2\na,3\n")
    return s3


def test_spark_step_runs_and_a_failure_names_the_line_of_the_program(aws, code, run_dag):
    """From CSV to Parquet; in a second run, a column is missing."""
    with DAG("spark_ok", schedule=None) as dag:
        spark = {"py": "s3://code/totals.py", "args": ["s3://orders/in/", "s3://orders/out/{{ ds }}/"]}
        EphemeralEmrOperator(task_id="totals", cluster=CLUSTER, steps=[{"spark": spark}])
    assert {"totals": "success"} == run_dag(dag).tasks
    written = [one["Key"] for one in code.list_objects_v2(Bucket="orders", Prefix="out/2026-11-20/")["Contents"]]
    assert any(key.endswith(".parquet") for key in written)
    code.put_object(Bucket="code", Key="totals.py", Body=TOTALS.replace(b'"shop"', b'"store"'))
    with DAG("spark_fails", schedule=None) as dag:
        EphemeralEmrOperator(task_id="totals", cluster=CLUSTER, steps=[{"spark": spark}])
    failed = run_dag(dag)
    assert {"totals": "failed"} == failed.tasks
    assert "AnalysisException: [UNRESOLVED_COLUMN" in failed.output
    assert "at totals.py:7 in totals" in failed.output
    assert [] == alive(aws, "spark_")
