"""`overlap: terminate`, and the pause of a continuous schedule."""

from __future__ import annotations

import json
import textwrap
import time
from types import SimpleNamespace

import boto3
import pendulum
import pytest

from airflow_batchemr.ledger import Ledger
from tests.integration.batch_engine import eventually, submit

OLD, OLD_KEY = pendulum.datetime(2026, 11, 19), "2026-11-19T000000Z"


@pytest.fixture
def earlier_run(airflow_db):
    """`earlier_run(dag_id, state, run_type)`: add a run for the day before to Airflow's database."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    def make(dag_id, state="running", run_type="manual", ended=None):
        with create_session() as session:
            run = DagRun(
                dag_id=dag_id,
                run_id=f"{run_type}__{OLD.isoformat()}",
                run_type=DagRunType(run_type),
                logical_date=OLD,
                run_after=OLD,
                data_interval=(OLD, OLD),
                start_date=OLD,
                state=DagRunState(state),
            )
            run.end_date = ended
            session.add(run)

    return make


@pytest.fixture
def overlapping(tmp_path, work):
    """`overlapping(name)`: the Dag of a pipeline with `overlap: terminate`."""
    from airflow_batchemr import build_dags

    def make(name):
        path = tmp_path / "p.yaml"
        path.write_text(
            textwrap.dedent(f"""
                {name}:
                  overlap: terminate
                  batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("true"))}}}
            """)
        )
        return build_dags(path)[0]

    return make


def running_job(aws, state, dag_id, *, key=OLD_KEY, run_id="old", command=("sleep", "300")):
    """Start a job of the earlier run on the local AWS, recorded in the ledger, and return its id."""
    from airflow_batchemr.aws.clients import boto3_clients
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import Request

    batch, clients = aws.client("batch"), boto3_clients()
    container = {
        "image": "a:1",
        "command": list(command),
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
    }
    definition = batch.register_job_definition(
        jobDefinitionName="sleep", type="container", containerProperties=container
    )
    jobs = Ledger(clients.s3, state).job(dag_id, key, dag_id)
    identity = JobIdentity(state, dag_id, key, dag_id, run_id, dag_id)
    name = identity.submission_name(1)
    request = {"jobName": name, "jobQueue": "default", "jobDefinition": definition["jobDefinitionArn"]}
    request["tags"] = identity.tags(1)
    started = submit(clients, jobs, identity, [Request(name=name, indices=IndexSet.range(1), request=request)])
    return started.handle.jobs[0].job_id


def status(aws, job_id):
    (job,) = aws.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    return job["status"], job.get("statusReason", "")


def test_a_new_run_stops_the_jobs_of_the_previous_run(aws, run_dag, earlier_run, overlapping, state):
    """They are terminated on AWS with a reason, and the ledger records a stop request by the newer run."""
    dag = overlapping("newer")
    earlier_run("newer")
    job_id = running_job(aws, state, "newer")
    assert run_dag(dag).tasks == {"stop_earlier_runs": "success", "newer": "success"}
    ended, reason = status(aws, job_id)
    assert ended == "FAILED"
    assert "a newer run of the pipeline has started" in reason
    request = Ledger(boto3.client("s3"), state).job("newer", OLD_KEY, "newer").stop_request(1)
    assert request.by == "newer run"


@pytest.mark.parametrize(
    ("date", "key", "run_id"),
    [
        (None, "manual__2026-11-19T000000_x", "manual__2026-11-19T00:00:00_x"),
        (None, "some-partition", "asset_triggered__2026-11-19T00:00:00_x"),
        ("2027-01-01", "asset_triggered__2026-11-19T000000_x", "asset_triggered__2026-11-19T00:00:00_x"),
    ],
    ids=["neither has a date", "a partition", "the new one has a date"],
)
def test_a_newer_run_stops_a_run_without_a_logical_date(aws, run_dag, overlapping, state, date, key, run_id):
    """Airflow does not order such runs. Work that was claimed before the new run started belongs to an earlier run.

    (In `dag.test`, a run starts at its logical date.)
    """
    name = f"undated-{key}"[:40]
    job_id = running_job(aws, state, name, key=key, run_id=run_id)
    assert run_dag(overlapping(name), logical_date=date).state == "success"
    ended, reason = status(aws, job_id)
    assert ended == "FAILED"
    assert "a newer run of the pipeline has started" in reason


@pytest.mark.parametrize(
    ("key", "run_id"),
    [(OLD_KEY, f"backfill__{OLD.isoformat()}"), ("made-by-hand", "backfill__by-hand")],
)
def test_a_run_without_a_logical_date_does_not_stop_backfills(aws, run_dag, overlapping, state, key, run_id):
    """The ledger records the run of each submission."""
    job_id = running_job(aws, state, f"beside-{key}", key=key, run_id=run_id)
    assert run_dag(overlapping(f"beside-{key}"), logical_date=None).state == "success"
    assert status(aws, job_id)[0] in {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"}
    aws.client("batch").terminate_job(jobId=job_id, reason="end of the test")


def test_jobs_submitted_by_the_program_of_the_earlier_run_are_stopped(aws, run_dag, earlier_run, overlapping, state):
    """They are found by their names, even after the program has ended."""
    from airflow_batchemr.engine.job_identity import JobIdentity

    batch = aws.client("batch")
    earlier_run("driving")
    job_id = running_job(aws, state, "driving", command=("true",))
    name = JobIdentity(state, "driving", OLD_KEY, "driving", "old", "driving").child_prefix(1) + "a"
    properties = {"image": "a:1", "command": ["sleep", "300"], "vcpus": 1, "memory": 64}
    batch.register_job_definition(jobDefinitionName="child", type="container", containerProperties=properties)
    child = batch.submit_job(jobName=name, jobQueue="default", jobDefinition="child")["jobId"]
    eventually(lambda: status(aws, job_id)[0] == "SUCCEEDED" and status(aws, child)[0] == "RUNNING")
    assert run_dag(overlapping("driving")).state == "success"
    ended, reason = status(aws, child)
    assert ended == "FAILED"
    assert "a newer run of the pipeline has started" in reason


@pytest.mark.parametrize(("how", "run_type"), [("success", "manual"), ("running", "backfill")])
def test_ended_runs_and_backfills_are_not_stopped(aws, run_dag, earlier_run, overlapping, state, how, run_type):
    """An ended run has nothing to stop, and a backfill run is independent of the schedule."""
    name = f"left_{how}_{run_type}"
    dag = overlapping(name)
    earlier_run(name, state=how, run_type=run_type)
    job_id = running_job(aws, state, name)
    assert run_dag(dag).state == "success"
    assert status(aws, job_id)[0] in {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"}
    aws.client("batch").terminate_job(jobId=job_id, reason="end of the test")


def test_a_task_that_was_stopped_by_a_newer_run_fails_without_retry(aws, state):
    """After other stops, the same try runs what is left."""
    from airflow.sdk.exceptions import AirflowFailException

    from airflow_batchemr import BatchArrayOperator
    from airflow_batchemr.ledger import StopRequest

    running_job(aws, state, "overtaken")
    jobs = Ledger(boto3.client("s3"), state).job("overtaken", OLD_KEY, "overtaken")
    jobs.request_stop(1, StopRequest(reason="a newer run of the pipeline has started", by="newer run"))

    class Context(dict):
        pass

    class TaskInstance:
        dag_id, task_id, map_index, try_number, max_tries = "overtaken", "overtaken", -1, 1, 0

    class Run:
        logical_date, partition_key, run_id, conf = OLD, None, "old", {}

    operator = BatchArrayOperator(task_id="overtaken", queue="default", image="a:1", command="true")
    with pytest.raises(AirflowFailException, match="a newer run of the pipeline has started"):
        operator.resume(Context(ti=TaskInstance(), dag_run=Run(), params={}), {"submissions": [1]})


def stopping(aws, state, event=None):
    """Run `stop_earlier_runs` of a new run of the Dag `newer`. Returns its XCom or its trigger."""
    from airflow.sdk.exceptions import TaskDeferred

    from airflow_batchemr.operators.overlap import StopEarlierRunsOperator

    operator = StopEarlierRunsOperator(task_id="stop", state=state, aws_conn_id=None)
    run = SimpleNamespace(run_type="manual", logical_date=None, run_id="new", dag_id="newer", start_date=pendulum.now())
    try:
        return operator.resume({"dag_run": run}, event) if event else operator.execute({"dag_run": run})
    except TaskDeferred as deferred:
        return deferred.trigger


def test_an_outage_does_not_fail_the_new_run(aws, state, monkeypatch):
    """The task waits and tries again."""
    from botocore.config import Config

    from airflow_batchemr.aws import clients

    monkeypatch.setattr(clients, "IDEMPOTENT", Config(retries={"mode": "standard", "total_max_attempts": 1}))
    running_job(aws, state, "newer", key="old", run_id="old")
    aws.faults.error("ListObjectsV2")
    trigger = stopping(aws, state)
    assert trigger.event["looks"] == 1
    assert 0 < trigger.wake_at - trigger.deferred_at < 60
    assert {"old": ["newer"]} == stopping(aws, state, trigger.event)


def test_a_refused_call_is_retried(aws, state, monkeypatch):
    """With the retries of the other operators, because changes of IAM take minutes to settle."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from airflow_batchemr.operators.overlap import StopEarlierRunsOperator

    assert 3 == StopEarlierRunsOperator(task_id="stop").retries
    aws.faults.refuse("ListObjectsV2")
    with pytest.raises(AirflowException, match="missing permission: allow s3:ListBucket") as raised:
        stopping(aws, state)
    assert not isinstance(raised.value, AirflowFailException)


def test_the_pause_starts_at_the_end_of_the_last_run(monkeypatch):
    """The task waits for the rest of the pause. A manually triggered run does not wait."""
    from airflow.sdk.exceptions import TaskDeferred

    from airflow_batchemr.operators.pause import PauseOperator

    class Run:
        run_type = "scheduled"
        end_date = pendulum.now("UTC").subtract(seconds=100)

    class TaskInstance:
        def get_previous_dagrun(self):
            return Run

    with pytest.raises(TaskDeferred) as deferred:
        PauseOperator(task_id="pause", seconds=160).execute({"dag_run": Run, "ti": TaskInstance()})
    assert deferred.value.trigger.wake_at == pytest.approx(Run.end_date.timestamp() + 160)
    assert deferred.value.trigger.deferred_at == pytest.approx(time.time(), abs=5)
    assert 160 == PauseOperator(task_id="pause", seconds="2m40s").seconds
    PauseOperator(task_id="pause", seconds=90).execute({"dag_run": Run, "ti": TaskInstance()})
    by_hand = type("ByHand", (Run,), {"run_type": "manual"})
    PauseOperator(task_id="pause", seconds=160).execute({"dag_run": by_hand, "ti": TaskInstance()})
