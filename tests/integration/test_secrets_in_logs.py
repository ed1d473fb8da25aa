"""Secret values of a job and its connection are masked in the lines that the triggerer writes."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging

from airflow.sdk import DAG

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.poll import Sight
from airflow_batchemr.aws.emr.steps import Step
from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import EphemeralEmrOperator
from airflow_batchemr.operators.emr_job_run import EmrJobRunOperator
from airflow_batchemr.triggers import emr_live
from tests.integration.emr_steps import CLUSTER
from tests.integration.task_engine import Task

SECRET = "hunter2-and-more"


def test_secrets_of_a_batch_job_are_masked_in_its_live_log(aws, run_dag, work):
    """Which the triggerer writes, a process that has not read them. Values of `secrets:` are known only to AWS."""
    with DAG("live_secrets", schedule=None) as dag:
        script = 'for n in 1 2 3; do echo "line $n with $DB_PASSWORD and $PLAIN"; sleep 1; done; exit 4'
        BatchArrayOperator(
            task_id="work",
            queue="default",
            image="busybox",
            command=["sh", "-c", script],
            env={"DB_PASSWORD": SECRET, "PLAIN": "plain-value", "USE_TOKEN": "false"},
        )
    finished = run_dag(dag)
    assert "| line 1 with *** and plain-value" in finished.output
    assert "line 3 with *** and plain-value" in finished.output.partition("Task failed with exception")[2]
    assert SECRET not in "".join(line for line in finished.output.splitlines() if "line " in line)


def test_secrets_of_a_failed_index_are_masked_in_its_live_log(aws, run_dag, work):
    """The last lines of the first index that fails."""
    with DAG("live_secrets_of_index", schedule=None) as dag:
        command = work.command('if [ $i = 1 ]; then echo "bad $API_TOKEN" >&2; exit 3; fi; sleep 4')
        BatchArrayOperator(
            task_id="work", queue="default", image="b", command=command, array=2, env={"API_TOKEN": SECRET}
        )
    finished = run_dag(dag)
    assert "| bad ***" in finished.output
    assert f"bad {SECRET}" not in finished.output


def test_secrets_of_a_step_are_masked_in_its_live_log(aws, state):
    """They are in the request, which is read before the first line is shown."""

    def make():
        arguments = ["sh", "-c", "sleep 60", f"DB_PASSWORD={SECRET}", "--conf", "spark.api.token=4711-0815"]
        with DAG("dag", schedule=None):
            return EphemeralEmrOperator(task_id="work", cluster=CLUSTER, steps=[{"name": "s", "command": arguments}])

    trigger = Task(make).begin()
    assert {SECRET, "4711-0815"} <= trigger.secrets()
    shown = []
    log = logging.getLogger("shown secrets")
    log.addHandler(lines := logging.Handler())
    lines.emit = lambda record: shown.append(record.getMessage())
    aws.client("s3").create_bucket(Bucket="logs")
    written = gzip.compress(f"using {SECRET}\nand 4711-0815\n".encode())
    aws.client("s3").put_object(Bucket="logs", Key="emr/j-1/steps/s-2/stdout.gz", Body=written)

    async def rest():
        live = emr_live.LiveSteps(
            boto3_clients(), (None, "masked"), log_uri="s3://logs/emr", cluster_id="j-1", streams={}, log=log,
            secrets=trigger.secrets,
        )  # fmt: skip
        steps = {"s-2": Step("s-2", "s3", "COMPLETED")}
        live._tails["s-2"] = emr_live.StepTail(boto3_clients(), "s3://logs/emr", "j-1", "s-2")
        await live.rest(Sight(Cluster("j-1", "x", "RUNNING"), steps))

    asyncio.run(rest())
    log.removeHandler(lines)
    assert ["| using ***", "| and ***"] == shown


def test_secrets_in_the_extra_of_a_connection_are_masked(aws, monkeypatch):
    """Airflow masks only the whole text of the extra."""
    from airflow.sdk.log import redact

    from airflow_batchemr.connections import connection_clients

    extra = {"config_kwargs": {"proxies_config": {"proxy_password": "of-the-proxy"}}, "region_name": "eu-west-1"}
    monkeypatch.setenv("AIRFLOW_CONN_MASKED", json.dumps({"conn_type": "aws", "extra": extra}))
    assert connection_clients("masked", None).region == "eu-west-1"
    assert redact("the password of-the-proxy in eu-west-1") == "the password *** in eu-west-1"


def test_secrets_of_a_job_definition_are_masked_in_log_and_report(aws, run_dag):
    """They are not in the request, but in AWS's description of the job."""
    aws.client("batch").register_job_definition(
        jobDefinitionName="theirs",
        type="container",
        containerProperties={
            "image": "busybox",
            "command": ["sh", "-c", 'for n in 1 2; do echo "line $n with $API_TOKEN"; sleep 1; done; exit 4'],
            "environment": [{"name": "API_TOKEN", "value": SECRET}],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        },
    )
    with DAG("definition_secrets", schedule=None) as dag:
        BatchArrayOperator(task_id="work", queue="default", definition="theirs")
    output = run_dag(dag).output
    assert "| line 1 with ***" in output
    assert "line 2 with ***" in output.partition("Task failed with exception")[2]
    assert SECRET not in output


def test_secrets_are_masked_in_the_reason_of_a_job_run(program_aws):
    """EMR Serverless quotes the log of the driver in it. Without the ledger, the reason is not shown."""
    program_aws.client("s3").create_bucket(Bucket="state")
    program_aws.client("s3").create_bucket(Bucket="code")
    program_aws.client("s3").put_object(Bucket="code", Key="program.sh", Body=b"sleep 60")
    role = "arn:aws:iam::123456789012:role/runs"

    def make():
        spark = {"py": "s3://code/program.sh", "conf": {"spark.jdbc.password": SECRET}, "executor_memory": "1GiB"}
        with DAG("dag", schedule=None):
            return EmrJobRunOperator(
                task_id="work",
                spark=spark,
                on={"emr_serverless": {"application": "default", "role": role}},
                state="s3://state/runs",
            )

    trigger = Task(make).begin()
    assert trigger._masked(f"Last few exceptions: no login with {SECRET}") == "Last few exceptions: no login with ***"
    program_aws.reset()
    assert SECRET not in trigger._masked(f"no login with {SECRET}")
