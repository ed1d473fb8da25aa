"""EmrStepsOperator: steps on an existing cluster. They run one after another."""

from airflow.sdk import DAG

from airflow_batchemr import EmrStepsOperator

with DAG("example_emr_steps", schedule=None):
    EmrStepsOperator(
        task_id="report",
        cluster_name="analytics",  # the newest active cluster with this name; or use cluster_id=
        steps=[
            {"name": "copy", "copy": {"source": "s3://data/orders", "destination": "hdfs:///orders"}},
            {"name": "count", "command": ["hadoop", "fs", "-count", "hdfs:///orders"]},
        ],
        resume_steps=False,  # the steps share data through HDFS, so a retry runs all of them
    )

# If there is no such cluster, the task fails without a retry:
#
#     cluster_name: no cluster named 'analytics' is alive in this region
