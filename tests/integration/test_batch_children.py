"""A job that starts other jobs (children): the task waits for them, records them and stops them."""

from __future__ import annotations

import json
import threading

import pytest

from airflow_batchemr.engine.submissions import stop
from tests.integration.batch_engine import Job, eventually
from tests.integration.test_batch_array import array_dag


@pytest.fixture
def definition(aws, work):
    """A job definition for children: records its name, and ends when it is released."""
    script = f"echo $NAME >> {work.folder}/children.txt; while [ -e {work.folder}/hold ]; do sleep 0.1; done; $THEN"
    return aws.client("batch").register_job_definition(
        jobDefinitionName="child",
        type="container",
        containerProperties={
            "image": "busybox",
            "command": ["sh", "-c", script],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        },
    )["jobDefinitionName"]


@pytest.fixture
def other_queue(aws):
    """A second queue, because children may use any queue."""
    batch = aws.client("batch")
    if batch.describe_job_queues(jobQueues=["other"])["jobQueues"]:
        return "other"
    place = batch.describe_job_queues(jobQueues=["default"])["jobQueues"][0]["computeEnvironmentOrder"]
    batch.create_job_queue(jobQueueName="other", state="ENABLED", priority=1, computeEnvironmentOrder=place)
    return "other"


def starting(name, *, then="true", queue="default"):
    """Shell code of a driver that starts a child."""
    overrides = f'environment=[{{name=NAME,value={name}}},{{name=THEN,value="{then}"}}]'
    return (
        f"aws batch submit-job --job-definition child --job-queue {queue} --container-overrides '{overrides}'"
        f' --job-name "${{BATCHEMR_CHILD_PREFIX}}{name}" >/dev/null;'
    )


def started(work):
    """Names of the children that have started."""
    log = work.folder / "children.txt"
    return sorted(log.read_text().split()) if log.exists() else []


def statuses(aws, job, number=1, queue="default"):
    """Name and status on AWS of a submission's children in a queue."""
    prefix = job.identity.child_prefix(number)
    found = aws.client("batch").list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": [f"{prefix}*"]}])
    return {one["jobName"].removeprefix(prefix): one["status"] for one in found["jobSummaryList"]}


def test_a_driver_is_done_when_its_children_have_ended(aws, run_dag, work, definition, other_queue):
    """The task waits for children in any queue, and the ledger records how they ended."""
    (work.folder / "hold").touch()

    def release():
        eventually(lambda: aws.requests()["ListJobs"])  # the driver has ended
        (work.folder / "hold").unlink()

    later = threading.Thread(target=release)
    later.start()
    script = starting("a") + starting("b", queue=other_queue)
    finished = run_dag(array_dag("driver", work.command(script), wait_for_children=True))
    later.join()
    assert {"work": "success"} == finished.tasks
    assert ["a", "b"] == started(work)
    assert "Waiting for 2 jobs that the program has started" in finished.output
    (key,) = [
        one["Key"]
        for one in aws.client("s3").list_objects_v2(Bucket="state")["Contents"]
        if one["Key"].startswith(work.folder.parent.name) and "/started/" in one["Key"]
    ]
    recorded = json.loads(aws.client("s3").get_object(Bucket="state", Key=key)["Body"].read())
    assert ["SUCCEEDED", "SUCCEEDED"] == [one["status"] for one in recorded]


def test_without_the_option_children_are_ignored(aws, run_dag, work, definition):
    """Only the driver counts, and its children are not searched for."""
    (work.folder / "hold").touch()
    assert {"work": "success"} == run_dag(array_dag("loose", work.command(starting("a")))).tasks
    assert 0 == aws.requests()["ListJobs"]
    (work.folder / "hold").unlink()


def test_a_failed_child_fails_its_driver(aws, run_dag, work, definition):
    """The report names it, and the next try runs the driver again."""
    script = "[ -e fixed ] && then=true || then=false; " + starting("a", then="'$then'")
    dag = array_dag("failing", work.command(script), wait_for_children=True)
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert "that it had started has failed: Essential container in task exited" in failed.output
    (work.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert {0: 2} == work.ran()


def test_a_failed_child_of_an_array_fails_the_index_in_its_name(aws, work, tmp_path, definition):
    """Only that index runs again."""
    script = f"[ $i != 2 ] || [ -e {work.folder}/fixed ] || " + starting("2-x", then="false")
    job = Job(f"s3://state/{tmp_path.name}", work.command(script), 4, waits_for_children=True)
    step = job.try_()
    assert [(2, "child", 1)] == [(failure.index, failure.cause, failure.exit_code) for failure in step.failures]
    (work.folder / "fixed").touch()
    assert job.try_(try_number=2) is None
    assert {0: 1, 1: 1, 2: 2, 3: 1} == work.ran()


def test_stopping_a_driver_stops_its_children(aws, work, tmp_path, definition, other_queue):
    """In each queue, whether or not the task waits for children."""
    (work.folder / "hold").touch()
    script = starting("a") + starting("b", queue=other_queue) + f"touch {work.folder}/up; sleep 300"
    job = Job(f"s3://state/{tmp_path.name}", work.command(script), 1)
    step = job.step()
    eventually(lambda: started(work) == ["a", "b"] and (work.folder / "up").exists())
    stop(job.ledger(), job.engine().remote, step.waits, "cleared", by="try 1")
    eventually(lambda: statuses(aws, job) == {"a": "FAILED"})
    eventually(lambda: statuses(aws, job, queue=other_queue) == {"b": "FAILED"})


def test_a_child_started_while_its_driver_is_stopped_is_stopped_too(aws, work, tmp_path, definition):
    """The child starts after the stop request."""
    (work.folder / "hold").touch()
    start = starting("late").replace("'", '"')
    script = f"trap '{start} exit 1' TERM; touch {work.folder}/up; while :; do sleep 0.1; done"
    job = Job(f"s3://state/{tmp_path.name}", work.command(script), 1, waits_for_children=True)
    step = job.step()
    eventually((work.folder / "up").exists)
    stop(job.ledger(), job.engine().remote, step.waits, "cleared", by="try 1")
    eventually(lambda: statuses(aws, job) == {"late": "FAILED"})


def test_children_of_a_failed_driver_end_before_it_runs_again(aws, work, tmp_path, definition):
    """Children of the two submissions do not run at the same time."""
    (work.folder / "hold").touch()
    script = f"[ ! -e {work.folder}/fixed ] || exit 0; " + starting("a") + "exit 3"
    job = Job(f"s3://state/{tmp_path.name}", work.command(script), 1, waits_for_children=True)
    step = job.try_()
    assert ["exit 3"] == [failure.cause for failure in step.failures]
    assert {"a": "FAILED"} == statuses(aws, job)
    (work.folder / "fixed").touch()
    assert job.try_(try_number=2) is None
    assert {} == statuses(aws, job, 2)
