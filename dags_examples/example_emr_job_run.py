"""EmrJobRunOperator: a Spark application on EMR Serverless or EMR on EKS, without a cluster of EC2 instances."""

from airflow.sdk import DAG

from airflow_batchemr import EmrJobRunOperator

ROLE = "arn:aws:iam::123456789012:role/spark-runs"
SPARK = {"py": "s3://data/totals.py", "args": ["s3://data/totals/{{ ds }}"], "executor_memory": "4GiB"}

with DAG("example_emr_job_run", schedule=None):
    EmrJobRunOperator(
        task_id="serverless",
        spark=SPARK,
        on={"emr_serverless": {"application": "00f1abcdexample", "role": ROLE, "log_uri": "s3://data/logs"}},
        deadline="2h",
    )
    EmrJobRunOperator(
        task_id="eks",
        spark=SPARK,
        on={"emr_eks": {"virtual_cluster": "vc1example", "role": ROLE, "release": "emr-7.5.0-latest"}},
    )

# The XCom of `serverless`:
#
#     {"run_key": "2026-11-20T000000Z", "job": "serverless",
#      "ledger": "s3://data/_batchemr/example_emr_job_run/2026-11-20T000000Z/serverless/"}
