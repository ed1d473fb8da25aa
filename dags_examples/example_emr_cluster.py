"""EmrCreateClusterOperator and EmrTerminateClusterOperator: one cluster for several jobs of a run.

If all its jobs have already succeeded, no cluster is started. It is terminated even if they or the setup task fail.
`as_teardown` adds a task that lets a failed teardown fail the run, so that a cluster that was left running is noticed.
"""

from airflow.sdk import DAG

from airflow_batchemr import EmrCreateClusterOperator, EmrStepsOperator, EmrTerminateClusterOperator

with DAG("example_emr_cluster", schedule=None):
    create = EmrCreateClusterOperator(
        task_id="create_cluster",
        job="spark.cluster",  # the cluster's name in the ledger
        cluster={"type": "m5.xlarge", "instances": 3, "idle_timeout": "30m"},
        used_by=["load", "report"],
    ).as_setup()
    terminate = EmrTerminateClusterOperator(task_id="terminate_cluster", cluster="spark.cluster")
    load = EmrStepsOperator(
        task_id="load",
        cluster="spark.cluster",
        steps=["aws s3 cp s3://data/orders.csv s3://data/loaded/{{ ds }}.csv"],
    )
    report = EmrStepsOperator(
        task_id="report",
        cluster="spark.cluster",
        steps=["aws s3 cp s3://data/loaded/{{ ds }}.csv s3://data/report/{{ ds }}.csv"],
    )
    create >> load >> report >> terminate.as_teardown(setups=create)

# XComs of create_cluster, load and terminate_cluster:
#
#     {"cluster_id": "j-3H6EATEXAMPLE", "master": "ip-10-0-0-1.ec2.internal"}
#     {"run_key": "2026-11-20T000000Z", "job": "load", "cluster_id": "j-3H6EATEXAMPLE", "steps": 1, "submissions": 1,
#      "ledger": "s3://data/_batchemr/example_emr_cluster/2026-11-20T000000Z/load/"}
#     {"ended": ["j-3H6EATEXAMPLE"]}
