"""The local AWS as a server: access control, request counts, faults and shutdown."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import boto3
import botocore.config
import botocore.exceptions
import psutil
import pytest

from airflow_batchemr.local import LocalAWS, faults
from airflow_batchemr.local.batch import describe

#: No retries, so that a test sees the response to its call.
NO_RETRIES = botocore.config.Config(retries={"total_max_attempts": 1})


def ask(aws, path, *, method="GET", data=None, **headers):
    """Send an HTTP request. Returns the status and the body of the response."""
    connection = http.client.HTTPConnection(aws.endpoint_url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def bearer(aws):
    return {"Authorization": "Bearer " + aws.environment()["AWS_ACCESS_KEY_ID"]}


def define(batch, *command):
    requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}]
    batch.register_job_definition(
        jobDefinitionName="sh",
        type="container",
        containerProperties={"image": "x", "command": list(command), "resourceRequirements": requirements},
    )


def submit(batch, *command, name="job", **options):
    overrides = {"containerOverrides": {"command": list(command)}} if command else {}
    return batch.submit_job(jobName=name, jobQueue="default", jobDefinition="sh", **overrides, **options)["jobId"]


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


# Access control


@pytest.mark.parametrize("service", ["batch", "emr", "s3", "logs", "sts"])
def test_another_access_key_is_rejected(local_aws, service):
    """By Batch and EMR, and for the services of moto."""
    client = boto3.client(
        service, endpoint_url=local_aws.endpoint_url, region_name="us-east-1", aws_access_key_id="LKIAWRONG",
        aws_secret_access_key="wrong", config=NO_RETRIES,
    )  # fmt: skip
    call = {
        "batch": lambda: client.list_jobs(jobQueue="default"),
        "emr": lambda: client.list_clusters(ClusterStates=[]),
        "s3": lambda: client.list_objects_v2(Bucket="data"),
        "logs": lambda: client.describe_log_groups(limit=1),
        "sts": lambda: client.assume_role(RoleArn="arn:aws:iam::123456789012:role/x", RoleSessionName="someone"),
    }[service]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert local_aws.requests() == {}


def test_keys_of_an_assumed_role_are_accepted(local_aws):
    """Connections with a role use such keys."""
    role = "arn:aws:iam::123456789012:role/x"
    given = local_aws.client("sts").assume_role(RoleArn=role, RoleSessionName="someone")["Credentials"]
    batch = boto3.client(
        "batch", endpoint_url=local_aws.endpoint_url, region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )  # fmt: skip
    assert batch.list_jobs(jobQueue="default")["jobSummaryList"] == []


@pytest.mark.parametrize("path", ["/", "/bucket/key", "/v1/submitjob", "/moto-api/reset", "/_local/requests"])
def test_requests_without_a_key_are_rejected(local_aws, path):
    """Including those that moto would accept unsigned."""
    assert ask(local_aws, path, method="POST", data=b"{}")[0] == 403
    assert ask(local_aws, path)[0] == 403


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_browsers_are_rejected_even_with_the_key(local_aws, headers):
    """CORS preflight requests are rejected as well."""
    assert ask(local_aws, "/_local/requests", **bearer(local_aws), **headers)[0] == 403
    assert ask(local_aws, "/", method="OPTIONS", **headers)[0] == 403


def test_webhdfs_requests_need_the_key(local_aws):
    """The key is part of the path."""
    local_aws.client("s3").create_bucket(Bucket="data")
    key = local_aws.environment()["AWS_ACCESS_KEY_ID"]
    assert ask(local_aws, "/webhdfs/v1/wrong/data?op=LISTSTATUS")[0] == 403
    assert ask(local_aws, f"/webhdfs/v1/{key}/data?op=LISTSTATUS")[0] == 200


def test_the_server_listens_on_loopback_only(local_aws):
    """It listens on no other address of this machine."""
    port = int(local_aws.endpoint_url.rpartition(":")[2])
    listening = [each for each in psutil.Process().net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert {each.laddr.ip for each in listening if each.laddr.port == port} == {"127.0.0.1"}


# Request counts


def test_requests_are_counted_by_operation(local_aws):
    """Including S3. Other processes read and reset the counts over HTTP."""
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="a", Body=b"1")
    s3.get_object(Bucket="data", Key="a")
    s3.head_object(Bucket="data", Key="a")
    s3.list_objects_v2(Bucket="data")
    s3.copy_object(Bucket="data", Key="b", CopySource="data/a")
    s3.delete_object(Bucket="data", Key="a")
    s3.delete_objects(Bucket="data", Delete={"Objects": [{"Key": "b"}]})
    local_aws.client("sts").get_caller_identity()
    local_aws.client("batch").describe_job_queues()
    local_aws.client("batch").describe_job_queues()
    expected = {
        "CreateBucket": 1, "PutObject": 1, "GetObject": 1, "HeadObject": 1, "ListObjectsV2": 1, "CopyObject": 1,
        "DeleteObject": 1, "DeleteObjects": 1, "GetCallerIdentity": 1, "DescribeJobQueues": 2,
    }  # fmt: skip
    assert local_aws.requests() == expected
    assert json.loads(ask(local_aws, "/_local/requests", method="DELETE", **bearer(local_aws))[1]) == expected
    assert local_aws.requests() == {}


# Responses


def test_a_response_outside_of_the_model_is_not_sent_and_fails_the_test(local_aws, valid_responses, monkeypatch):
    """It is an internal error, which the check of all tests finds in the bytes."""
    batch = local_aws.client("batch", config=NO_RETRIES)
    monkeypatch.setattr(describe, "page", lambda *_: {"jobSummaryList": [], "colour": "green", "nextToken": None})
    with pytest.raises(botocore.exceptions.ClientError, match="ServerException"):
        batch.list_jobs(jobQueue="default")
    (problem,) = valid_responses
    assert "batch ListJobs: " in problem
    assert all(text in problem for text in ("'colour' is unknown", "'nextToken' is null"))
    valid_responses.clear()


# Operations that are not served


@pytest.mark.parametrize(
    ("service", "call", "params", "status"),
    [
        ("batch", "list_service_jobs", {"jobQueue": "default"}, 404),
        ("emr", "list_studios", {}, 400),
        ("emr-serverless", "get_dashboard_for_job_run", {"applicationId": "default", "jobRunId": "00f"}, 404),
        ("emr-containers", "list_job_templates", {}, 404),
    ],
)
def test_an_operation_that_is_not_served_is_unknown_to_the_service(local_aws, service, call, params, status):
    """It is not an invalid request, and botocore does not repeat the call."""
    with pytest.raises(botocore.exceptions.ClientError, match="is not served by the local AWS") as caught:
        getattr(local_aws.client(service), call)(**params)
    answer = caught.value.response
    assert "UnknownOperationException" == answer["Error"]["Code"]
    assert (status, 0) == (answer["ResponseMetadata"]["HTTPStatusCode"], answer["ResponseMetadata"]["RetryAttempts"])


@pytest.mark.parametrize(
    ("service", "call", "params", "code", "status"),
    [
        ("logs", "list_anomalies", {}, "UnknownOperationException", 400),
        ("events", "list_endpoints", {}, "UnknownOperationException", 400),
        ("secretsmanager", "validate_resource_policy", {"ResourcePolicy": "{}"}, "UnknownOperationException", 400),
        ("sts", "decode_authorization_message", {"EncodedMessage": "x"}, "InvalidAction", 400),
        ("ec2", "describe_fpga_images", {}, "InvalidAction", 400),
        ("wellarchitected", "list_workloads", {}, "UnknownOperationException", 404),
    ],
)
def test_an_operation_that_moto_does_not_serve_is_unknown(local_aws, service, call, params, code, status):
    """In the protocol of the service. Also an operation of a service that moto does not have."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        getattr(local_aws.client(service), call)(**params)
    answer = caught.value.response
    assert code == answer["Error"]["Code"]
    assert (status, 0) == (answer["ResponseMetadata"]["HTTPStatusCode"], answer["ResponseMetadata"]["RetryAttempts"])


def test_a_subresource_that_moto_does_not_serve_is_not_implemented(local_aws):
    """As S3-compatible stores answer. moto would delete the bucket, or write an empty object."""
    s3 = local_aws.client("s3", config=NO_RETRIES)
    s3.create_bucket(Bucket="data")
    for call, params in (
        (s3.delete_bucket_analytics_configuration, {"Id": "x"}),
        (s3.get_bucket_request_payment, {}),
        (s3.rename_object, {"Key": "new", "RenameSource": "old"}),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call(Bucket="data", **params)
        answer = caught.value.response
        assert ("NotImplemented", 501) == (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"])
    assert 0 == s3.list_objects_v2(Bucket="data")["KeyCount"]


# Conditional writes


def test_one_of_many_conditional_writers_succeeds(local_aws):
    """With `If-None-Match: *`, only one of the concurrent writers creates the object."""
    local_aws.client("s3").create_bucket(Bucket="data")
    answers = []

    def write(number):
        s3 = local_aws.client("s3", config=NO_RETRIES)
        for key in range(20):
            try:
                s3.put_object(Bucket="data", Key=f"claim-{key}", Body=str(number).encode(), IfNoneMatch="*")
                answers.append((key, "written"))
            except botocore.exceptions.ClientError as error:
                answers.append((key, error.response["Error"]["Code"]))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(key for key, answer in answers if answer == "written") == list(range(20))
    assert {answer for _, answer in answers} == {"written", "PreconditionFailed"}


def test_if_match_rejects_an_old_etag(local_aws):
    """The second writer with the same ETag is rejected."""
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="data")
    tag = s3.put_object(Bucket="data", Key="a", Body=b"1")["ETag"]
    s3.put_object(Bucket="data", Key="a", Body=b"2", IfMatch=tag)
    with pytest.raises(botocore.exceptions.ClientError):
        s3.put_object(Bucket="data", Key="a", Body=b"3", IfMatch=tag)
    assert s3.get_object(Bucket="data", Key="a")["Body"].read() == b"2"


# Faults


def everything(batch):
    found = batch.list_jobs(jobQueue="default", filters=[{"name": "JOB_NAME", "values": ["*"]}])
    return len(found["jobSummaryList"])


@pytest.mark.parametrize(
    ("kind", "code", "status", "jobs"),
    [
        ("throttle", "TooManyRequestsException", 429, 0),
        ("error", "ServerException", 500, 0),
        ("error_after", "ServerException", 500, 1),
        ("refuse", "AccessDeniedException", 403, 0),
    ],
)
def test_a_planned_fault_affects_the_next_call(local_aws, kind, code, status, jobs):
    """The call takes effect or not, depending on the kind of fault."""
    batch = local_aws.client("batch", config=NO_RETRIES)
    define(batch, "true")
    local_aws.faults.plan("SubmitJob", kind)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        submit(batch)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert everything(batch) == jobs
    submit(batch)
    assert everything(batch) == jobs + 1


@pytest.mark.parametrize(("kind", "jobs"), [("drop", 1), ("drop_before", 0)])
def test_a_dropped_connection_may_hide_the_effect_of_a_call(local_aws, kind, jobs):
    """The connection is closed without a response, either after or before the call takes effect."""
    batch = local_aws.client("batch", config=NO_RETRIES)
    define(batch, "true")
    local_aws.faults.plan("SubmitJob", kind)
    with pytest.raises(botocore.exceptions.HTTPClientError):
        submit(batch)
    assert everything(batch) == jobs


def test_a_put_with_a_dropped_response_has_written(local_aws):
    """The retry of botocore then finds the object."""
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="data")
    local_aws.faults.drop("PutObject")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.put_object(Bucket="data", Key="a", Body=b"mine", IfNoneMatch="*")
    assert caught.value.response["Error"]["Code"] == "PreconditionFailed"
    assert s3.get_object(Bucket="data", Key="a")["Body"].read() == b"mine"
    assert local_aws.requests()["PutObject"] == 2


def test_internal_failures_of_emr_have_the_code_of_the_operation(local_aws):
    """InternalServerError or InternalServerException."""
    emr = local_aws.client("emr", config=NO_RETRIES)
    for call, operation, code in (
        (lambda: emr.terminate_job_flows(JobFlowIds=[]), "TerminateJobFlows", "InternalServerError"),
        (emr.list_clusters, "ListClusters", "InternalServerException"),
    ):
        local_aws.faults.error(operation)
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code


def test_s3_and_emr_are_throttled_with_their_own_codes(local_aws):
    """With SlowDown and ThrottlingException."""
    s3, emr = local_aws.client("s3", config=NO_RETRIES), local_aws.client("emr", config=NO_RETRIES)
    for call, operation, code in (
        (s3.list_buckets, "ListBuckets", "SlowDown"),
        (emr.list_clusters, "ListClusters", "ThrottlingException"),
    ):
        local_aws.faults.throttle(operation)
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code


def test_calls_above_a_rate_are_throttled(local_aws, monkeypatch):
    """In any one second, measured with a fake clock."""
    now = 1000.0
    monkeypatch.setattr(faults, "time", SimpleNamespace(monotonic=lambda: now))
    batch = local_aws.client("batch", config=NO_RETRIES)
    local_aws.faults.limit_rate("DescribeJobQueues", 3)
    for _ in range(3):
        batch.describe_job_queues()
    now += 0.99
    with pytest.raises(botocore.exceptions.ClientError, match="TooManyRequestsException"):
        batch.describe_job_queues()
    now += 0.02
    batch.describe_job_queues()


def test_faults_can_be_planned_over_http(local_aws):
    """By other processes. An unknown fault is rejected."""
    wanted = json.dumps({"fault": "plan", "operation": "ListBuckets", "kind": "throttle", "times": 2, "after": 1})
    status, answer = ask(local_aws, "/_local/faults", method="POST", data=wanted.encode(), **bearer(local_aws))
    assert (status, json.loads(answer)[0]["times"]) == (200, 2)
    s3 = local_aws.client("s3", config=NO_RETRIES)
    s3.list_buckets()
    for _ in range(2):
        with pytest.raises(botocore.exceptions.ClientError):
            s3.list_buckets()
    assert ask(local_aws, "/_local/faults", **bearer(local_aws)) == (200, "[]")
    status, answer = ask(local_aws, "/_local/faults", method="POST", data=b'{"fault": "x"}', **bearer(local_aws))
    assert status == 400
    assert "there is no fault 'x'" in answer


# Shutdown


def children_of(pid):
    return [each.pid for each in psutil.Process(pid).children(recursive=True)]


def gone(pids):
    def alive(pid):
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(alive(pid) for pid in pids)


def test_stopping_kills_all_processes_and_removes_all_files(tmp_path, monkeypatch):
    """Including processes in another session, and the temporary folder that replaces `root`."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with LocalAWS(slots=1) as aws:
        batch = aws.client("batch")
        define(batch, "sh", "-c", "setsid sleep 63 & sleep 64 & sleep 65")
        submit(batch)
        before = wait_for(lambda: [pid for pid in children_of(os.getpid()) if sleeps(pid)][2:] and sleeping())
    assert gone(before)
    assert list(tmp_path.iterdir()) == []


def sleeps(pid):
    try:
        return psutil.Process(pid).name() == "sleep"
    except psutil.NoSuchProcess:
        return False


def sleeping():
    return [pid for pid in children_of(os.getpid()) if sleeps(pid)]


def test_a_killed_launcher_looks_like_a_lost_host(local_aws):
    """Its commands are lost; later jobs run."""
    batch = local_aws.client("batch")
    define(batch, "sleep", "66")
    job = submit(batch, retryStrategy={"attempts": 1})
    wait_for(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "RUNNING")
    launchers = [each for each in psutil.Process().children() if "launcher.py" in " ".join(each.cmdline())]
    [launcher] = [each for each in launchers if any(map(sleeps, children_of(each.pid)))]  # of this local AWS
    commands = children_of(launcher.pid)
    launcher.kill()
    wait_for(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "FAILED")
    assert batch.describe_jobs(jobs=[job])["jobs"][0]["statusReason"].startswith("Host EC2")
    wait_for(lambda: gone(commands))
    after = submit(batch, "true")
    wait_for(lambda: batch.describe_jobs(jobs=[after])["jobs"][0]["status"] == "SUCCEEDED")


@pytest.fixture
def server(tmp_path):
    """`batchemr local` in a separate process: the process and the content of its ready file."""
    ready = tmp_path / "ready.json"
    (tmp_path / "bin").mkdir()
    program = "from airflow_batchemr.cli.local import local; import typer; typer.run(local)"
    options = [
        "--root",
        str(tmp_path / "root"),
        "--slots",
        "2",
        "--path",
        str(tmp_path / "bin"),
        "--ready-file",
        str(ready),
        "--json",
    ]
    process = subprocess.Popen([sys.executable, "-c", program, *options], stdout=subprocess.PIPE, text=True)
    wait_for(ready.exists)
    yield process, json.loads(ready.read_text())
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()


def client_of(ready, service):
    given = ready["environment"]
    return boto3.client(
        service, endpoint_url=given["AWS_ENDPOINT_URL"], region_name=given["AWS_DEFAULT_REGION"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"], aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


def test_batchemr_local_runs_until_it_is_stopped(server, tmp_path):
    """Only the owner can read the ready file, commands are found in `--path`, and SIGTERM ends everything."""
    process, ready = server
    assert (tmp_path / "ready.json").stat().st_mode & 0o077 == 0
    assert json.loads(process.stdout.readline()) == ready["environment"]
    (tmp_path / "bin" / "my-program").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "bin" / "my-program").chmod(0o755)
    batch = client_of(ready, "batch")
    define(batch, "my-program")
    job = submit(batch)
    wait_for(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "SUCCEEDED")
    submit(batch, "sleep", "67")
    commands = wait_for(lambda: [pid for pid in children_of(process.pid) if sleeps(pid)])
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert gone(commands)
    assert not (tmp_path / "ready.json").exists()


def test_a_used_port_is_reported(local_aws):
    """The server exits."""
    port = local_aws.endpoint_url.rpartition(":")[2]
    program = "from airflow_batchemr.cli.local import local; import typer; typer.run(local)"
    command = [sys.executable, "-c", program, "--port", port]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "cannot start the local AWS" in ran.stderr
    assert "Address already in use" in ran.stderr


def test_missing_moto_is_reported_with_the_extra_to_install():
    """The server does not start."""
    program = (
        "import sys; sys.modules['moto'] = None\n"
        "from airflow_batchemr.cli.local import local; import typer; typer.run(local)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "pip install 'airflow-batchemr[local]'" in ran.stderr


def test_jobs_end_if_the_server_is_killed(server):
    """No job process remains after `kill -9`."""
    process, ready = server
    batch = client_of(ready, "batch")
    define(batch, "sh", "-c", "sleep 68 & sleep 69")
    submit(batch)
    wait_for(lambda: len([pid for pid in children_of(process.pid) if sleeps(pid)]) == 2)
    pids = children_of(process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: gone(pids))
