"""The local EMR Serverless and EMR on EKS: documented states, tokens and errors, with job runs that really run.

Tests that do not need Spark replace spark-submit with a program that runs a shell script.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import urllib.request
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import botocore.exceptions
import pytest
from botocore.config import Config

from airflow_batchemr.local import LocalAWS
from tests.integration.conftest import SUBMIT

ROLE = "arn:aws:iam::123456789012:role/runs"
ONCE = Config(retries={"total_max_attempts": 1})
SPARE = {"id": "eks", "type": "EKS", "info": {"eksInfo": {"namespace": "spare"}}}


@dataclass
class Service:
    """One of the two services; `place` is an application or a virtual cluster."""

    name: str
    client: object
    place: str
    states: tuple[str, ...]
    succeeded: str
    cancelling: str

    @property
    def serverless(self):
        return self.name == "emr-serverless"

    @property
    def _place(self):
        return {"applicationId" if self.serverless else "virtualClusterId": self.place}

    def _run(self, run_id):
        return {**self._place, "jobRunId" if self.serverless else "id": run_id}

    def request(self, entry_point, *arguments, parameters="", token=None, **more):
        submit = {"entryPoint": str(entry_point), "entryPointArguments": list(arguments)}
        if parameters:
            submit["sparkSubmitParameters"] = parameters
        driver = {"sparkSubmit" if self.serverless else "sparkSubmitJobDriver": submit}
        release = {} if self.serverless else {"releaseLabel": "emr-7.5.0-latest"}
        given = {"clientToken": token} if token else {}
        return {**self._place, "executionRoleArn": ROLE, "jobDriver": driver, **release, **given, **more}

    def start(self, entry_point, *arguments, **more):
        answer = self.client.start_job_run(**self.request(entry_point, *arguments, **more))
        return answer["jobRunId" if self.serverless else "id"]

    def describe(self, run_id):
        call = self.client.get_job_run if self.serverless else self.client.describe_job_run
        return call(**self._run(run_id))["jobRun"]

    def state(self, run_id):
        return self.describe(run_id)["state"]

    def cancel(self, run_id, **more):
        return self.client.cancel_job_run(**self._run(run_id), **more)

    def list(self, **filters):
        return [run["id"] for run in self.client.list_job_runs(**self._place, **filters)["jobRuns"]]

    def wait(self, run_id, *states, seconds=120):
        deadline = time.monotonic() + seconds
        wanted = states or (self.succeeded, "FAILED", "CANCELLED")
        while (run := self.describe(run_id))["state"] not in wanted:
            assert time.monotonic() < deadline, run
            time.sleep(0.02)
        return run

    def logs(self, log_uri, run_id):
        if self.serverless:
            return f"{log_uri}/applications/{self.place}/jobs/{run_id}/SPARK_DRIVER"
        return f"{log_uri}/{self.place}/jobs/{run_id}/containers/spark-{run_id}/spark-{run_id}-driver"


def service(aws, name, **options):
    client = aws.client(name, **options)
    if name == "emr-serverless":
        states = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING")
        return Service(name, client, "default", states, "SUCCESS", "CANCELLING")
    return Service(name, client, "default", ("PENDING", "SUBMITTED", "RUNNING"), "COMPLETED", "CANCEL_PENDING")


@pytest.fixture
def aws(program_server):
    program_server.reset()
    program_server.client("s3").create_bucket(Bucket="logs")
    yield program_server
    program_server.reset()
    assert_nothing_runs(program_server)


@pytest.fixture(params=["emr-serverless", "emr-containers"])
def runs(request, aws):
    """Each of the two services."""
    return service(aws, request.param)


@pytest.fixture
def serverless(aws):
    return service(aws, "emr-serverless")


@pytest.fixture
def script(tmp_path):
    """`script(text)` returns the path of a shell script."""

    def write(text):
        path = tmp_path / f"program{len(list(tmp_path.iterdir()))}.sh"
        path.write_text(text)
        return path

    return write


def assert_nothing_runs(server):
    """Assert that no process has its working directory below the server's folder."""
    deadline = time.monotonic() + 30
    root = str(server.root / "job-runs")
    while left := [pid for pid in Path("/proc").glob("[0-9]*") if _works_in(pid, root)]:
        assert time.monotonic() < deadline, [(pid / "cmdline").read_bytes() for pid in left]
        time.sleep(0.05)


def _works_in(pid, root):
    with suppress(OSError):
        return str((pid / "cwd").readlink()).startswith(root)
    return False


def rejected(call, code, status, *arguments, **params):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **params)
    response = caught.value.response
    assert (code, status) == (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"])
    return response["Error"]["Message"]


def monitoring(log_uri="s3://logs/runs/"):
    return {"monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": log_uri}}}


def test_a_run_goes_through_the_documented_states(aws, runs, script, tmp_path):
    """All states occur in order, and no others."""
    kind = aws.emr_serverless if runs.serverless else aws.emr_containers
    kind.runs.delay = 1.0
    program = script(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    run_id = runs.start(program, name="nightly", tags={"team": "data"})
    seen = []
    while not seen or seen[-1] != runs.succeeded:
        state = runs.state(run_id)
        if state not in seen[-1:]:
            seen.append(state)
        if state == "RUNNING":
            (tmp_path / "go").touch()
        time.sleep(0.02)
    assert (*runs.states, runs.succeeded) == tuple(seen)
    run = runs.describe(run_id)
    assert ("nightly", {"team": "data"}) == (run["name"], run["tags"])


def test_exit_code_and_logs_of_a_failed_driver(aws, runs, script):
    """The run is FAILED with a reason, and the output is in S3 in the service's layout."""
    program = script('echo out "$1"; echo "ValueError: no such shop" >&2; exit 3')
    run_id = runs.start(program, "a b", configurationOverrides=monitoring())
    run = runs.wait(run_id)
    assert "FAILED" == run["state"]
    if runs.serverless:
        assert "ExitCode: 3" in run["stateDetails"]
        assert "ValueError: no such shop" in run["stateDetails"]
    else:
        assert "USER_ERROR" == run["failureReason"]
        assert "exit code 3" in run["stateDetails"]
    folder = runs.logs("runs", run_id)
    s3 = aws.client("s3")
    texts = {
        kind: gzip.decompress(s3.get_object(Bucket="logs", Key=f"{folder}/{kind}.gz")["Body"].read()).decode()
        for kind in ("stdout", "stderr")
    }
    assert {"stdout": "out a b\n", "stderr": "ValueError: no such shop\n"} == texts
    rejected(runs.cancel, "ValidationException", 400, run_id)


def test_logs_have_the_layout_that_failure_reports_read(aws, runs):
    """The folder is the same as in `aws/emr/job_run_targets.py`."""
    from airflow_batchemr.aws.emr.job_run_targets import Eks, Serverless

    target = (Serverless if runs.serverless else Eks)("default", ROLE)
    assert f"{runs.logs('runs', 'r1')}/" == f"runs/{target.log_folder('r1')}"


def test_properties_set_environment_variables_of_the_driver(aws, runs, script):
    """Only with the service's prefix. The run's parameters override its `spark-defaults`."""
    mine = "spark.emr-serverless.driverEnv." if runs.serverless else "spark.kubernetes.driverEnv."
    program = script('echo "[$A] [$B] [$C]"')
    defaults = {"classification": "spark-defaults", "properties": {f"{mine}A": "default", f"{mine}B": "default"}}
    run_id = runs.start(
        program,
        parameters=f"--conf '{mine}A=x y' --conf spark.yarn.appMasterEnv.C=z --deploy-mode cluster",
        configurationOverrides={**monitoring(), "applicationConfiguration": [defaults]},
    )
    assert runs.succeeded == runs.wait(run_id)["state"]
    key = f"{runs.logs('runs', run_id)}/stdout.gz"
    text = gzip.decompress(aws.client("s3").get_object(Bucket="logs", Key=key)["Body"].read())
    assert b"[x y] [default] []\n" == text


def test_a_repeated_client_token_returns_the_same_run(aws, runs, script):
    """Also after its end. With another request, it is an error with the service's code."""
    program = script("exit 0")
    first = runs.start(program, token="t1", name="one")
    runs.wait(first)
    assert first == runs.start(program, token="t1", name="one")
    code, status = ("ConflictException", 409) if runs.serverless else ("ValidationException", 400)
    rejected(runs.start, code, status, program, token="t1", name="two")
    assert [first] == runs.list()
    assert first != runs.start(program, token="t2", name="one")


def test_a_cancelled_run_ends_all_its_processes(aws, runs, script, tmp_path, monkeypatch):
    """A process that ignores SIGTERM is killed after the grace period; a second request has no effect."""
    monkeypatch.setattr("airflow_batchemr.local.emr_containers.service.GRACE", 2)
    program = script(f"sleep 600 & echo $! > {tmp_path}/pid; trap '' TERM; wait; sleep 600")
    run_id = runs.start(program)
    runs.wait(run_id, "RUNNING")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.02)
    child = int((tmp_path / "pid").read_text())
    runs.cancel(run_id, **({"shutdownGracePeriodInSeconds": 2} if runs.serverless else {}))
    assert runs.cancelling == runs.state(run_id)
    runs.cancel(run_id)
    run = runs.wait(run_id)
    assert "CANCELLED" == run["state"]
    assert "failureReason" not in run
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_run_cancelled_before_its_start_never_runs(aws, runs, script, tmp_path):
    """Its driver is not executed."""
    kind = aws.emr_serverless if runs.serverless else aws.emr_containers
    kind.runs.delay = 2.0
    run_id = runs.start(script(f"touch {tmp_path}/ran"))
    runs.cancel(run_id)
    assert "CANCELLED" == runs.wait(run_id)["state"]
    time.sleep(3)
    assert not (tmp_path / "ran").exists()


def test_a_driver_leaves_no_files(aws, runs, script):
    """Neither its own files nor files in the working folder of the next driver."""
    runs.wait(runs.start(script("echo x > left; mkdir sub")))
    runs.wait(runs.start(script("exit 0")))
    left = [path for path in (aws.root / "job-runs").rglob("*") if path.is_file()]
    assert [] == left
    assert ["work"] == [path.name for path in (aws.root / "job-runs").iterdir()]


def test_a_run_waits_for_a_slot_before_it_is_running(aws, runs, script, tmp_path):
    """With two slots, the third run stays in the state before RUNNING, where it can be cancelled."""
    program = script(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    first, second = runs.start(program), runs.start(program)
    for run_id in (first, second):
        runs.wait(run_id, "RUNNING")
    third, fourth = runs.start(program), runs.start(program)
    for run_id in (third, fourth):
        runs.wait(run_id, runs.states[-2])
    runs.cancel(third)
    assert "CANCELLED" == runs.wait(third)["state"]
    assert runs.states[-2] == runs.state(fourth)
    (tmp_path / "go").touch()
    assert {runs.succeeded} == {runs.wait(run_id)["state"] for run_id in (first, second, fourth)}


def test_lists_filter_and_page_newest_first(aws, runs, script):
    """By time and state, over several pages, each run exactly once."""
    program, failing = script("exit 0"), script("exit 1")
    ids = [runs.start(program) for _ in range(4)]
    for run_id in ids:
        runs.wait(run_id)
    time.sleep(0.01)
    later = datetime.now(timezone.utc)
    failed = runs.start(failing)
    runs.wait(failed)
    newest_first = [failed, *ids[::-1]]
    assert newest_first == runs.list()
    assert [failed] == runs.list(states=["FAILED"])
    after, before = ("createdAtAfter", "createdAtBefore") if runs.serverless else ("createdAfter", "createdBefore")
    assert [failed] == runs.list(**{after: later})
    assert ids[::-1] == runs.list(**{before: later})
    assert [] == runs.list(**{after: later + timedelta(minutes=1)})
    pages = runs.client.get_paginator("list_job_runs").paginate(**runs._place, PaginationConfig={"PageSize": 2})
    assert [newest_first[:2], newest_first[2:4], newest_first[4:]] == [
        [run["id"] for run in page["jobRuns"]] for page in pages
    ]


def test_unknown_ids_are_errors_of_the_service(aws, runs, script):
    """ResourceNotFoundException if the operation has it, with the status of the service model."""
    status = 404 if runs.serverless else 400
    rejected(runs.describe, "ResourceNotFoundException", status, "00none")
    if runs.serverless:
        rejected(runs.cancel, "ResourceNotFoundException", status, "00none")
    else:
        rejected(runs.cancel, "ValidationException", 400, "00none")
    run_id = runs.start(script("exit 0"))
    runs.place = "00none"
    rejected(runs.start, "ResourceNotFoundException", status, "s3://code/x.py")
    rejected(runs.describe, "ResourceNotFoundException", status, run_id)
    rejected(runs.list, "ValidationException", 400)


@pytest.mark.parametrize(
    "options",
    [
        {"executionRoleArn": "arn:aws:iam::123:role/runs", "name": "x"},
        {"name": "x" * 257},
        {"clientToken": "x" * 65},
        {"tags": {f"k{number}": "v" for number in range(201)}},
    ],
    ids=["role", "name", "token", "tags"],
)
def test_limits_of_the_models_are_checked(aws, runs, options):
    """Lengths and patterns, which boto3 does not check."""
    rejected(runs.client.start_job_run, "ValidationException", 400, **{**runs.request("s3://code/x.py"), **options})
    assert [] == runs.list()


def test_an_unknown_release_is_rejected(aws):
    """EMR on EKS requires `-latest` or a date."""
    eks, serverless = service(aws, "emr-containers"), service(aws, "emr-serverless")
    for label in ("emr-7.5.0", "emr-99.0.0-latest"):
        rejected(eks.start, "ValidationException", 400, "s3://code/x.py", releaseLabel=label)
    create = serverless.client.create_application
    rejected(create, "ValidationException", 400, releaseLabel="emr-99.0.0", type="SPARK")


def test_tags_of_applications_clusters_and_runs(aws, runs, script):
    """They are added, removed and listed by ARN."""
    run_id = runs.start(script("exit 0"), tags={"a": "1"})
    describe = runs.client.get_application if runs.serverless else runs.client.describe_virtual_cluster
    place = describe(**{"applicationId" if runs.serverless else "id": "default"})
    arn_of_place = place["application" if runs.serverless else "virtualCluster"]["arn"]
    for arn, before in ((runs.describe(run_id)["arn"], {"a": "1"}), (arn_of_place, {})):
        runs.client.tag_resource(resourceArn=arn, tags={"b": "2", "c": "3"})
        runs.client.untag_resource(resourceArn=arn, tagKeys=["c"])
        assert {**before, "b": "2"} == runs.client.list_tags_for_resource(resourceArn=arn)["tags"]
    assert {"a": "1", "b": "2"} == runs.describe(run_id)["tags"]


def test_times_are_strings_in_emr_on_eks_and_numbers_in_serverless(aws, runs, script):
    """As in the service models, for SDKs other than boto3, which reads both."""
    run_id = runs.start(script("exit 0"))
    raw = []
    runs.client.meta.events.register("before-parse.*", lambda response_dict, **_: raw.append(response_dict["body"]))
    runs.describe(run_id)
    created = json.loads(raw[0])["jobRun"]["createdAt"]
    assert isinstance(created, float if runs.serverless else str)


# Faults


def test_faults_affect_job_run_operations(aws, script):
    """Each kind has the codes of the service. After a lost response, the client token finds the run."""
    for name in ("emr-serverless", "emr-containers"):
        runs = service(aws, name, config=ONCE)
        program = script("exit 0")
        aws.faults.throttle("StartJobRun")
        rejected(runs.start, "ThrottlingException", 429, program)
        aws.faults.error("ListJobRuns")
        rejected(runs.list, "InternalServerException", 500)
        aws.faults.refuse("CancelJobRun")
        rejected(runs.cancel, "AccessDeniedException", 403, "x")
        assert [] == runs.list()
        aws.faults.drop("StartJobRun")
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            runs.start(program, token="t")
        (lost,) = runs.list()
        assert lost == runs.start(program, token="t")
    assert 6 == aws.requests()["StartJobRun"]


def test_a_hidden_run_is_unknown_only_to_describe_and_list(aws, runs, script):
    """It becomes visible after its time, and can be cancelled while it is hidden."""
    visible = runs.start(script("exit 0"))
    time.sleep(0.01)  # times of AWS have milliseconds
    aws.faults.hide_new(4)
    hidden = runs.start(script("sleep 600"))
    status = 404 if runs.serverless else 400
    rejected(runs.describe, "ResourceNotFoundException", status, hidden)
    assert [visible] == runs.list()
    deadline = time.monotonic() + 60
    while [hidden, visible] != runs.list():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    aws.faults.hide(hidden)
    rejected(runs.describe, "ResourceNotFoundException", status, hidden)
    runs.cancel(hidden)
    aws.faults.clear()
    assert "CANCELLED" == runs.wait(hidden)["state"]


def test_hidden_jobs_and_clusters_are_not_visible(aws):
    """Batch omits the job; EMR says that the id is not valid. Planned over HTTP, as by other processes."""
    url, key = f"{aws.endpoint_url}/_local/faults", aws.environment()["AWS_ACCESS_KEY_ID"]
    body = json.dumps({"fault": "hide_new"}).encode()
    headers = {"Authorization": f"Bearer {key}"}
    urllib.request.urlopen(urllib.request.Request(url, body, headers)).close()  # noqa: S310 (ours)
    batch, emr = aws.client("batch"), aws.client("emr")
    container = {"image": "i", "command": ["sleep", "600"], "vcpus": 1, "memory": 64}
    batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=container)
    array = batch.submit_job(
        jobName="a", jobQueue="default", jobDefinition="d", arrayProperties={"size": 2}
    )["jobId"]  # fmt: skip
    filters = [{"name": "JOB_NAME", "values": ["a"]}]
    instances = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    step = {"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["sleep", "600"]}}
    cluster = emr.run_job_flow(
        Name="c", ReleaseLabel="emr-7.5.0", ServiceRole="r", JobFlowRole="p", Instances=instances, Steps=[step]
    )["JobFlowId"]
    assert [] == batch.describe_jobs(jobs=[array, f"{array}:0"])["jobs"]
    assert [] == batch.list_jobs(jobQueue="default", filters=filters)["jobSummaryList"]
    assert [] == batch.list_jobs(arrayJobId=array)["jobSummaryList"]
    assert [] == emr.list_clusters()["Clusters"]
    message = f"Cluster id '{cluster}' is not valid."
    for call in (emr.describe_cluster, emr.list_steps, emr.list_instances):
        assert message == rejected(call, "InvalidRequestException", 400, ClusterId=cluster)
    aws.faults.clear()
    step_id = emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    aws.faults.hide(step_id)
    assert [] == emr.list_steps(ClusterId=cluster)["Steps"]
    rejected(emr.describe_step, "InvalidRequestException", 400, ClusterId=cluster, StepId=step_id)
    assert 3 == len(batch.describe_jobs(jobs=[array, f"{array}:0", f"{array}:1"])["jobs"])


# Applications and virtual clusters


def wait_application(client, application, state):
    deadline = time.monotonic() + 60
    while client.get_application(applicationId=application)["application"]["state"] != state:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_application_goes_through_the_documented_states(serverless):
    """It can be created, started, stopped and deleted, each only in the documented states."""
    client = serverless.client
    options = {"releaseLabel": "emr-7.5.0", "type": "SPARK", "name": "mine", "clientToken": "a", "tags": {"k": "v"}}
    application = client.create_application(**options)["applicationId"]
    assert application == client.create_application(**options)["applicationId"]
    rejected(client.create_application, "ConflictException", 409, **{**options, "name": "other"})
    wait_application(client, application, "CREATED")
    client.start_application(applicationId=application)
    wait_application(client, application, "STARTED")
    rejected(client.delete_application, "ValidationException", 400, applicationId=application)
    rejected(client.update_application, "ValidationException", 400, applicationId=application)
    client.stop_application(applicationId=application)
    wait_application(client, application, "STOPPED")
    changed = client.update_application(applicationId=application, releaseLabel="emr-7.4.0")["application"]
    assert ("emr-7.4.0", {"k": "v"}) == (changed["releaseLabel"], changed["tags"])
    client.delete_application(applicationId=application)
    assert "TERMINATED" == client.get_application(applicationId=application)["application"]["state"]
    assert [application] == [one["id"] for one in client.list_applications(states=["TERMINATED"])["applications"]]
    assert [application, "default"] == [one["id"] for one in client.list_applications()["applications"]]
    serverless.place = application
    rejected(serverless.start, "ValidationException", 400, "s3://code/x.py")
    rejected(client.get_application, "ResourceNotFoundException", 404, applicationId="00none")


def test_a_run_starts_its_application_unless_auto_start_is_disabled(serverless, script):
    """Otherwise, a run is rejected until the application is started. An application with a run cannot be stopped."""
    assert "SUCCESS" == serverless.wait(serverless.start(script("exit 0")))["state"]
    created = serverless.client.create_application(
        releaseLabel="emr-7.5.0", type="SPARK", autoStartConfiguration={"enabled": False}
    )
    serverless.place = created["applicationId"]
    rejected(serverless.start, "ValidationException", 400, "s3://code/x.py")
    wait_application(serverless.client, serverless.place, "CREATED")
    serverless.client.start_application(applicationId=serverless.place)
    wait_application(serverless.client, serverless.place, "STARTED")
    run_id = serverless.start(script("sleep 600"))
    serverless.wait(run_id, "RUNNING")
    rejected(serverless.client.stop_application, "ValidationException", 400, applicationId=serverless.place)
    serverless.cancel(run_id)
    serverless.wait(run_id)
    serverless.client.stop_application(applicationId=serverless.place)


def test_runs_above_max_concurrent_runs_are_queued(serverless, script, tmp_path):
    """Each run starts when the previous one has ended."""
    created = serverless.client.create_application(
        releaseLabel="emr-7.5.0", type="SPARK", schedulerConfiguration={"maxConcurrentRuns": 1}
    )
    serverless.place = created["applicationId"]
    program = script(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    first = serverless.start(program)
    serverless.wait(first, "RUNNING")
    second, third = serverless.start(program), serverless.start(program)
    for run_id in (second, third):
        serverless.wait(run_id, "QUEUED")
    serverless.cancel(second)
    assert "CANCELLED" == serverless.wait(second)["state"]
    assert "QUEUED" == serverless.state(third)
    (tmp_path / "go").touch()
    assert "SUCCESS" == serverless.wait(third)["state"]


def test_an_idle_application_stops_and_a_long_run_is_cancelled(aws, serverless, script):
    """After the minutes in the request, scaled by the clock's speed."""
    aws.clock.speed = 120.0
    created = serverless.client.create_application(
        releaseLabel="emr-7.5.0", type="SPARK", autoStopConfiguration={"idleTimeoutMinutes": 1}
    )
    serverless.place = created["applicationId"]
    run_id = serverless.start(script("sleep 600"), executionTimeoutMinutes=2)
    run = serverless.wait(run_id)
    assert ("CANCELLED", True) == (run["state"], "timed out" in run["stateDetails"])
    wait_application(serverless.client, serverless.place, "STOPPED")


def test_a_namespace_has_only_one_virtual_cluster(aws, script):
    """Until it is deleted, which is rejected while it has runs."""
    eks = service(aws, "emr-containers")
    options = {"name": "mine", "containerProvider": SPARE, "clientToken": "a"}
    cluster = eks.client.create_virtual_cluster(**options)["id"]
    assert cluster == eks.client.create_virtual_cluster(**options)["id"]
    rejected(eks.client.create_virtual_cluster, "ValidationException", 400, name="two", containerProvider=SPARE)
    eks.place = cluster
    run_id = eks.start(script("sleep 600"))
    rejected(eks.client.delete_virtual_cluster, "ValidationException", 400, id=cluster)
    eks.cancel(run_id)
    eks.wait(run_id)
    eks.client.delete_virtual_cluster(id=cluster)
    assert "TERMINATED" == eks.client.describe_virtual_cluster(id=cluster)["virtualCluster"]["state"]
    listed = eks.client.list_virtual_clusters(states=["RUNNING"])["virtualClusters"]
    assert ["default"] == [one["id"] for one in listed]
    rejected(eks.start, "ValidationException", 400, "s3://code/x.py")


def test_the_amazon_provider_starts_and_stops_job_runs(aws, script, monkeypatch):
    """With its unmodified hooks: start, wait and cancel."""
    from airflow.providers.amazon.aws.hooks.emr import EmrContainerHook, EmrServerlessHook

    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    done, endless = str(script("exit 0")), str(script("sleep 600"))
    serverless = EmrServerlessHook()
    driver = {"sparkSubmit": {"entryPoint": done}}
    request = {"applicationId": "default", "executionRoleArn": ROLE, "clientToken": "p"}
    run_id = serverless.conn.start_job_run(**request, jobDriver=driver)["jobRunId"]
    fast = {"Delay": 0.1, "MaxAttempts": 300}
    waiter = serverless.get_waiter("serverless_job_completed")
    waiter.wait(applicationId="default", jobRunId=run_id, WaiterConfig=fast)
    driver = {"sparkSubmit": {"entryPoint": endless}}
    serverless.conn.start_job_run(**{**request, "clientToken": "q"}, jobDriver=driver)
    assert 1 == serverless.cancel_running_jobs("default", waiter_config=fast)
    eks = EmrContainerHook(virtual_cluster_id="default")
    driver = {"sparkSubmitJobDriver": {"entryPoint": done}}
    run_id = eks.submit_job("p", ROLE, "emr-7.5.0-latest", driver, client_request_token="p")
    eks.poll_query_status(run_id, poll_interval=1)
    assert "COMPLETED" == eks.check_query_status(run_id)


def test_a_stopped_server_leaves_no_driver(tmp_path):
    """All processes end with the server."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "spark-submit").write_text(SUBMIT)
    (programs / "spark-submit").chmod(0o755)
    (tmp_path / "x.sh").write_text(f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    with LocalAWS(root=tmp_path / "aws", path=[programs]) as aws:
        for name in ("emr-serverless", "emr-containers"):
            runs = service(aws, name)
            runs.wait(runs.start(tmp_path / "x.sh"), "RUNNING")
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert_nothing_runs(aws)


# Spark

PROGRAM = b"""
import os
import sys

from pyspark.sql import SparkSession


def variable(_):
    return os.environ.get("SHARD")


spark = SparkSession.builder.getOrCreate()
orders = spark.read.csv(sys.argv[1], header=True, inferSchema=True)
orders.groupBy("kind").sum("n").write.mode("overwrite").parquet(sys.argv[2])
print("driver", os.environ.get("SHARD"), spark.conf.get("spark.x"))
print("executor", spark.sparkContext.parallelize([1]).map(variable).collect())
"""


@pytest.fixture
def spark_data(local_aws):
    """Programs and input in the local S3."""
    pytest.importorskip("pyspark")
    s3 = local_aws.client("s3")
    for bucket in ("data", "logs"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="data", Key="in/a.csv", Body=b"kind,n\na,1\nb,2\n")
    s3.put_object(Bucket="data", Key="code/report.py", Body=PROGRAM)
    return s3


@pytest.mark.spark
@pytest.mark.parametrize("name", ["emr-serverless", "emr-containers"])
def test_spark_submit_really_runs(local_aws, spark_data, name):
    """A program from S3 with variables for driver and executor; a second run fails in user code."""
    runs = service(local_aws, name)
    mine = "spark.emr-serverless.driverEnv." if runs.serverless else "spark.kubernetes.driverEnv."
    options = (
        f"--conf {mine}SHARD=7 --conf spark.executorEnv.SHARD=8 --conf 'spark.x=y z' --conf spark.driver.memory=512m"
    )
    code, overrides = "s3://data/code/report.py", monitoring("s3://logs/runs")

    def log(run_id, kind):
        key = f"{runs.logs('runs', run_id)}/{kind}.gz"
        return gzip.decompress(spark_data.get_object(Bucket="logs", Key=key)["Body"].read()).decode()

    done = runs.start(code, "s3://data/in/", "s3a://data/out", parameters=options, configurationOverrides=overrides)
    assert runs.succeeded == runs.wait(done, seconds=300)["state"], log(done, "stderr")
    assert ["driver 7 y z", "executor ['8']"] == log(done, "stdout").splitlines()
    written = [each["Key"] for each in spark_data.list_objects_v2(Bucket="data", Prefix="out/")["Contents"]]
    assert any(key.endswith(".parquet") for key in written)
    failed = runs.start(code, configurationOverrides=overrides)
    ended = runs.wait(failed, seconds=300)
    assert "FAILED" == ended["state"]
    assert "IndexError: list index out of range" in log(failed, "stdout")
    assert not runs.serverless or "IndexError: list index out of range" in ended["stateDetails"]
    assert_nothing_runs(local_aws)


@pytest.mark.spark
def test_a_jar_runs_with_its_main_class(local_aws, spark_data):
    """The jar is in S3."""
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    spark_data.put_object(Bucket="data", Key="code/app.jar", Body=jar.getvalue())
    runs = service(local_aws, "emr-containers")
    run_id = runs.start(
        "s3://data/code/app.jar", "-e", "select sum(_c1) from csv.`s3://data/in/`",
        parameters="--class org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver",
        configurationOverrides=monitoring("s3://logs/runs"),
    )  # fmt: skip
    assert "COMPLETED" == runs.wait(run_id, seconds=300)["state"]
    key = f"{runs.logs('runs', run_id)}/stdout.gz"
    text = gzip.decompress(spark_data.get_object(Bucket="logs", Key=key)["Body"].read()).decode()
    assert "3.0" in text.split()


@pytest.mark.spark
def test_a_cancelled_spark_driver_leaves_no_process(local_aws, spark_data):
    """Neither a Java nor a Python process."""
    program = b"""
import time

from pyspark.sql import SparkSession

SparkSession.builder.getOrCreate().sparkContext.textFile("s3://data/in/").saveAsTextFile("s3://data/begun")
time.sleep(600)
"""
    spark_data.put_object(Bucket="data", Key="code/endless.py", Body=program)
    runs = service(local_aws, "emr-serverless")
    run_id = runs.start("s3://data/code/endless.py")
    deadline = time.monotonic() + 200
    while "Contents" not in spark_data.list_objects_v2(Bucket="data", Prefix="begun/_SUCCESS"):
        assert time.monotonic() < deadline, runs.describe(run_id)
        time.sleep(0.2)
    runs.cancel(run_id)
    assert "CANCELLED" == runs.wait(run_id)["state"]
    assert_nothing_runs(local_aws)


EXAMPLES = Path(__file__).parents[2] / "dags_examples"


@pytest.mark.spark
@pytest.mark.parametrize(
    ("dag_id", "name"), [("visits-serverless", "emr-serverless"), ("visits-eks", "emr-containers")]
)
def test_the_examples_run(local_aws, spark_data, run_dag, monkeypatch, tmp_path, dag_id, name):
    """From the pipeline file to Parquet in S3. A second run of the same date starts no other job run."""
    from airflow_batchemr import build_dags

    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", f"s3://data/{tmp_path.name}")
    spark_data.put_object(Bucket="data", Key="frontdoor/0.csv", Body=b"ann,/a,3\nbob,/b,4\ncid,/a,5\n")
    program = (EXAMPLES / "spark" / "visits.py").read_bytes()
    spark_data.put_object(Bucket="data", Key="code/visits.py", Body=program)
    (dag,) = (dag for dag in build_dags(EXAMPLES / "spark_job_runs.yaml") if dag.dag_id == dag_id)
    assert {dag_id: "success"} == run_dag(dag).tasks
    written = [each["Key"] for each in spark_data.list_objects_v2(Bucket="data", Prefix="visits/")["Contents"]]
    assert 1 == len([key for key in written if key.endswith(".parquet")])
    assert {dag_id: "success"} == run_dag(dag, again=True).tasks
    runs = service(local_aws, name)
    (run_id,) = runs.list()
    key = f"{runs.logs('logs', run_id)}/stdout.gz"
    text = gzip.decompress(spark_data.get_object(Bucket="data", Key=key)["Body"].read()).decode()
    assert "visits.py: 2 pages of 3 visits" in text
