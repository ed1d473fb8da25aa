"""EphemeralEmrOperator: steps on an EMR cluster that exists for this job. It is terminated even if the job fails."""

from airflow.sdk import DAG

from airflow_batchemr import EphemeralEmrOperator

with DAG("example_ephemeral_emr", schedule=None):
    EphemeralEmrOperator(
        task_id="totals",
        cluster={"type": "m5.xlarge", "instances": 3, "log_uri": "s3://data/logs/"},
        steps=[
            "aws s3 cp s3://data/orders.csv s3://data/totals/{{ ds }}/in.csv",  # a command: no shell runs
            {"spark": {"py": "s3://data/totals.py", "args": ["s3://data/totals/{{ ds }}"], "executor_memory": "4GiB"}},
        ],
        deadline="2h",
    )

# The task's XCom:
#
#     {"run_key": "2026-11-20T000000Z", "job": "totals", "cluster_id": "j-3H6EATEXAMPLE", "steps": 2, "submissions": 1,
#      "ledger": "s3://data/_batchemr/example_ephemeral_emr/2026-11-20T000000Z/totals/"}
