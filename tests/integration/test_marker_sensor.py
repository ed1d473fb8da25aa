"""Waiting for the marker of another pipeline's job."""

from __future__ import annotations

import asyncio

from airflow.sdk import DAG
from botocore.config import Config

from airflow_batchemr.aws import clients
from airflow_batchemr.ledger import Ledger, Marker
from airflow_batchemr.sensors.marker import S3MarkerSensor
from airflow_batchemr.triggers.marker import S3MarkerTrigger


def sensor_dag(dag_id, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        S3MarkerSensor(task_id="wait", pipeline="upstream", **arguments)
    return dag


def mark(aws, state, run_key, job="upstream"):
    ledger = Ledger(aws.client("s3"), state).job("upstream", run_key, job)
    ledger.mark(Marker(submission=1, size=1, rerun_token=None))
    return ledger.marker_uri


def test_a_marker_that_stands_ends_the_wait_at_once(aws, run_dag, xcom, state):
    """The same run key is meant where none is given; the marker's URI is the XCom."""
    uri = mark(aws, state, "2026-11-20T000000Z")
    finished = run_dag(sensor_dag("same_key"))
    assert {"wait": "success"} == finished.tasks
    assert uri == xcom(finished, "same_key", "wait")


def test_a_marker_of_a_given_run_is_waited_for(aws, run_dag, state):
    """Another run key, another job; the marker comes while the sensor is deferred."""
    import threading

    later = threading.Timer(3, lambda: mark(aws, state, "2026-01-01T000000Z", "part"))
    later.start()
    finished = run_dag(sensor_dag("other_key", job="part", run_key="2026-01-01T000000Z", timeout=60))
    later.join()
    assert {"wait": "success"} == finished.tasks
    assert "Waiting for" in finished.output


def test_a_wait_that_takes_too_long_fails(aws, run_dag):
    """After `timeout` seconds the task fails and says for what it waited."""
    finished = run_dag(sensor_dag("late", timeout=0.5))
    assert {"wait": "failed"} == finished.tasks
    assert "No marker of upstream.upstream after 0.5 s" in finished.output


def test_a_missing_bucket_is_told(aws, run_dag):
    """The sensor does not wait for what cannot come."""
    finished = run_dag(sensor_dag("no_bucket", state="s3://no-such-bucket/x"))
    assert {"wait": "failed"} == finished.tasks
    assert "does not exist" in finished.output


def test_an_outage_of_s3_is_waited_out(aws, run_dag, state, monkeypatch):
    """The sensor goes on to its wait, which looks again."""
    monkeypatch.setattr(clients, "IDEMPOTENT", Config(retries={"mode": "standard", "total_max_attempts": 1}))
    mark(aws, state, "2026-11-20T000000Z")
    aws.faults.error("ListObjectsV2")
    assert {"wait": "success"} == run_dag(sensor_dag("away")).tasks


def test_many_markers_are_waited_for_by_one_loop(aws, state):
    """30 waits that share a poller cost one look each a round, however they began."""
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


def test_what_is_wrong_with_one_wait_is_not_the_others_matter(aws, state, monkeypatch):
    """The bucket of one pipeline is gone, the marker of another one is broken: both are told, the third one goes on."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__MARKER_POLL_SHORTEST", "0.05")
    mark(aws, state, "good")
    aws.client("s3").put_object(
        Bucket="state", Key=mark(aws, state, "broken").removeprefix("s3://state/"), Body=b"edited by hand"
    )

    async def wait(where, run_key):
        trigger = S3MarkerTrigger(state=where, dag_id="upstream", run_key=run_key, job="upstream", aws_conn_id=None)
        return (await anext(trigger.run())).payload["status"]

    async def main():
        places = [("s3://gone/x", "good"), (state, "broken"), (state, "good")]
        return await asyncio.wait_for(asyncio.gather(*(wait(*place) for place in places)), 30)

    assert ["denied", "denied", "marked"] == asyncio.run(main())
