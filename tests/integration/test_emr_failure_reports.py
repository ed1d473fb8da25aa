"""The log of an EMR task: progress, output of its steps, and causes of failures."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import threading
import time

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.logs import _unpack
from airflow_batchemr.aws.emr.poll import Sight
from airflow_batchemr.aws.emr.steps import Step
from airflow_batchemr.links.emr import EmrClusterLink, EmrLogsLink
from airflow_batchemr.links.ledger import LedgerLink
from airflow_batchemr.operators.emr import EmrCreateClusterOperator, EmrStepsOperator, EphemeralEmrOperator
from airflow_batchemr.triggers import emr_live
from tests.integration.emr_engine import eventually, existing_cluster, lose_master
from tests.integration.emr_steps import CLUSTER, Steps, alive, named
from tests.integration.task_engine import Task

LOGGED = {**CLUSTER, "log_uri": "s3://logs/emr/"}


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path)


@pytest.fixture
def logs(aws):
    """The bucket of the log URI."""
    aws.client("s3").create_bucket(Bucket="logs")


def own_dag(dag_id, steps, cluster=LOGGED, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        EphemeralEmrOperator(task_id="work", cluster=cluster, steps=steps, **arguments)
    return dag


def test_the_reason_in_stderr_is_reported_not_the_controllers_summary(aws, logs, run_dag):
    """EMR's controller log says only that the step failed with an exit code."""
    command = ["sh", "-c", "echo checking >&2; echo too few rows: 10 of at least 100 >&2; exit 3"]
    finished = run_dag(own_dag("plain", [{"name": "check", "command": command}]))
    assert re.search(r"failed: too few rows: 10 of at least 100\n\s+log: s3://logs/emr/\S+/stderr\.gz", finished.output)


def test_a_step_that_writes_nothing_is_reported_with_its_exit_code(aws, logs, run_dag):
    """It is in the controller log."""
    finished = run_dag(own_dag("silent", [{"name": "check", "command": ["sh", "-c", "exit 3"]}]))
    assert "Unknown Error. (exit code 3)" in finished.output


def test_failed_step_is_reported_with_its_cause_and_log(aws, logs, run_dag, tmp_path):
    """With the innermost exception, the place in the user's code, and the URI of the log."""
    script = tmp_path / "shares.py"
    script.write_text("def share(rows, parts):\n    return rows / parts\n\n\nshare(10, 0)\n")
    finished = run_dag(own_dag("cause", [{"name": "shares", "command": ["python3", str(script)]}]))
    assert {"work": "failed"} == finished.tasks
    assert "ZeroDivisionError: division by zero at shares.py:2 in share" in finished.output
    cluster_id = named(aws, "cause-")[0]["Id"]
    assert f"log: s3://logs/emr/{cluster_id}/steps/" in finished.output
    kept = aws.client("s3").list_objects_v2(Bucket="state")["Contents"]
    causes = [one["Key"] for one in kept if one["Key"].endswith("causes/0001.json") and "/cause/" in one["Key"]]
    assert 1 == len(causes)
    cause = json.loads(aws.client("s3").get_object(Bucket="state", Key=causes[0])["Body"].read())
    assert ("ZeroDivisionError", 0) == (cause[0]["exception"], cause[0]["index"])


def test_report_waits_for_late_logs(aws, logs, run_dag, tmp_path, monkeypatch):
    """EMR uploads logs after the end of a step. The wait occupies no worker slot."""
    monkeypatch.setattr("airflow_batchemr.triggers.emr_logs.PAUSE", 0.5)
    aws.faults.delay_logs(20)
    try:
        finished = run_dag(own_dag("late", [{"name": "x", "command": ["sh", "-c", "no-such-tool; exit 127"]}]))
    finally:
        aws.faults.delay_logs(0)
    assert {"work": "failed"} == finished.tasks
    assert "no-such-tool: not found" in finished.output
    assert "Waiting for the logs of what failed" in finished.output


def test_report_without_a_log_uri_says_which_option_to_set(aws, run_dag, steps):
    """It contains the reason from EMR."""
    finished = run_dag(own_dag("blind", [steps.step("a", "exit 1")], CLUSTER))
    assert "The cluster has no log URI" in finished.output
    assert "set `log_uri: s3://" in finished.output


@pytest.mark.parametrize("own", [True, False], ids=["own_cluster", "existing_cluster"])
def test_step_that_somebody_cancels_is_reported_as_cancelled(aws, logs, state, steps, own):
    """By its name, without waiting for logs: the reason of the cluster says nothing about it."""
    where = {"cluster": LOGGED} if own else {"cluster_id": existing_cluster(aws, LogUri="s3://logs/emr/")}

    def operator():
        kind = EphemeralEmrOperator if own else EmrStepsOperator
        with DAG("dag", schedule=None):
            return kind(task_id="work", steps=[steps.step("a", "sleep 60")], state=state, aws_conn_id=None, **where)

    task = Task(operator)
    trigger = task.begin()
    eventually(steps.ran)
    cluster_id = trigger.cluster_id
    aws.client("emr").cancel_steps(
        ClusterId=cluster_id, StepIds=trigger.step_ids, StepCancellationOption="TERMINATE_PROCESS"
    )
    expected = rf"Step 1/1 a \({trigger.step_ids[0]}\) was cancelled in EMR: .*\nCluster {cluster_id}: "
    with pytest.raises(AirflowFailException, match=expected):
        task.try_(trigger)


def test_failed_bootstrap_action_is_reported_with_its_cause(aws, logs, run_dag, steps):
    """The cause is in the log of the bootstrap action."""
    script = b"#!/bin/bash\nset -eu\nyumm install -y git\n"
    aws.client("s3").put_object(Bucket="logs", Key="boot.sh", Body=script)
    finished = run_dag(own_dag("boot", [steps.step("a")], {**LOGGED, "bootstrap": ["s3://logs/boot.sh"]}))
    assert {"work": "failed"} == finished.tasks
    assert "did not start [bootstrap]" in finished.output
    assert "yumm: command not found" in finished.output
    assert "/bootstrap-actions/1/stderr.gz" in finished.output
    assert [] == steps.ran()


START_FAILURES = {
    "subnet_full": ("subnet full", "subnets:"),
    "no_capacity": ("no capacity", "further types"),
    "spot_not_fulfilled": ("spot not fulfilled", "market: on_demand"),
    "quota": ("quota", "raise the account's EC2 quota"),
    "invalid_role": ("role", "create-default-roles"),
    "internal": ("internal", "try again"),
}


@pytest.mark.parametrize("failure", START_FAILURES)
def test_start_failures_are_reported_by_kind(aws, run_dag, steps, failure):
    """Each with advice, also for a shared cluster."""
    kind, advice = START_FAILURES[failure]
    aws.faults.fail_start(failure)
    finished = run_dag(own_dag(f"start_{failure}", [steps.step("a")], CLUSTER, retries=0))
    assert {"work": "failed"} == finished.tasks
    assert f"did not start [{kind}]" in finished.output
    assert advice in finished.output
    aws.faults.fail_start(failure)
    with DAG(f"up_{failure}", schedule=None) as dag:
        EmrCreateClusterOperator(task_id="up", job="x.cluster", cluster=CLUSTER, retries=0)
    finished = run_dag(dag)
    assert {"up": "failed"} == finished.tasks
    assert f"did not start [{kind}]" in finished.output
    assert [] == alive(aws, f"up_{failure}-")


def test_report_names_the_step_that_ran_when_its_master_was_lost(aws, run_dag, steps):
    """Also with several instance types: the cluster had started, so the same try does not start another one."""
    cluster = {**CLUSTER, "type": ["m5.xlarge", "m6g.xlarge"]}
    dag = own_dag("master", [steps.step("a"), steps.step("b", "touch b; sleep 600")], cluster, retries=0)
    lost = threading.Thread(target=lambda: (eventually((steps.folder / "b").exists), lose_master(aws)))
    lost.start()
    finished = run_dag(dag)
    lost.join()
    assert {"work": "failed"} == finished.tasks
    assert 1 == len(clusters := named(aws, "master-"))
    assert f"Cluster {clusters[0]['Id']} was lost while it was running [instances]" in finished.output
    assert re.search(r"Step b \(s-\w+\) was interrupted", finished.output)
    assert "Step a (" not in finished.output
    assert "did not start" not in finished.output
    assert ["a", "b"] == steps.ran()


def test_log_shows_progress_and_links_lead_to_cluster_logs_and_ledger(aws, logs, run_dag, steps, xcom):
    """With one line per state of the cluster and of each step."""
    finished = run_dag(own_dag("progress", [steps.step("first"), steps.step("second", "sleep 6")]))
    assert "Step 1/2 first" in finished.output
    assert "Step 2/2 second" in finished.output
    assert "COMPLETED" in finished.output
    cluster_id = named(aws, "progress-")[0]["Id"]
    key, task = "2026-11-20T000000Z", "work"
    for link, address in (
        (EmrClusterLink, f"#/clusterDetails/{cluster_id}"),
        (EmrLogsLink, f"s3/buckets/logs?region=us-east-1&prefix=emr%2F{cluster_id}/"),
        (LedgerLink, f"/progress/{key}/{task}/"),
    ):
        assert xcom(finished, "progress", task, link().xcom_key).endswith(address)


def test_deadline_terminates_the_cluster(aws, run_dag, steps):
    """The task fails without retries."""
    slow = [steps.step("a"), steps.step("b", "sleep 600")]
    finished = run_dag(own_dag("late_job", slow, CLUSTER, deadline=8, retries=3))
    assert {"work": "failed"} == finished.tasks
    assert "The deadline of 8 s from the first submission has passed: stopped the remaining work" in finished.output
    assert [] == alive(aws, "late_job-")
    assert ["a", "b"] == steps.ran()


def test_log_shows_the_output_of_a_running_step(aws, logs, monkeypatch):
    """From CloudWatch if the job sets group and stream, otherwise from S3, without INFO lines of log4j."""
    cloudwatch = aws.client("logs")
    cloudwatch.create_log_group(logGroupName="reports")
    cloudwatch.create_log_stream(logGroupName="reports", logStreamName="today")
    events = [{"timestamp": int(time.time() * 1000), "message": "twelve shops read"}]
    cloudwatch.put_log_events(logGroupName="reports", logStreamName="today", logEvents=events)
    written = b"26/11/20 10:00:00 INFO Client: chatter\nthree shops written\n"
    aws.client("s3").put_object(Bucket="logs", Key="emr/j-1/steps/s-2/stdout.gz", Body=gzip.compress(written))
    monkeypatch.setattr(emr_live, "PAUSE", 0.2)

    shown = []
    log = logging.getLogger("shown")
    log.addHandler(lines := logging.Handler())
    lines.emit = lambda record: shown.append(record.getMessage())

    def sight(state):
        steps = {"s-1": Step("s-1", "cloudwatch", state), "s-2": Step("s-2", "s3", state)}
        return Sight(Cluster("j-1", "x", "RUNNING"), steps)

    async def watch():
        live = emr_live.LiveSteps(
            boto3_clients(),
            (None, "shown"),
            log_uri="s3://logs/emr",
            cluster_id="j-1",
            streams={"s-1": ["reports", "today"]},
            log=log,
        )
        async with live:
            live.update(sight("RUNNING"))
            while len(shown) < 2:
                await asyncio.sleep(0.05)
            assert {"| twelve shops read", "| three shops written"} == set(shown)
            more = gzip.compress(written + b"four shops written\n")
            aws.client("s3").put_object(Bucket="logs", Key="emr/j-1/steps/s-2/stdout.gz", Body=more)
            await live.rest(sight("COMPLETED"))

    asyncio.run(watch())
    log.removeHandler(lines)
    assert ["| four shops written"] == shown[2:]


def test_logs_of_several_gzip_members_are_read_whole():
    """EMR may append to a log that it has already uploaded."""
    assert "one\ntwo" == _unpack([gzip.compress(b"one\n") + gzip.compress(b"two\n")]).text()
