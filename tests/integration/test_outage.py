"""Outages of AWS that outlast botocore's retries: tasks wait, nothing runs twice, and user actions take effect."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.config import Config
from botocore.exceptions import ClientError, CredentialRetrievalError, EndpointConnectionError, ProfileNotFound

from airflow_batchemr import settings
from airflow_batchemr.aws import clients
from airflow_batchemr.aws import outage as outages
from airflow_batchemr.aws.errors import Expired
from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.ledger import LedgerRefusedError
from airflow_batchemr.ledger.errors import KeyUnusableError
from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import EphemeralEmrOperator
from airflow_batchemr.triggers import stopping
from airflow_batchemr.triggers.batch import BatchJobsTrigger
from airflow_batchemr.triggers.outage import OutageTrigger
from tests.integration.batch_engine import eventually
from tests.integration.emr_steps import CLUSTER, Steps, alive
from tests.integration.task_engine import Task
from tests.integration.test_batch_array import array_dag


@pytest.fixture(autouse=True)
def impatient(aws, monkeypatch):
    """Botocore does not retry, and pauses are short."""
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr(clients, "IDEMPOTENT", once)
    short = Policy(outage_first_pause=0.05, outage_longest_pause=0.05)
    monkeypatch.setattr(settings, "engine_policy", lambda: short)
    monkeypatch.setattr(stopping, "FIRST", 0.05)
    yield
    aws.faults.clear()


def task(state, work, script="true", **arguments):
    """A Batch job whose program records that it ran."""

    def make():
        return BatchArrayOperator(
            task_id="work",
            queue="default",
            image="busybox",
            command=work.command(script),
            state=state,
            aws_conn_id=None,
            **arguments,
        )

    return Task(make)


HOLD = "while [ ! -e go ]; do sleep 0.05; done"


def running(aws):
    statuses = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
    listed = [aws.client("batch").list_jobs(jobQueue="default", jobStatus=status) for status in statuses]
    return sum(len(page["jobSummaryList"]) for page in listed)


@pytest.mark.parametrize(
    ("operation", "kind", "after"),
    [
        ("ListObjectsV2", "error", 0),  # reading the ledger
        ("DescribeJobDefinitions", "throttle", 0),  # before the claim
        ("PutObject", "error", 0),  # the claim
        ("PutObject", "drop_before", 1),  # the job runs, its handle is not recorded
        ("PutObject", "throttle", 2),  # the record of the wait
        ("ListObjectsV2", "error", 1),  # the job has ended
        ("PutObject", "error_after", 4),  # the marker
    ],
)
def test_a_task_waits_out_an_outage_at_any_call(aws, state, work, capfd, operation, kind, after):
    """Without a retry of the task, the job is submitted once, runs once and gets its marker."""
    aws.faults.plan(operation, kind, times=3, after=after)
    xcom = task(state, work).try_()
    assert 1 == xcom["submissions"]
    assert Counter([0]) == work.ran()
    assert 1 == aws.requests()["SubmitJob"]
    assert re.search(r"AWS cannot be reached \(.*\): trying again in 0 s", "".join(capfd.readouterr()))


@pytest.mark.parametrize(
    ("operation", "after"),
    [("ListObjectsV2", 0), ("PutObject", 1), ("ListSteps", 2), ("PutObject", 4)],
)
def test_jobs_on_emr_wait_out_an_outage(aws, state, tmp_path, capfd, operation, after):
    """There is one cluster, each step runs once, and nothing is left running."""
    steps = Steps(tmp_path)

    def make():
        with DAG("dag", schedule=None):
            return EphemeralEmrOperator(
                task_id="work", cluster=CLUSTER, steps=[steps.step("a"), steps.step("b")], state=state, aws_conn_id=None
            )

    aws.faults.plan(operation, "error", times=2, after=after)
    assert 1 == Task(make).try_()["submissions"]
    assert ["a", "b"] == steps.ran()
    assert 1 == aws.requests()["RunJobFlow"]
    assert [] == alive(aws, "dag")
    assert "AWS cannot be reached" in "".join(capfd.readouterr())


def test_a_try_fails_after_hours_of_outage(aws, state, work, monkeypatch):
    """The message says how long AWS could not be reached, and the task may be retried."""
    short = Policy(outage_first_pause=0.05, outage_longest_pause=0.05, outage_limit=0.2)
    monkeypatch.setattr(settings, "engine_policy", lambda: short)
    aws.faults.error("ListObjectsV2", times=100)
    with pytest.raises(AirflowException, match=r"AWS could not be reached for \d+ hours: S3 ListObjectsV2") as caught:
        task(state, work).try_()
    assert not isinstance(caught.value, AirflowFailException)


def test_a_refused_call_fails_the_task_immediately(aws, state, work):
    """A missing permission or bucket is not an outage."""
    aws.faults.refuse("ListObjectsV2")
    with pytest.raises(AirflowFailException, match="s3:ListBucket"):
        task(state, work).begin()


@pytest.mark.parametrize(("operation", "times"), [("ListObjectsV2", 3), ("GetObject", 3)])
def test_temporary_refusals_of_the_bucket_do_not_fail_a_try_with_submitted_work(aws, state, work, operation, times):
    """The 403 occurs at the resume. Changes of IAM take minutes to become effective."""
    job = task(state, work)
    trigger = job.begin()
    aws.faults.refuse(operation, times=times)
    assert 1 == job.try_(trigger)["submissions"]
    assert Counter([0]) == work.ran()


def test_permanent_refusals_of_the_bucket_fail_the_try(aws, state, work, monkeypatch):
    """After the limit, a user has to act. The error names the permission."""
    short = Policy(outage_first_pause=0.05, outage_longest_pause=0.05, refusal_limit=0.2)
    monkeypatch.setattr(settings, "engine_policy", lambda: short)
    job = task(state, work)
    trigger = job.begin()
    aws.faults.refuse("ListObjectsV2", times=1000)
    with pytest.raises(AirflowFailException, match="s3:ListBucket"):
        job.try_(trigger)


def test_a_failure_during_an_outage_is_a_failure_of_this_try(aws, state, work):
    """The outage begins after the submission, and the job fails during it. It does not run again in this try."""
    aws.faults.plan("PutObject", "error", times=1, after=1)
    job = task(state, work, "exit 3")
    trigger = job.begin()
    assert isinstance(trigger, OutageTrigger)
    eventually(lambda: work.ran() and running(aws) == 0)
    with pytest.raises(AirflowException, match="exit code 3"):
        job.try_(trigger)
    assert Counter([0]) == work.ran()


def test_a_retry_with_an_outage_runs_earlier_failures_again(aws, state, work):
    """The outage is at the start of the retry."""
    job = task(state, work, "[ -e fixed ] || exit 3")
    with pytest.raises(AirflowException):
        job.try_()
    (work.folder / "fixed").touch()
    aws.faults.error("ListObjectsV2", times=2)
    assert 2 == job.try_(try_number=2)["submissions"]
    assert Counter({0: 2}) == work.ran()


def test_a_deadline_that_passed_during_an_outage_applies_afterwards(aws, state, work):
    """The job cannot be stopped during the outage. It is stopped afterwards, and the error names the deadline."""
    job = task(state, work, HOLD, deadline=600)
    trigger = job.begin()
    aws.faults.error("TerminateJob", times=2)
    over = job.begin(trigger.payload(status="deadline"))
    assert isinstance(over, OutageTrigger)
    with pytest.raises(AirflowFailException, match="The deadline of 600 s from the first submission has passed"):
        job.try_(over)
    eventually(lambda: running(aws) == 0)


@pytest.mark.parametrize("message", ["not allowed: batch:DescribeJobs", "not allowed: batch:DescribeJobs."])
def test_a_denied_describe_call_leaves_the_work_running(aws, state, work, message):
    """The error of the task names the permission."""
    job = task(state, work, HOLD)
    trigger = job.begin()
    with pytest.raises(AirflowFailException, match=r"batch:DescribeJobs\. The work on AWS was left running"):
        job.begin(trigger.payload(status="denied", message=message))
    assert 1 == running(aws)
    (work.folder / "go").touch()
    assert 1 == job.try_(try_number=2)["submissions"]


# User actions


def outage(aws, job):
    """The trigger of a task that has submitted its job and cannot record it."""
    aws.faults.plan("PutObject", "error", times=1, after=1)
    trigger = job.begin()
    assert isinstance(trigger, OutageTrigger)
    assert [] == trigger.submissions  # the ledger was read before the submission
    return trigger


async def kill(trigger, state):
    trigger._task_state = lambda: state
    await trigger.on_kill()


@pytest.mark.parametrize("state_of_task", ["failed", "queued"])
def test_a_stop_during_an_outage_takes_effect_after_it(aws, state, work, state_of_task):
    """The task is marked or cleared during the outage: its job, which is not recorded, ends as soon as possible."""
    job = task(state, work, HOLD)
    trigger = outage(aws, job)
    aws.faults.error("ListObjectsV2", times=3)
    asyncio.run(kill(trigger, state_of_task))
    eventually(lambda: running(aws) == 0)
    (work.folder / "go").touch()
    assert job.try_(try_number=2, clears=1)["submissions"] == 2


def test_a_stop_continues_after_the_timeout_of_airflow(aws, state, work):
    """Airflow gives a trigger 30 s, but the job ends when AWS is reachable again."""
    job = task(state, work, HOLD)
    trigger = job.begin()
    assert isinstance(trigger, BatchJobsTrigger)
    aws.faults.error("*", times=10_000)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(kill(trigger, "failed"), 0.3)
        aws.faults.clear()
        await asyncio.gather(*stopping._under_way)

    asyncio.run(main())
    eventually(lambda: running(aws) == 0)


def test_a_stop_renews_expired_credentials(aws, state, work):
    """The triggerer renews them outside its event loop."""
    threads, errors = [], [Expired("batch:TerminateJob: the credentials have expired")]
    renewed = SimpleNamespace(renew=lambda: threads.append(threading.current_thread()))

    def stop():
        if errors:
            raise errors.pop()
        return "stopped"

    assert "stopped" == asyncio.run(stopping.insist(stop, lambda: renewed, logging.getLogger("test")))
    assert [False] == [thread is threading.main_thread() for thread in threads]


def test_a_clear_takes_effect_in_the_next_try_after_its_own_outage(aws, state, work):
    """The triggerer could not stop the job. The try after the clear does, despite an outage at its start."""
    job = task(state, work, HOLD)
    assert isinstance(job.begin(), BatchJobsTrigger)
    aws.faults.error("ListObjectsV2", times=2)
    again = job.begin(try_number=2, clears=1)
    assert isinstance(again, OutageTrigger)
    while isinstance(again, OutageTrigger):
        again = job.begin(again.payload(status="again", event=again.event), try_number=2, clears=1)
    eventually(lambda: running(aws) <= 1)
    (work.folder / "go").touch()
    assert 2 == job.try_(again, try_number=2, clears=1)["submissions"]


def test_a_late_stop_does_not_affect_later_submissions(aws, state, work):
    """A stop that was requested before a clear does not end work of the try after it."""
    job = task(state, work, HOLD)
    trigger = outage(aws, job)
    trigger.stop(trigger.clients(), "cleared", "try 1")
    second = job.begin(try_number=2, clears=1)
    eventually(lambda: running(aws) <= 1)
    trigger.stop(trigger.clients(), "cleared", "try 1")
    (work.folder / "go").touch()
    assert 2 == job.try_(second, try_number=2, clears=1)["submissions"]


def test_a_task_in_airflow_waits_out_an_outage(aws, run_dag, work):
    """Airflow defers and resumes the task."""
    aws.faults.error("ListObjectsV2", times=2)
    finished = run_dag(array_dag("away", work.command("true")))
    assert {"work": "success"} == finished.tasks
    assert 2 == finished.output.count("AWS cannot be reached (S3 ListObjectsV2")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EndpointConnectionError(endpoint_url="http://sts"), True),
        (CredentialRetrievalError(provider="role", error_msg="timed out"), True),
        (ProfileNotFound(profile="nightly"), False),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole"), False),
        (ClientError({"Error": {"Code": "Throttling"}}, "AssumeRole"), True),
    ],
)
def test_errors_of_creating_clients_are_classified(error, expected):
    """Assuming a role may succeed later. A missing profile has to be fixed by a user."""
    assert expected == outages.passing(error)


def test_s3_denials_are_distinguished_from_outages():
    """A bucket in another region or a disabled key has to be fixed by a user."""
    from airflow_batchemr.ledger.errors import from_client_error

    answer = {"Error": {"Code": "KMS.DisabledException", "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    assert isinstance(from_client_error(answer, "PutObject", "b", "k"), KeyUnusableError)
    answer["Error"]["Code"] = "PermanentRedirect"
    assert isinstance(from_client_error(answer, "PutObject", "b", "k"), LedgerRefusedError)
    answer["Error"]["Code"] = "RequestTimeout"
    assert from_client_error(answer, "PutObject", "b", "k").retryable
