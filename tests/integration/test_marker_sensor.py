"""The sensor that waits for the marker of a job in another pipeline."""

from __future__ import annotations

import asyncio
import datetime as dt
import time

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.config import Config

from airflow_batchemr.aws import clients
from airflow_batchemr.ledger import Ledger, Marker
from airflow_batchemr.sensors.marker import S3MarkerSensor
from airflow_batchemr.triggers.marker import S3MarkerTrigger
from tests.integration.task_engine import Task


def sensor_dag(dag_id, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        S3MarkerSensor(task_id="wait", pipeline="upstream", **arguments)
    return dag


def mark(aws, state, run_key, job="upstream"):
    ledger = Ledger(aws.client("s3"), state).job("upstream", run_key, job)
    ledger.mark(Marker(submission=1, size=1, rerun_token=None))
    return ledger.marker_uri


def test_an_existing_marker_ends_the_wait_immediately(aws, run_dag, xcom, state):
    """The run key defaults to that of the run; the URI of the marker is the XCom."""
    uri = mark(aws, state, "2026-11-20T000000Z")
    finished = run_dag(sensor_dag("same_key"))
    assert {"wait": "success"} == finished.tasks
    assert uri == xcom(finished, "same_key", "wait")


def test_the_sensor_waits_for_the_marker_of_a_given_run(aws, run_dag, state):
    """Another run key and job; the marker appears while the sensor is deferred."""
    import threading

    later = threading.Timer(3, lambda: mark(aws, state, "2026-01-01T000000Z", "part"))
    later.start()
    finished = run_dag(sensor_dag("other_key", job="part", run_key="2026-01-01T000000Z", timeout=60))
    later.join()
    assert {"wait": "success"} == finished.tasks
    assert "Waiting for" in finished.output


def test_the_sensor_fails_after_its_timeout(aws, run_dag):
    """The message names the job that it waited for."""
    finished = run_dag(sensor_dag("late", timeout=1))
    assert {"wait": "failed"} == finished.tasks
    assert "upstream.upstream did not succeed within 1 s" in finished.output


def deferred(**arguments):
    """The seconds until the deadline of the sensor's trigger."""

    def make():
        with DAG("dag", schedule=None):
            return S3MarkerSensor(task_id="wait", pipeline="upstream", aws_conn_id=None, **arguments)

    deadline = Task(make).begin().deadline
    return None if deadline is None else deadline - time.time()


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({"timeout": "2h"}, 7200),
        ({"timeout": "3600"}, 3600),
        ({"timeout": dt.timedelta(minutes=3)}, 180),
        ({"execution_timeout": dt.timedelta(minutes=5)}, 300),
        ({"execution_timeout": dt.timedelta(minutes=5), "timeout": "1h"}, 300),
        ({"execution_timeout": dt.timedelta(hours=5), "timeout": "1h"}, 3600),
    ],
    ids=str,
)
def test_the_shorter_of_timeout_and_execution_timeout_applies(aws, state, arguments, seconds):
    """A timeout has the notations of the file, or is a timedelta. Airflow ignores execution_timeout in a deferral."""
    assert seconds == pytest.approx(deferred(**arguments), abs=5)


def test_without_a_timeout_the_sensor_waits_forever(aws, state):
    assert deferred() is None


@pytest.mark.parametrize("timeout", ["soon", -1, True, [1]])
def test_an_invalid_timeout_fails_when_the_dag_is_parsed(timeout):
    with pytest.raises(AirflowFailException, match=r"^timeout: "):
        S3MarkerSensor(task_id="wait", pipeline="upstream", timeout=timeout)


def test_only_failures_of_the_platform_are_retried():
    """A marker that did not appear in time is none, unless `retries` is set."""
    by_default = S3MarkerSensor(task_id="wait", pipeline="upstream", timeout=1)
    assert 3 == by_default.retries
    with pytest.raises(AirflowFailException, match=r"within 1 s$"):
        by_default.resume({}, {"status": "timeout"})
    limit = dt.timedelta(minutes=1)
    given = S3MarkerSensor(task_id="wait", pipeline="upstream", timeout="1m", retries=1, execution_timeout=limit)
    with pytest.raises(AirflowException, match=r"within 60 s or the execution_timeout of 0:01:00$") as raised:
        given.resume({}, {"status": "timeout"})
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("name", ["poke_interval", "mode", "soft_fail", "deferrable"])
def test_arguments_of_other_sensors_are_explained(name):
    with pytest.raises(TypeError, match=rf"S3MarkerSensor does not take {name} \(leave it out"):
        S3MarkerSensor(task_id="wait", **{name: 1})


def test_two_different_regions_are_rejected():
    with pytest.raises(TypeError, match="region and region_name are the same argument"):
        S3MarkerSensor(task_id="wait", pipeline="upstream", region="eu-west-1", region_name="eu-west-2")


def test_a_missing_bucket_fails_the_sensor(aws, run_dag):
    """The marker can never appear."""
    finished = run_dag(sensor_dag("no_bucket", state="s3://no-such-bucket/x"))
    assert {"wait": "failed"} == finished.tasks
    assert "does not exist" in finished.output


def test_the_sensor_survives_an_outage_of_s3(aws, run_dag, state, monkeypatch):
    """It defers, and the trigger retries."""
    monkeypatch.setattr(clients, "IDEMPOTENT", Config(retries={"mode": "standard", "total_max_attempts": 1}))
    mark(aws, state, "2026-11-20T000000Z")
    aws.faults.error("ListObjectsV2")
    assert {"wait": "success"} == run_dag(sensor_dag("away")).tasks


def test_many_waits_share_one_poll_loop(aws, state):
    """30 waits take one poll each per round, whenever they started."""
    keys = [f"2026-01-{day:02d}T000000Z" for day in range(1, 31)]

    async def wait(run_key):
        trigger = S3MarkerTrigger(state=state, dag_id="upstream", run_key=run_key, job="upstream", aws_conn_id=None)
        async for event in trigger.run():
            return event.payload["status"]

    async def main():
        for run_key in keys:
            await asyncio.to_thread(mark, aws, state, run_key)
        aws.reset_requests()
        return await asyncio.gather(*(wait(run_key) for run_key in keys))

    assert ["marked"] * 30 == asyncio.run(main())
    assert 30 == aws.requests()["ListObjectsV2"]


def test_an_error_of_one_wait_does_not_affect_the_others(aws, state, monkeypatch):
    """One bucket is missing and one marker is invalid: both waits end with an error, the third one succeeds."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__MARKER_POLL_SHORTEST", "0.05")
    mark(aws, state, "good")
    aws.client("s3").put_object(
        Bucket="state", Key=mark(aws, state, "broken").removeprefix("s3://state/"), Body=b"edited by hand"
    )

    async def wait(where, run_key):
        trigger = S3MarkerTrigger(state=where, dag_id="upstream", run_key=run_key, job="upstream", aws_conn_id=None)
        return (await anext(trigger.run())).payload["status"]

    async def main():
        waits = [("s3://gone/x", "good"), (state, "broken"), (state, "good")]
        return await asyncio.wait_for(asyncio.gather(*(wait(*arguments) for arguments in waits)), 30)

    assert ["denied", "denied", "marked"] == asyncio.run(main())
