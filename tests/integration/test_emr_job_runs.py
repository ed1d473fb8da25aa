"""Spark on EMR Serverless and EMR on EKS: one job run, despite kills. Shell scripts replace Spark programs."""

from __future__ import annotations

import gzip

import boto3
import pytest
from airflow.sdk import DAG
from botocore.stub import Stubber

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr.diagnosis import probable_cause
from airflow_batchemr.aws.emr.job_run import job_run_target
from airflow_batchemr.aws.emr.job_run_targets import token
from airflow_batchemr.aws.errors import AwsError, Expired, InvalidRequest
from airflow_batchemr.engine.loop import StoppedError
from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.operators.emr import EmrJobRunOperator
from airflow_batchemr.triggers.emr_job_run import runs_poller
from tests.integration.emr_engine import Calls, HangsAt, JobRunJob, eventually, killed_at

ROLE = "arn:aws:iam::123456789012:role/runs"
SERVERLESS = {"emr_serverless": {"application": "default", "role": ROLE, "log_uri": "s3://logs/runs"}}
EKS = {"emr_eks": {"virtual_cluster": "default", "role": ROLE, "release": "emr-7.5.0-latest"}}
SPARK = {"py": "s3://code/x.py", "args": ["a b"], "conf": {"spark.x": "y z"}, "executor_memory": "4GiB"}
HOLD = "until [ -e go ]; do sleep 0.05; done"


@pytest.fixture
def aws(program_server):
    program_server.reset()
    program_server.reset_requests()
    for bucket in ("state", "logs"):
        program_server.client("s3").create_bucket(Bucket=bucket)
    yield program_server
    program_server.reset()


@pytest.fixture(params=[SERVERLESS, EKS], ids=["serverless", "eks"])
def job(request, aws, tmp_path):
    """`job(script)` creates a job run of a shell script that records that it ran, on either service."""

    def make(script="true", **options):
        program = tmp_path / "program.sh"
        program.write_text(f"cd {tmp_path}; echo x >> ran; {script}\n")
        return JobRunJob(aws, request.param, {"py": str(program)}, **options)

    yield make
    aws.faults.clear()
    (tmp_path / "go").touch()


def ran(tmp_path):
    """Number of times that the script has started."""
    return len((tmp_path / "ran").read_text().split()) if (tmp_path / "ran").exists() else 0


def states(job):
    """States of all job runs, newest first."""
    clients = Calls().clients(job.aws)
    return [run.state for run in job_run_target(job.on).listed(clients)]


def run_id(outcome):
    return outcome.waits[0].handle.jobs[0].job_id


def test_job_run_is_started_once_and_recorded(job, tmp_path):
    """Later passes find it in the ledger."""
    work = job(HOLD)
    first = work.pass_()
    assert (
        run_id(first)
        == run_id(work.pass_(prior_submissions=first.prior_submissions))
        == run_id(work.pass_(try_number=2))
    )
    (tmp_path / "go").touch()
    assert "succeed" == work.try_(prior_submissions=first.prior_submissions).action
    assert (1, 1) == (ran(tmp_path), work.aws.requests()["StartJobRun"])
    assert ["succeeded"] == work.outcomes()


def test_failed_job_run_fails_the_try_and_the_next_try_starts_another(job, tmp_path):
    """The reason is in the ledger."""
    work = job("[ -e fixed ] || exit 3")
    failed = work.try_()
    assert ("fail", 1) == (failed.action, ran(tmp_path))
    assert failed.failures[0].reason.startswith("FAILED: ")
    (tmp_path / "fixed").touch()
    assert "succeed" == work.try_(try_number=2).action
    assert ["failed", "succeeded"] == work.outcomes()
    assert 2 == ran(tmp_path)


def test_job_run_that_ends_well_without_its_object_has_failed(job, tmp_path):
    """With `explicit_success`. The driver gets the URI; each submission has its own."""
    say = 'echo done | aws s3 cp --quiet - "$BATCHEMR_SUCCESS_URI"'
    work = job(f"[ ! -e fixed ] || {say}", explicit_success=True)
    failed = work.try_()
    assert "fail" == failed.action
    (failure,) = failed.failures
    uri = work.ledger().document_uri("explicit/0001/0")
    assert f"exit 0, but no object at BATCHEMR_SUCCESS_URI ({uri})" == failure.reason
    assert "no explicit success" == failure.cause
    (tmp_path / "fixed").touch()
    assert "succeed" == work.try_(try_number=2).action
    assert (["failed", "succeeded"], 2) == (work.outcomes(), ran(tmp_path))


#: Number of calls of a try with one job run; waiting adds more.
POINTS = [(when, number) for number in range(10) for when in ("before", "after")]


@pytest.mark.parametrize(("when", "number"), POINTS, ids=[f"{when}{number}" for when, number in POINTS])
def test_next_try_takes_over_the_job_run_of_a_killed_worker(job, tmp_path, lease_over, when, number):
    """The worker is killed at any of its calls, and the script runs once."""
    work = job()
    killed_at(work, when, number, least=5)
    lease_over()
    assert "succeed" == work.try_(try_number=2).action
    assert 1 == ran(tmp_path)
    assert 1 == len(states(work))


@pytest.mark.parametrize("fault", ["drop", "error_after", "drop_before", "error", "throttle"])
def test_lost_response_to_start_job_run_starts_no_second_run(job, tmp_path, fault):
    """With the same client token, a second call returns the same run."""
    work = job()
    work.aws.faults.plan("StartJobRun", fault)
    assert "succeed" == work.try_().action
    assert (1, 1) == (ran(tmp_path), len(states(work)))
    assert [1] == work.ledger().read().numbers


@pytest.mark.parametrize("try_number", [1, 2], ids=["same_try", "next_try"])
def test_try_waits_for_a_job_run_that_is_not_visible_yet(job, tmp_path, try_number):
    """For the grace period, without a second run."""
    work = job(HOLD)
    first = work.pass_()
    work.aws.faults.hide(run_id(first), 2)
    (tmp_path / "go").touch()
    assert (
        "succeed"
        == work.try_(
            try_number=try_number, prior_submissions=first.prior_submissions if try_number == 1 else None
        ).action
    )
    assert (1, 1) == (ran(tmp_path), work.aws.requests()["StartJobRun"])


@pytest.mark.parametrize("try_number", [1, 2], ids=["same_try", "next_try"])
def test_job_run_that_stays_invisible_is_lost_and_not_replaced(job, tmp_path, try_number):
    """The try fails after the grace period, and the next try starts another run."""
    work = job(HOLD, policy=Policy(visibility_grace=2.0))
    first = work.pass_()
    eventually(lambda: ran(tmp_path))
    work.aws.faults.hide(run_id(first))
    outcome = work.try_(try_number=try_number, prior_submissions=first.prior_submissions if try_number == 1 else None)
    assert ("fail", True) == (outcome.action, outcome.lost)
    assert [("lost", run_id(first))] == [(failure.cause, failure.job_id) for failure in outcome.failures]
    assert 1 == work.aws.requests()["StartJobRun"]
    work.aws.faults.clear()
    (tmp_path / "go").touch()
    assert "succeed" == work.try_(try_number=try_number + 1).action
    assert ["lost", "succeeded"] == work.outcomes()


def test_try_that_read_an_empty_ledger_finds_the_marker_of_its_successor(job, tmp_path):
    """It hangs after its first read, and the successor runs everything."""
    work = job()
    late = HangsAt("after", "ListObjectsV2")
    late.run(lambda: work.try_(late))
    assert "succeed" == work.try_(try_number=2).action
    late.wake()
    assert "succeed" == late.outcome.action
    assert (1, 1) == (ran(tmp_path), len(states(work)))


def test_task_killed_while_it_starts_a_run_leaves_no_run(job):
    """The search for open submissions may precede the record of this one."""
    work, killed = job("sleep 60"), []

    class Killed(Calls):
        def at(self, when, operation):
            if (when, operation) == ("after", "StartJobRun"):
                killed.append(operation)

    with pytest.raises(StoppedError):
        work.pass_(Killed(), stopping=lambda: bool(killed))
    eventually(lambda: states(work) == ["CANCELLED"])
    assert "the task was killed" == work.ledger().history().submissions[0].stop.reason
    with pytest.raises(StoppedError):
        work.pass_(try_number=2, stopping=lambda: True)
    assert 1 == len(states(work))


def test_stopped_job_run_is_cancelled_and_is_not_a_failure(job, tmp_path):
    """After a clear, the next try starts another run."""
    work = job(HOLD)
    first = work.pass_()
    eventually(lambda: ran(tmp_path))
    work.stop(first.waits)
    eventually(lambda: states(work) == ["CANCELLED"])
    (tmp_path / "go").touch()
    assert "succeed" == work.try_(try_number=2).action
    assert ["stopped", "succeeded"] == work.outcomes()
    assert 2 == ran(tmp_path)


def test_refused_start_leaves_nothing_and_the_next_try_starts(job, tmp_path):
    """The error names the IAM action."""
    work = job()
    work.aws.faults.refuse("StartJobRun")
    with pytest.raises(AwsError, match=r"IAM action emr-(serverless|containers):StartJobRun"):
        work.try_()
    assert "succeed" == work.try_(try_number=2).action
    assert 1 == ran(tmp_path)


def test_poll_uses_new_credentials_when_the_old_ones_have_expired():
    """A triggerer runs for weeks. Uses a stub, because the local AWS does not check the expiry of credentials."""
    client = boto3.client(
        "emr-containers",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    stub, made = Stubber(client), []
    poller = runs_poller(Clients(lambda *_: made.append(1) or client), job_run_target(EKS))
    stub.add_client_error("describe_job_run", "ExpiredTokenException", http_status_code=400)
    stub.add_response("describe_job_run", {"jobRun": {"id": "run1", "name": "n", "state": "RUNNING"}})
    with stub:
        with pytest.raises(Expired):
            poller._describe(["run1"])
        assert "RUNNING" == poller._describe(["run1"])["run1"].state
    assert 2 == len(made)


def request(aws, on, **spark):
    """The arguments of StartJobRun."""
    work = JobRunJob(aws, on, {**SPARK, **spark})
    return work.engine().backend.request(1), work.identity.submission_name(1)


def test_request_has_all_options_of_the_block(aws):
    """Quoted for a shell, with the variables of driver and executors, and the log URI."""
    made, name = request(aws, SERVERLESS, python_env="s3://env/e.tar.gz")
    submit = made["jobDriver"]["sparkSubmit"]
    assert ("s3://code/x.py", ["a b"]) == (submit["entryPoint"], submit["entryPointArguments"])
    parameters = submit["sparkSubmitParameters"]
    assert "--conf 'spark.x=y z'" in parameters
    assert "spark.emr-serverless.driverEnv.A=1" in parameters
    assert "spark.executorEnv.A=1" in parameters
    assert "--conf 'spark.archives=s3://env/e.tar.gz#environment'" in parameters
    assert "spark.executor.memory=4096m" in parameters
    assert token(name) == made["clientToken"]
    monitoring = made["configurationOverrides"]["monitoringConfiguration"]
    assert {"s3MonitoringConfiguration": {"logUri": "s3://logs/runs"}} == monitoring
    both, _ = request(aws, SERVERLESS, python_env="s3://env/e.tar.gz", archives=["s3://data/d.zip#data"])
    parameters = both["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"]
    assert "--conf 'spark.archives=s3://data/d.zip#data,s3://env/e.tar.gz#environment'" in parameters
    assert "--archives" not in parameters
    eks, _ = request(aws, EKS, docker_image="1.dkr.ecr.us-east-1.amazonaws.com/ml:2")
    assert 64 >= len(eks["name"])
    parameters = eks["jobDriver"]["sparkSubmitJobDriver"]["sparkSubmitParameters"]
    assert "spark.kubernetes.container.image=1.dkr.ecr.us-east-1.amazonaws.com/ml:2" in parameters


@pytest.mark.parametrize(
    ("on", "options", "problem"),
    [
        (SERVERLESS, {"docker_image": "x"}, "the image of the application"),
        (SERVERLESS, {"python_env": "requirements.txt"}, "a packed environment"),
        (EKS, {"python_env": "environment.yml"}, "a packed environment"),
    ],
)
def test_options_without_an_equivalent_are_rejected(aws, on, options, problem):
    """Before anything is started."""
    with pytest.raises(InvalidRequest, match=problem):
        request(aws, on, **options)


def test_cause_is_found_in_the_log_of_the_driver(aws):
    """Below the log URI, in the layout of EMR Serverless."""
    text = b'Traceback (most recent call last):\n  File "/tmp/x.py", line 3, in <module>\nZeroDivisionError: no\n'
    key = "runs/applications/default/jobs/run1/SPARK_DRIVER/stderr.gz"
    aws.client("s3").put_object(Bucket="logs", Key=key, Body=gzip.compress(text))
    cause = probable_cause(job_run_target(SERVERLESS).logs(Calls().clients(aws), "run1"))
    assert ("ZeroDivisionError", "x.py:3", f"s3://logs/{key}") == (cause.exception, cause.place, cause.log)


@pytest.mark.spark
def test_operator_starts_one_run_per_run_key(local_aws, run_dag, monkeypatch):
    """In Airflow and with real Spark. A second run of the date starts no other run."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://state/runs")
    local_aws.client("s3").create_bucket(Bucket="state")
    local_aws.client("s3").create_bucket(Bucket="code")
    local_aws.client("s3").put_object(Bucket="code", Key="x.py", Body=b"import sys; assert sys.argv[1:] == ['a b']")
    service = local_aws.client("emr-serverless")
    application = service.create_application(releaseLabel="emr-7.5.0", type="SPARK", name="runs")["applicationId"]
    with DAG("job_run", schedule=None) as dag:
        spark = {**SPARK, "executor_memory": "1GiB", "requires": {"spark": "3.5"}}
        EmrJobRunOperator(
            task_id="work", spark=spark, on={"emr_serverless": {"application": application, "role": ROLE}}
        )
    assert {"work": "success"} == run_dag(dag).tasks
    assert {"work": "success"} == run_dag(dag).tasks
    assert 1 == len(service.list_job_runs(applicationId=application)["jobRuns"])


@pytest.mark.parametrize("on", ["emr_serverless", "emr_eks"])
def test_release_without_the_required_versions_starts_nothing(local_aws, run_dag, monkeypatch, on):
    """The release is that of the application or of the request. Nothing is claimed."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://state/runs")
    local_aws.client("s3").create_bucket(Bucket="state")
    if on == "emr_serverless":
        made = local_aws.client("emr-serverless").create_application(releaseLabel="emr-7.5.0", type="SPARK")
        where = {"application": made["applicationId"]}
    else:
        where = {"virtual_cluster": "vc1example", "release": "emr-7.5.0-latest"}
    with DAG(f"requires_{on}", schedule=None) as dag:
        spark = {**SPARK, "requires": {"spark": "4"}}
        EmrJobRunOperator(task_id="work", spark=spark, on={on: {**where, "role": ROLE}}, retries=2)
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert "requires: emr-7.5.0 has spark 3.5.2, not 4" in finished.output
    assert "Contents" not in local_aws.client("s3").list_objects_v2(Bucket="state")
