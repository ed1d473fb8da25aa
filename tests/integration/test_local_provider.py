"""The unmodified operators and hooks of the amazon provider, against the local AWS."""

from __future__ import annotations

import pytest


@pytest.fixture
def connection(local_aws, monkeypatch):
    """The default AWS connection, with endpoint and credentials from the environment."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    return local_aws


def test_the_batch_operator_runs_an_array(connection, tmp_path):
    """BatchOperator with array_properties submits the array, waits and succeeds; each index has run."""
    from airflow.providers.amazon.aws.operators.batch import BatchOperator

    requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}]
    connection.client("batch").register_job_definition(
        jobDefinitionName="sh", type="container",
        containerProperties={"image": "busybox", "resourceRequirements": requirements},
    )  # fmt: skip
    batch = BatchOperator(
        task_id="batch", job_name="array", job_definition="sh", job_queue="default", array_properties={"size": 3},
        container_overrides={"command": ["sh", "-c", f"touch {tmp_path}/$AWS_BATCH_JOB_ARRAY_INDEX"]},
        poll_interval=1, awslogs_enabled=False,
    )  # fmt: skip
    batch.submit_job({"ti": None})
    batch.hook.wait_for_job(batch.job_id, delay=0.1)
    batch.hook.check_job_success(batch.job_id)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_the_emr_operators_create_use_and_terminate_a_cluster(connection):
    """The waiters of the hooks reach their states."""
    from airflow.providers.amazon.aws.hooks.emr import EmrHook

    hook = EmrHook()
    cluster = hook.create_job_flow(
        {
            "Name": "provider", "ReleaseLabel": "emr-7.5.0", "JobFlowRole": "p", "ServiceRole": "r",
            "Instances": {
                "MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True,
            },
        }
    )["JobFlowId"]  # fmt: skip
    jar = {"Jar": "command-runner.jar", "Args": ["true"]}
    fast = {"Delay": 0.1, "MaxAttempts": 100}
    hook.get_waiter("job_flow_waiting").wait(ClusterId=cluster, WaiterConfig=fast)
    ids = hook.add_job_flow_steps(
        cluster, steps=[{"Name": "x", "HadoopJarStep": jar}], wait_for_completion=True, waiter_delay=1
    )
    assert hook.conn.describe_step(ClusterId=cluster, StepId=ids[0])["Step"]["Status"]["State"] == "COMPLETED"
    assert hook.get_cluster_id_by_name("provider", ["WAITING", "RUNNING"]) == cluster
    hook.conn.terminate_job_flows(JobFlowIds=[cluster])
    hook.get_waiter("job_flow_terminated").wait(ClusterId=cluster, WaiterConfig=fast)
