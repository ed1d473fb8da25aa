"""EmrStepsOperator: steps on a cluster that somebody else has started; they are added one after another."""

from airflow.sdk import DAG

from airflow_batchemr import EmrStepsOperator

with DAG("example_emr_steps", schedule=None):
    EmrStepsOperator(
        task_id="report",
        cluster_name="analytics",  # the newest cluster of this name that is alive; or cluster_id=
        steps=[
            {"name": "copy", "copy": {"source": "s3://data/orders", "destination": "hdfs:///orders"}},
            {"name": "count", "command": ["hadoop", "fs", "-count", "hdfs:///orders"]},
        ],
        resume_steps=False,  # the steps hand data on through HDFS: a retry runs all of them
    )

# If no such cluster is alive, the task fails without a retry:
#
#     cluster_name: no cluster named 'analytics' is alive in this region
