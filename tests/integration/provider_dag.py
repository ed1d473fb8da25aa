"""A Dag of the amazon provider's operators and sensors for Batch and EMR, all at their defaults except for short waits.

As a program, it runs the Dag with deferrable tasks and prints their states as the last line. The triggers need
aiobotocore, which requires another botocore than the one that is locked. So the program runs with the packages of
`.venv/clients` before those of the environment.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

from airflow.providers.amazon.aws.operators.batch import BatchCreateComputeEnvironmentOperator, BatchOperator
from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrContainerOperator,
    EmrCreateJobFlowOperator,
    EmrEksCreateClusterOperator,
    EmrModifyClusterOperator,
    EmrServerlessCreateApplicationOperator,
    EmrServerlessDeleteApplicationOperator,
    EmrServerlessStartJobOperator,
    EmrServerlessStopApplicationOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.sensors.batch import BatchComputeEnvironmentSensor, BatchJobQueueSensor, BatchSensor
from airflow.providers.amazon.aws.sensors.emr import (
    EmrContainerSensor,
    EmrJobFlowSensor,
    EmrServerlessApplicationSensor,
    EmrServerlessJobSensor,
    EmrStepSensor,
)
from airflow.providers.amazon.aws.utils.waiter import WaitPolicy
from airflow.sdk import DAG, chain

ROLE = "arn:aws:iam::123456789012:role/runs"
CLUSTER = {
    "Name": "provider", "ReleaseLabel": "emr-7.5.0", "LogUri": "s3://logs/emr/", "Applications": [{"Name": "Spark"}],
    "ServiceRole": "EMR_DefaultRole", "JobFlowRole": "EMR_EC2_DefaultRole",
    "Instances": {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
}  # fmt: skip
RESOURCES = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-0a"], "securityGroupIds": ["sg-0a"]}


def step(name, *command):
    jar = {"Jar": "command-runner.jar", "Args": list(command)}
    return {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}


def provider_dag(folder, *, deferrable):
    """Return the Dag. Its tasks wait in the worker, or with triggers if `deferrable`.

    Its commands create files in `folder`; job runs execute the script `run.sh` there.
    """
    with DAG(f"provider_{'deferred' if deferrable else 'plain'}", schedule=None) as dag:
        add_operators(folder, deferrable=deferrable)
        add_more(dag, folder, deferrable=deferrable)
    return dag


def batch(folder, name, **options):
    command = ["sh", "-c", f"touch {folder}/{name}$AWS_BATCH_JOB_ARRAY_INDEX; echo done"]
    return BatchOperator(
        task_id=name, job_name=name, job_definition="sh", job_queue="default", poll_interval=1,
        container_overrides={"command": command}, **options,
    )  # fmt: skip


def add_operators(folder, **mode):
    runs = {"waiter_delay": 1, "waiter_max_attempts": 600, **mode}
    BatchCreateComputeEnvironmentOperator(
        task_id="environment", compute_environment_name=f"provider-{mode['deferrable']}", environment_type="MANAGED",
        state="ENABLED", compute_resources=RESOURCES, poll_interval=1, **mode,
    )  # fmt: skip
    logs = {"awslogs_enabled": not mode["deferrable"], "awslogs_fetch_interval": timedelta(seconds=1)}
    batch(folder, "job", **logs, **mode)
    batch(folder, "array", array_properties={"size": 3}, **mode)
    cluster = EmrCreateJobFlowOperator(
        task_id="cluster", job_flow_overrides=CLUSTER, wait_for_completion=True, waiter_delay=1, **mode
    )
    steps = EmrAddStepsOperator(
        task_id="steps", job_flow_id=cluster.output, wait_for_completion=True, waiter_delay=1,
        steps=[step("one", "touch", f"{folder}/one"), step("two", "touch", f"{folder}/two")], **mode,
    )  # fmt: skip
    terminate = EmrTerminateJobFlowOperator(task_id="terminate", job_flow_id=cluster.output, waiter_delay=1, **mode)
    chain(cluster, steps, terminate)
    application = EmrServerlessCreateApplicationOperator(
        task_id="application", release_label="emr-7.5.0", job_type="SPARK", **runs
    )
    run = EmrServerlessStartJobOperator(
        task_id="run", application_id=application.output, execution_role_arn=ROLE,
        job_driver={"sparkSubmit": {"entryPoint": f"{folder}/run.sh", "entryPointArguments": ["serverless"]}}, **runs,
    )  # fmt: skip
    delete = EmrServerlessDeleteApplicationOperator(task_id="delete", application_id=application.output, **runs)
    chain(application, run, delete)
    eks = EmrEksCreateClusterOperator(
        task_id="eks", virtual_cluster_name="provider", eks_cluster_name="eks", eks_namespace="provider"
    )
    EmrContainerOperator(
        task_id="container", name="run", virtual_cluster_id=eks.output, execution_role_arn=ROLE,
        release_label="emr-7.5.0-latest", poll_interval=1,
        job_driver={"sparkSubmitJobDriver": {"entryPoint": f"{folder}/run.sh", "entryPointArguments": ["eks"]}}, **mode,
    )  # fmt: skip


def add_more(dag, folder, **mode):
    task = dag.get_task
    fast = {"poke_interval": 0.1}
    sensor = {**fast, **mode}
    task("environment") >> BatchComputeEnvironmentSensor(
        task_id="environment_sensor", compute_environment=f"provider-{mode['deferrable']}", **fast
    )
    BatchJobQueueSensor(task_id="queue_sensor", job_queue="default", **fast)
    job = batch(folder, "submitted", wait_for_completion=False)
    BatchSensor(task_id="job_sensor", job_id=job.output, **sensor)
    cluster = task("cluster").output
    chain(
        task("steps"),
        EmrModifyClusterOperator(task_id="modify", cluster_id=cluster, step_concurrency_level=2),
        EmrStepSensor(task_id="step_sensor", job_flow_id=cluster, step_id="{{ ti.xcom_pull('steps')[0] }}", **sensor),
        EmrJobFlowSensor(task_id="cluster_sensor", job_flow_id=cluster, target_states=["WAITING"], **sensor),
        task("terminate"),
    )
    instances = {**CLUSTER["Instances"], "KeepJobFlowAliveWhenNoSteps": False}
    EmrCreateJobFlowOperator(
        task_id="cluster_with_steps", wait_policy=WaitPolicy.WAIT_FOR_STEPS_COMPLETION, waiter_delay=1,
        job_flow_overrides={**CLUSTER, "Instances": instances, "Steps": [step("x", "touch", f"{folder}/x")]},
        **mode,
    )  # fmt: skip
    application, run = task("application").output, task("run").output
    chain(
        task("run"),
        EmrServerlessApplicationSensor(task_id="application_sensor", application_id=application, **fast),
        EmrServerlessJobSensor(task_id="run_sensor", application_id=application, job_run_id=run, **sensor),
        EmrServerlessStopApplicationOperator(
            task_id="stop", application_id=application, waiter_delay=1, waiter_max_attempts=600, **mode
        ),
        task("delete"),
    )
    EmrContainerSensor(
        task_id="container_sensor", virtual_cluster_id=task("eks").output, job_id=task("container").output,
        poll_interval=1, **mode,
    )  # fmt: skip


def main(folder):
    import pendulum
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    dag = provider_dag(Path(folder), deferrable=True)
    dag.fileloc, dag.relative_fileloc = __file__, "t.py"
    bag = DagBag(collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    run = dag.test(logical_date=pendulum.datetime(2026, 11, 20))
    print(json.dumps({ti.task_id: str(ti.state) for ti in run.get_task_instances()}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
