"""Spark on EMR Serverless and EMR on EKS: the same ledger and report, against botocore's stub.

There is no local service for them: what is sent is held to botocore's model, what comes back is as documented.
"""

from __future__ import annotations

import gzip

import boto3
import pytest
from airflow.sdk import DAG
from airflow_batchemr.aws.emr.job_run_submissions import JobRunSubmissions, job_run_target
from airflow_batchemr.aws.emr.submissions import StoppedError
from botocore.stub import ANY, Stubber

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr.diagnosis import probable_cause
from airflow_batchemr.aws.emr.job_runs import token
from airflow_batchemr.aws.errors import Expired, InvalidRequest
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger import Ledger
from airflow_batchemr.operators.emr import EmrJobRunOperator
from airflow_batchemr.pipeline_file.models import Spark
from airflow_batchemr.triggers.emr_job_run import runs_poller

ARN = "arn:aws:emr-serverless:us-east-1:123456789012:/applications/00f1abcdexample/jobruns/00f2abcdexample"
ROLE = "arn:aws:iam::123456789012:role/runs"
SERVERLESS = {"emr_serverless": {"application": "00f1abcdexample", "role": ROLE, "log_uri": "s3://logs/runs"}}
EKS = {"emr_eks": {"virtual_cluster": "vc1example", "role": ROLE, "release": "emr-7.5.0-latest"}}
IDENTITY = JobIdentity("s3://state/x", "pipe", "2026-11-20T000000Z", "work", "manual__1", "work")
SPARK = {"py": "s3://code/x.py", "args": ["a b"], "conf": {"spark.x": "y z"}, "executor_memory": "4GiB"}


class Run:
    """A job run with a stubbed service; `answers` are given in order."""

    def __init__(self, aws, on):
        self.place = job_run_target(on)
        client = boto3.client(self.place.service, region_name="us-east-1", endpoint_url="http://127.0.0.1:9")
        self.stub = Stubber(client)
        self.clients = Clients(lambda service, _: client if service == self.place.service else aws.client(service))
        self.ledger = Ledger(self.clients.s3, IDENTITY.state).job("pipe", IDENTITY.run_key, "work")
        self.submissions = JobRunSubmissions(self.clients, self.ledger, IDENTITY, self.place, sleep=lambda _: None)

    def request(self, number=1, **spark):
        words = Spark.model_validate({**SPARK, **spark})
        return self.place.request(words, IDENTITY.submission_name(number), {"batchemr:job": "work"}, {"A": "1"})

    def go(self, before=None):
        with self.stub:
            return self.submissions.run(self.ledger.read(), None, before, self.request)

    def started(self):
        name = {"serverless": "jobRunId"}.get(self.place.service[4:], "id")
        where = {"applicationId": "a"} if name == "jobRunId" else {"virtualClusterId": "v", "name": "n"}
        self.stub.add_response("start_job_run", {**where, name: "run1", "arn": ARN})

    def cancelled(self):
        serverless = self.place.kind == "emr_serverless"
        answer = {"applicationId": "a", "jobRunId": "run1"} if serverless else {"id": "run1"}
        self.stub.add_response("cancel_job_run", answer)

    def state(self, state):
        if self.place.kind == "emr_serverless":
            run = {
                "applicationId": "a",
                "jobRunId": "run1",
                "name": "n",
                "arn": ARN,
                "createdBy": ROLE,
                "createdAt": "2026-11-20T00:00:00Z",
                "updatedAt": "2026-11-20T00:00:00Z",
                "executionRole": ROLE,
                "state": state,
                "stateDetails": "why",
                "releaseLabel": "emr-7.5.0",
                "jobDriver": {"sparkSubmit": {"entryPoint": "s3://code/x.py"}},
            }
            self.stub.add_response("get_job_run", {"jobRun": run}, {"applicationId": ANY, "jobRunId": "run1"})
        else:
            run = {"id": "run1", "name": "n", "state": state, "failureReason": "USER_ERROR", "stateDetails": "why"}
            self.stub.add_response("describe_job_run", {"jobRun": run}, {"virtualClusterId": ANY, "id": "run1"})


@pytest.fixture
def aws(local_aws):
    local_aws.client("s3").create_bucket(Bucket="state")
    return local_aws


@pytest.mark.parametrize(("on", "done"), [(SERVERLESS, "SUCCESS"), (EKS, "COMPLETED")], ids=["serverless", "eks"])
def test_a_run_is_started_once_waited_for_and_recorded(aws, on, done):
    """Claim, call, record; the next try finds the run in the ledger; its success is in it."""
    run = Run(aws, on)
    run.started()
    assert ("wait", "run1") == (run.go().action, run.ledger.read().open_submissions[0].handle.jobs[0].job_id)
    run.state("RUNNING")
    assert "wait" == run.go().action
    run.state(done)
    assert "mark" == run.go().action
    assert "succeeded" == run.ledger.read().submissions[0].result.outcome
    run.stub.assert_no_pending_responses()


@pytest.mark.parametrize("on", [SERVERLESS, EKS], ids=["serverless", "eks"])
def test_a_failure_of_this_try_fails_it_and_the_next_one_starts_anew(aws, on):
    """Of an attempt that this try has waited for; one that had failed before is made good."""
    run = Run(aws, on)
    run.started()
    before = run.go().before
    run.state("FAILED")
    failed = run.go(before)
    assert ("fail", "FAILED") == (failed.action, failed.run.state)
    assert "why" in run.ledger.read().submissions[0].result.failures[0].reason
    run.started()
    assert ("wait", 2) == (run.go().action, run.ledger.read().next_number - 1)
    run.stub.assert_no_pending_responses()


def test_a_run_whose_answer_was_lost_is_found_by_its_name(aws):
    """The client token would make a second call the same run, too."""
    run = Run(aws, EKS)
    run.stub.add_client_error("start_job_run", "InternalServerException", http_status_code=500)
    name = run.request(1)["name"]
    found = {"jobRuns": [{"id": "run1", "name": name, "state": "RUNNING"}]}
    run.stub.add_response("list_job_runs", found, {"virtualClusterId": "vc1example", "createdAfter": ANY})
    run.state("RUNNING")
    assert ("wait", "run1") == ((move := run.go()).action, move.run_id)
    assert 1 == len(run.ledger.read().submissions)


@pytest.mark.parametrize("on", [SERVERLESS, EKS], ids=["serverless", "eks"])
def test_a_task_that_is_killed_while_it_starts_a_run_leaves_none(aws, on):
    """Who stops the open attempts may have looked before this one was recorded."""
    run = Run(aws, on)
    killed = []
    run.submissions = JobRunSubmissions(
        run.clients, run.ledger, IDENTITY, run.place, sleep=lambda _: None, stopping=lambda: bool(killed)
    )
    run.started()
    run.stub.client.meta.events.register("after-call", lambda **_: killed.append(1))
    run.cancelled()
    with pytest.raises(StoppedError):
        run.go()
    run.stub.assert_no_pending_responses()
    assert "the task was killed" == run.ledger.history().submissions[0].stop.reason
    with pytest.raises(StoppedError):  # and claims nothing for ever
        run.submissions._start(2, run.request(2), None)
    assert not run.ledger.history().submissions[1].open


@pytest.mark.parametrize("on", [SERVERLESS, EKS], ids=["serverless", "eks"])
def test_a_stopped_run_is_cancelled_and_is_no_failure(aws, on):
    """A person's word: the run ends, the next try starts another."""
    run = Run(aws, on)
    run.started()
    run.go()
    run.cancelled()
    with run.stub:
        run.submissions.stop_all(None, "the task was cleared", by="try 1")
    run.cancelled()  # whoever left the word may not have got to the call
    run.state("CANCELLED")
    run.started()
    assert "wait" == run.go(before=[]).action
    assert "stopped" == run.ledger.history().submissions[0].result.outcome


def test_a_key_that_was_exchanged_ends_no_wait(aws):
    """A triggerer runs for weeks: the poll takes the connection's new credentials when the old ones have run out."""
    run = Run(aws, EKS)
    made = []
    poller = runs_poller(Clients(lambda *_: made.append(1) or run.clients.get(run.place.service)), run.place)
    run.stub.add_client_error("describe_job_run", "ExpiredTokenException", http_status_code=400)
    run.state("RUNNING")
    with run.stub:
        with pytest.raises(Expired):
            poller._describe(["run1"])
        assert "RUNNING" == poller._describe(["run1"])["run1"].state
    assert 2 == len(made)


def test_what_is_sent_says_all_that_the_block_says(aws):
    """Quoted as a shell reads it; with the variables of driver and executors, and where the logs go."""
    run = Run(aws, SERVERLESS)
    made = run.request(python_env="s3://env/e.tar.gz")
    submit = made["jobDriver"]["sparkSubmit"]
    assert ("s3://code/x.py", ["a b"]) == (submit["entryPoint"], submit["entryPointArguments"])
    parameters = submit["sparkSubmitParameters"]
    assert "--conf 'spark.x=y z'" in parameters
    assert "spark.emr-serverless.driverEnv.A=1" in parameters
    assert "spark.executorEnv.A=1" in parameters
    assert "--conf 'spark.archives=s3://env/e.tar.gz#environment'" in parameters
    assert "spark.executor.memory=4096m" in parameters
    assert token(IDENTITY.submission_name(1)) == made["clientToken"]
    both = run.request(python_env="s3://env/e.tar.gz", archives=["s3://data/d.zip#data"])
    parameters = both["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"]
    assert "--conf 'spark.archives=s3://data/d.zip#data,s3://env/e.tar.gz#environment'" in parameters
    assert "--archives" not in parameters
    eks = Run(aws, EKS).request(docker_image="1.dkr.ecr.us-east-1.amazonaws.com/ml:2")
    assert 64 >= len(eks["name"])
    words = eks["jobDriver"]["sparkSubmitJobDriver"]["sparkSubmitParameters"]
    assert "spark.kubernetes.container.image=1.dkr.ecr.us-east-1.amazonaws.com/ml:2" in words


@pytest.mark.parametrize(
    ("on", "words", "problem"),
    [
        (SERVERLESS, {"docker_image": "x"}, "the image of the application"),
        (SERVERLESS, {"python_env": "requirements.txt"}, "a packed environment"),
        (EKS, {"python_env": "environment.yml"}, "a packed environment"),
    ],
)
def test_words_without_a_counterpart_are_refused(aws, on, words, problem):
    """Before anything is started."""
    with pytest.raises(InvalidRequest, match=problem):
        Run(aws, on).request(**words)


def test_the_cause_is_found_in_the_driver_s_log(aws):
    """Under the log URI, as EMR Serverless lays it out."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="logs")
    text = b'Traceback (most recent call last):\n  File "/tmp/x.py", line 3, in <module>\nZeroDivisionError: no\n'
    key = "runs/applications/00f1abcdexample/jobs/run1/SPARK_DRIVER/stderr.gz"
    s3.put_object(Bucket="logs", Key=key, Body=gzip.compress(text))
    run = Run(aws, SERVERLESS)
    cause = probable_cause(run.place.logs(run.clients, "run1"))
    assert ("ZeroDivisionError", "x.py:3", f"s3://logs/{key}") == (cause.exception, cause.place, cause.log)


@pytest.mark.spark
def test_the_operator_starts_one_run_for_a_run_key(local_aws, run_dag, monkeypatch):
    """Through Airflow, on the local EMR Serverless; a second run of the date starts none."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://state/runs")
    local_aws.client("s3").create_bucket(Bucket="state")
    local_aws.client("s3").create_bucket(Bucket="code")
    local_aws.client("s3").put_object(Bucket="code", Key="x.py", Body=b"import sys; assert sys.argv[1:] == ['a b']")
    service = local_aws.client("emr-serverless")
    application = service.create_application(releaseLabel="emr-7.5.0", type="SPARK", name="runs")["applicationId"]
    with DAG("job_run", schedule=None) as dag:
        words = {**SPARK, "executor_memory": "1GiB", "requires": {"spark": "3.5"}}
        EmrJobRunOperator(
            task_id="work", spark=words, on={"emr_serverless": {"application": application, "role": ROLE}}
        )
    assert {"work": "success"} == run_dag(dag).tasks
    assert {"work": "success"} == run_dag(dag).tasks
    assert 1 == len(service.list_job_runs(applicationId=application)["jobRuns"])


@pytest.mark.parametrize("on", ["emr_serverless", "emr_eks"])
def test_a_release_without_what_the_block_requires_starts_nothing(local_aws, run_dag, monkeypatch, on):
    """The application's release, or the one that the run asks for; before anything is claimed."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://state/runs")
    local_aws.client("s3").create_bucket(Bucket="state")
    if on == "emr_serverless":
        made = local_aws.client("emr-serverless").create_application(releaseLabel="emr-7.5.0", type="SPARK")
        where = {"application": made["applicationId"]}
    else:
        where = {"virtual_cluster": "vc1example", "release": "emr-7.5.0-latest"}
    with DAG(f"requires_{on}", schedule=None) as dag:
        words = {**SPARK, "requires": {"spark": "4"}}
        EmrJobRunOperator(task_id="work", spark=words, on={on: {**where, "role": ROLE}}, retries=2)
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert "requires: emr-7.5.0 has spark 3.5.2, not 4" in finished.output
    assert "Contents" not in local_aws.client("s3").list_objects_v2(Bucket="state")
