"""The local Batch: documented behavior of AWS Batch, with commands that really run."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from pathlib import Path

import botocore.exceptions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ENDED = ("SUCCEEDED", "FAILED")


@pytest.fixture
def batch(local_aws):
    """A Batch client. The definition `sh` is registered."""
    client = local_aws.client("batch")
    client.register_job_definition(
        jobDefinitionName="sh",
        type="container",
        containerProperties={
            "image": "busybox:1",
            "command": ["true"],
            "environment": [{"name": "COLOUR", "value": "green"}],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        },
    )
    return client


def submit(batch, *command, **options):
    overrides = {"containerOverrides": {"command": list(command)}} if command else {}
    request = {"jobName": "job", "jobQueue": "default", "jobDefinition": "sh", **overrides, **options}
    return batch.submit_job(**request)["jobId"]


def describe(batch, job_id):
    return batch.describe_jobs(jobs=[job_id])["jobs"][0]


def wait(batch, job_id, *statuses):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        job = describe(batch, job_id)
        if job["status"] in (statuses or ENDED):
            return job
        time.sleep(0.02)
    raise AssertionError(f"{job_id} is still {job['status']}")


def lines(local_aws, job):
    events = local_aws.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"], startFromHead=True
    )["events"]
    return [event["message"] for event in events]


def rejected(call, **params):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == "ClientException"
    return caught.value.response["Error"]["Message"]


# The documented transitions


#: Statuses that may follow each status. Source: "Job states" in the AWS Batch user guide. A failed attempt that
#: is retried returns to RUNNABLE; the parent of an array goes from PENDING to its final status.
TRANSITIONS = {
    "SUBMITTED": {"PENDING", "RUNNABLE", "FAILED"},
    "PENDING": {"RUNNABLE", "FAILED"},
    "RUNNABLE": {"STARTING", "FAILED"},
    "STARTING": {"RUNNING", "RUNNABLE", "FAILED"},
    "RUNNING": {"SUCCEEDED", "RUNNABLE", "FAILED"},
    "SUCCEEDED": set(),
    "FAILED": set(),
}
PARENT_TRANSITIONS = {"SUBMITTED": {"PENDING", "FAILED"}, "PENDING": {"SUCCEEDED", "FAILED"}}
RUNS = ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING"]


def succeed(aws, batch):
    return submit(batch, "true")


def fail(aws, batch):
    return submit(batch, "false")


def fail_twice(aws, batch):
    return submit(batch, "false", retryStrategy={"attempts": 2})


def follow(aws, batch):
    first = submit(batch, "sleep", "0.2")
    return submit(batch, "true", dependsOn=[{"jobId": first}])


def follow_a_failure(aws, batch):
    first = submit(batch, "sh", "-c", "sleep 0.2; false")
    return submit(batch, "true", dependsOn=[{"jobId": first}])


def be_cancelled(aws, batch):
    aws.faults.no_capacity("default")
    job_id = submit(batch, "true")
    batch.cancel_job(jobId=job_id, reason="not needed")
    return job_id


def be_terminated(aws, batch):
    job_id = submit(batch, "sleep", "60")
    wait(batch, job_id, "RUNNING")
    batch.terminate_job(jobId=job_id, reason="not needed")
    return job_id


def have_no_image(aws, batch):
    aws.faults.unpullable("busybox:1")
    return submit(batch, "true")


def lose_its_host_once(aws, batch):
    rules = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    strategy = {"attempts": 2, "evaluateOnExit": rules}
    job_id = submit(batch, "sh", "-c", "test $AWS_BATCH_JOB_ATTEMPT = 2 || sleep 60", retryStrategy=strategy)
    wait(batch, job_id, "RUNNING")
    aws.faults.reclaim(job_id)
    return job_id


@pytest.fixture
def seen(local_aws):
    """The statuses of a job, in order, from its EventBridge events."""
    sqs, events = local_aws.client("sqs"), local_aws.client("events")
    url = sqs.create_queue(QueueName="changes")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"]}
    events.put_rule(Name="changes", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="changes", Targets=[{"Id": "1", "Arn": arn}])
    details = []

    def statuses(job_id, last):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                details.append(json.loads(message["Body"])["detail"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found = [detail["status"] for detail in details if detail["jobId"] == job_id]
            if last in found:
                return found
        raise AssertionError(f"no event reports that {job_id} is {last}: {found}")

    return statuses


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (succeed, [*RUNS, "SUCCEEDED"]),
        (fail, [*RUNS, "FAILED"]),
        (fail_twice, [*RUNS, *RUNS[1:], "FAILED"]),
        (follow, ["SUBMITTED", "PENDING", *RUNS[1:], "SUCCEEDED"]),
        (follow_a_failure, ["SUBMITTED", "PENDING", "FAILED"]),
        (be_cancelled, ["SUBMITTED", "RUNNABLE", "FAILED"]),
        (be_terminated, [*RUNS, "FAILED"]),
        (have_no_image, ["SUBMITTED", "RUNNABLE", "STARTING", "FAILED"]),
        (lose_its_host_once, [*RUNS, *RUNS[1:], "SUCCEEDED"]),
    ],
)
def test_a_job_goes_through_the_documented_states(local_aws, batch, seen, scenario, expected):
    """Each change sends an EventBridge event, and only documented changes occur."""
    job_id = scenario(local_aws, batch)
    statuses = seen(job_id, expected[-1])
    assert expected == statuses
    assert all(after in TRANSITIONS[before] for before, after in itertools.pairwise(statuses))


@pytest.mark.parametrize(("command", "end"), [("true", "SUCCEEDED"), ("false", "FAILED")])
def test_an_array_parent_is_never_runnable(local_aws, batch, seen, command, end):
    """It goes from SUBMITTED to PENDING, and to SUCCEEDED or FAILED when all children have ended."""
    statuses = seen(submit(batch, command, arrayProperties={"size": 3}), end)
    assert ["SUBMITTED", "PENDING", end] == statuses
    assert all(after in PARENT_TRANSITIONS[before] for before, after in itertools.pairwise(statuses))


# Running


def test_a_command_sees_what_a_container_sees(local_aws, batch):
    """Variables of Batch, the definition, the request and the local AWS; an empty folder; and a log."""
    script = "echo $AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT $AWS_BATCH_JQ_NAME $COLOUR $SIZE $AWS_ENDPOINT_URL; "
    script += "ls -a | wc -l"
    overrides = {"command": ["sh", "-c", script], "environment": [{"name": "SIZE", "value": "a $(b) 'c'"}]}
    job = wait(batch, submit(batch, containerOverrides=overrides))
    assert job["status"] == "SUCCEEDED"
    expected = f"{job['jobId']} 1 default green a $(b) 'c' {local_aws.endpoint_url}"
    assert [expected, "2"] == [line.strip() for line in lines(local_aws, job)]


def test_no_credentials_of_the_caller_reach_a_command(local_aws, batch, monkeypatch):
    """Neither from the environment nor from ~/.aws of the server's user."""
    script = "env | grep -E '^(AWS_PROFILE|AWS_SESSION|AIRFLOW)'; cat ~/.aws/credentials $AWS_SHARED_CREDENTIALS_FILE"
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    job = wait(batch, submit(batch, "sh", "-c", script + " 2>/dev/null; echo done"))
    assert lines(local_aws, job) == ["done"]


def test_parameters_replace_whole_arguments(local_aws, batch):
    """`Ref::name` in the command is replaced with the parameter's value."""
    job_id = submit(batch, "echo", "Ref::date", "xRef::date", parameters={"date": "2026-11-20"})
    assert lines(local_aws, wait(batch, job_id)) == ["2026-11-20 xRef::date"]


def test_children_see_their_index(local_aws, batch):
    """Each index runs once and gets the size of the array. Children are described as parent:index."""
    job_id = submit(
        batch, "sh", "-c", "echo $AWS_BATCH_JOB_ARRAY_INDEX/$AWS_BATCH_JOB_ARRAY_SIZE", arrayProperties={"size": 4}
    )
    parent = wait(batch, job_id)
    children = batch.describe_jobs(jobs=[f"{job_id}:{index}" for index in range(5)])["jobs"]
    assert [f"{index}/4" for index in range(4)] == [line for child in children for line in lines(local_aws, child)]
    assert {key: children[2]["arrayProperties"][key] for key in ("size", "index")} == {"size": 4, "index": 2}
    assert parent["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 4


def test_a_failed_child_fails_the_array_once_all_have_ended(local_aws, batch):
    """The other children run to their end. The summary counts both."""
    job_id = submit(batch, "sh", "-c", "test $AWS_BATCH_JOB_ARRAY_INDEX != 1", arrayProperties={"size": 5})
    parent = wait(batch, job_id)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
    summary = parent["arrayProperties"]["statusSummary"]
    assert (summary["SUCCEEDED"], summary["FAILED"]) == (4, 1)
    assert describe(batch, f"{job_id}:1")["attempts"][0]["container"]["exitCode"] == 1


def test_n_to_n_waits_for_the_same_index(local_aws, batch, tmp_path):
    """Index i of the second array starts after index i of the first; a failed index fails only its successor."""
    mark = f"echo a$AWS_BATCH_JOB_ARRAY_INDEX >> {tmp_path}/log; test $AWS_BATCH_JOB_ARRAY_INDEX != 1"
    first = submit(batch, "sh", "-c", mark, arrayProperties={"size": 3})
    then = submit(
        batch, "sh", "-c", f"echo b$AWS_BATCH_JOB_ARRAY_INDEX >> {tmp_path}/log",
        arrayProperties={"size": 3}, dependsOn=[{"jobId": first, "type": "N_TO_N"}],
    )  # fmt: skip
    assert wait(batch, then)["status"] == "FAILED"
    order = (tmp_path / "log").read_text().split()
    assert sorted(order) == ["a0", "a1", "a2", "b0", "b2"]
    assert order.index("a0") < order.index("b0")
    assert order.index("a2") < order.index("b2")
    assert describe(batch, f"{then}:1")["statusReason"] == "Dependent Job failed"


def test_sequential_runs_one_index_after_the_other(local_aws, batch, tmp_path):
    """Indices run in order, even if there are free slots."""
    script = f"sleep 0.0$((5 - $AWS_BATCH_JOB_ARRAY_INDEX)); echo $AWS_BATCH_JOB_ARRAY_INDEX >> {tmp_path}/log"
    job_id = submit(batch, "sh", "-c", script, arrayProperties={"size": 5}, dependsOn=[{"type": "SEQUENTIAL"}])
    assert wait(batch, job_id)["status"] == "SUCCEEDED"
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3", "4"]


def test_a_long_sequential_chain_fails_without_recursion(local_aws, batch):
    """If the first of 10,000 indices fails, so do all others, and the server keeps running."""
    job_id = submit(batch, "false", arrayProperties={"size": 10_000}, dependsOn=[{"type": "SEQUENTIAL"}])
    assert wait(batch, job_id)["arrayProperties"]["statusSummary"]["FAILED"] == 10_000
    assert wait(batch, submit(batch, "true"))["status"] == "SUCCEEDED"


def test_the_lines_of_a_running_job_can_be_read(local_aws, batch):
    """Complete lines are available while the job runs, and all lines, in order, after its end."""
    go_on = "until [ -e go-on ]; do sleep 0.02; done"
    job_id = submit(batch, "sh", "-c", f"pwd; printf 'half'; {go_on}; echo ' a line'")
    wait(batch, job_id, "RUNNING")
    deadline = time.monotonic() + 120
    while not (found := lines(local_aws, describe(batch, job_id))):
        assert time.monotonic() < deadline
    folder = found[0]
    assert found == [folder]
    (Path(folder) / "go-on").touch()
    assert lines(local_aws, wait(batch, job_id)) == [folder, "half a line"]
    assert not Path(folder).exists()


def test_log_streams_follow_the_log_configuration(local_aws, batch):
    """awslogs-group and awslogs-stream-prefix apply, and all streams of the group can be searched."""
    options = {"awslogs-group": "/mine", "awslogs-stream-prefix": "night"}
    requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    batch.register_job_definition(
        jobDefinitionName="logs", type="container",
        containerProperties={
            "image": "x", "command": ["echo", "found me"], "resourceRequirements": requirements,
            "logConfiguration": {"logDriver": "awslogs", "options": options},
        },
    )  # fmt: skip
    job = wait(batch, submit(batch, jobDefinition="logs"))
    assert job["container"]["logStreamName"].startswith("night/default/")
    events = local_aws.client("logs").filter_log_events(logGroupName="/mine")["events"]
    assert [event["message"] for event in events] == ["found me"]


def test_secrets_reach_the_command(local_aws, batch):
    """Values come from Secrets Manager and Parameter Store. A missing secret fails the job."""
    arn = local_aws.client("secretsmanager").create_secret(Name="db", SecretString='{"user": "ada"}')["ARN"]
    local_aws.client("ssm").put_parameter(Name="token", Value="t0p", Type="SecureString")
    requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]

    def run(**secrets):
        batch.register_job_definition(
            jobDefinitionName="secret", type="container",
            containerProperties={
                "image": "x", "command": ["sh", "-c", "echo $DB $TOKEN"], "resourceRequirements": requirements,
                "secrets": [{"name": name, "valueFrom": value} for name, value in secrets.items()],
            },
        )  # fmt: skip
        return wait(batch, submit(batch, jobDefinition="secret"))

    assert lines(local_aws, run(DB=f"{arn}:user::", TOKEN="token")) == ["ada t0p"]
    assert "unable to pull secrets" in run(TOKEN="none")["container"]["reason"]


# Retries and reasons


def test_the_first_matching_rule_decides_about_a_retry(local_aws, batch):
    """Exit code 75 is retried, all others are not."""
    rules = [{"onExitCode": "75", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    strategy = {"attempts": 4, "evaluateOnExit": rules}
    job = wait(batch, submit(batch, "sh", "-c", "exit $((74 + $AWS_BATCH_JOB_ATTEMPT))", retryStrategy=strategy))
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [75, 76]
    assert job["statusReason"] == "Essential container in task exited"


def test_a_job_that_uses_too_much_memory_is_killed(local_aws, batch):
    """The process is killed with exit code 137, and ECS's reason."""
    eat = "import time; held = bytearray(300 << 20); time.sleep(60)"
    job = wait(batch, submit(batch, "python", "-c", eat))
    container = job["attempts"][0]["container"]
    assert (container["exitCode"], container["reason"]) == (
        137,
        "OutOfMemoryError: Container killed due to memory usage",
    )


def test_a_lost_host_has_no_exit_code(local_aws, batch):
    """The status reason starts with `Host EC2`."""
    job_id = submit(batch, "sleep", "60")
    wait(batch, job_id, "RUNNING")
    local_aws.faults.reclaim(job_id)
    job = wait(batch, job_id)
    assert job["statusReason"].startswith("Host EC2 (instance i-")
    assert "exitCode" not in job["attempts"][0]["container"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("expire", ("Job attempt duration exceeded timeout", None, 1)),
        (
            "out_of_memory",
            ("Essential container in task exited", "OutOfMemoryError: Container killed due to memory usage", 2),
        ),
    ],
)
def test_faults_end_an_attempt(local_aws, batch, fault, expected):
    """As after a timeout or an out-of-memory kill. A retry follows in the same cases as on AWS."""
    job_id = submit(batch, "sleep", "60", retryStrategy={"attempts": 2})
    for number in range(expected[-1]):
        while len(wait(batch, job_id, "RUNNING")["attempts"]) != number:
            time.sleep(0.01)
        getattr(local_aws.faults, fault)(job_id)
    job = wait(batch, job_id)
    assert (job["statusReason"], job["container"].get("reason"), len(job["attempts"])) == expected
    assert job["container"]["exitCode"] == 137


def test_a_timed_out_attempt_is_not_retried(local_aws, batch):
    """It ends after attemptDurationSeconds, scaled by the clock's speed."""
    local_aws.clock.speed = 200
    try:
        job_id = submit(
            batch, "sleep", "60", timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3}
        )  # fmt: skip
        job = wait(batch, job_id)
    finally:
        local_aws.clock.speed = 1
    assert (job["statusReason"], len(job["attempts"])) == ("Job attempt duration exceeded timeout", 1)


def test_a_missing_command_does_not_start(local_aws, batch):
    """There is no exit code; the reason is in the container."""
    job = wait(batch, submit(batch, "no-such-program"))
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith(
        "CannotStartContainerError: no-such-program: executable file not found"
    )


# Stop


def test_terminate_ends_the_whole_process_group(local_aws, batch, tmp_path):
    """Child processes of the command end as well, the reason is the caller's, and there is no retry."""
    script = f"sleep 61 & echo $! > {tmp_path}/pid; wait"
    job_id = submit(batch, "sh", "-c", script, retryStrategy={"attempts": 3})
    wait(batch, job_id, "RUNNING")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.01)
    batch.terminate_job(jobId=job_id, reason="cleared by ada")
    job = wait(batch, job_id)
    assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "cleared by ada", True)
    assert len(job["attempts"]) == 1
    assert not process_runs(int((tmp_path / "pid").read_text()))


def process_runs(pid):
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_terminating_an_array_keeps_succeeded_children(local_aws, batch):
    """Succeeded children keep their status. The others fail with the reason."""
    script = "test $AWS_BATCH_JOB_ARRAY_INDEX = 0 || sleep 60"
    job_id = submit(batch, "sh", "-c", script, arrayProperties={"size": 8})
    wait(batch, f"{job_id}:0", "SUCCEEDED")
    batch.terminate_job(jobId=job_id, reason="stop")
    parent = wait(batch, job_id)
    summary = parent["arrayProperties"]["statusSummary"]
    assert (summary["SUCCEEDED"], summary["FAILED"]) == (1, 7)
    assert describe(batch, f"{job_id}:7")["statusReason"] == "stop"


def test_jobs_are_terminated_and_cancelled_together(local_aws, batch):
    """Each job has its own result in the response; an unknown job is successful, as documented."""
    running, other = submit(batch, "sleep", "60"), submit(batch, "sleep", "0.5")
    waiting = submit(batch, "true", dependsOn=[{"jobId": running}])
    wait(batch, running, "RUNNING")
    wait(batch, other, "RUNNING")
    unknown = str(uuid.uuid4())
    cancelled = batch.cancel_jobs(jobs=[other, waiting, unknown, "x y"], reason="not needed")
    assert cancelled["successful"] == [other, waiting, unknown]
    assert [(one["job"], one["code"]) for one in cancelled["errors"]] == [("x y", "ValidationException")]
    assert batch.terminate_jobs(jobs=[running], reason="stop")["errors"] == []
    assert [wait(batch, id_)["statusReason"] for id_ in (running, waiting)] == ["stop", "not needed"]
    assert wait(batch, other)["status"] == "SUCCEEDED"


def test_at_most_50_jobs_are_terminated_together(local_aws, batch):
    """Botocore does not check the limit."""
    assert "1 to 50" in rejected(batch.terminate_jobs, jobs=[str(uuid.uuid4())] * 51, reason="stop")


def test_cancel_does_not_stop_running_jobs(local_aws, batch):
    """A running job continues; one in RUNNABLE fails with the reason."""
    running = submit(batch, "sleep", "0.5")
    wait(batch, running, "RUNNING")
    local_aws.faults.no_capacity("default")
    waiting = submit(batch, "true")
    for job_id in (running, waiting):
        batch.cancel_job(jobId=job_id, reason="not needed")
    job = describe(batch, waiting)
    assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", "not needed", True)
    assert wait(batch, running)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("operation", ["cancel_job", "terminate_job"])
@pytest.mark.parametrize("end", ["true", "false"])
def test_a_pending_job_is_cancelled_when_its_dependencies_have_ended(local_aws, batch, tmp_path, operation, end):
    """It stays PENDING until then, does not run, and fails with the reason of the request."""
    hold = f"until [ -e {tmp_path}/go ]; do sleep 0.02; done; {end}"
    first = submit(batch, "sh", "-c", hold)
    then = submit(batch, "touch", f"{tmp_path}/ran", dependsOn=[{"jobId": first}])
    getattr(batch, operation)(jobId=then, reason="not needed")
    flag = "isCancelled" if operation == "cancel_job" else "isTerminated"
    job = describe(batch, then)
    assert (job["status"], job[flag]) == ("PENDING", True)
    (tmp_path / "go").touch()
    job = wait(batch, then)
    assert (job["status"], job["statusReason"]) == ("FAILED", "not needed")
    assert not (tmp_path / "ran").exists()


def test_a_cancelled_array_ends_when_all_dependencies_of_its_children_have_ended(local_aws, batch, tmp_path):
    """Index 0 of the first array has succeeded, so index 0 of the second runs; the others wait for theirs."""
    hold = f"[ $AWS_BATCH_JOB_ARRAY_INDEX = 0 ] || until [ -e {tmp_path}/go ]; do sleep 0.02; done"
    size = {"size": 3}
    first = submit(batch, "sh", "-c", hold, arrayProperties=size)
    then = submit(batch, "true", arrayProperties=size, dependsOn=[{"jobId": first, "type": "N_TO_N"}])
    wait(batch, f"{then}:0", "SUCCEEDED")
    batch.terminate_job(jobId=then, reason="stop")
    assert describe(batch, then)["arrayProperties"]["statusSummary"]["PENDING"] == 2
    (tmp_path / "go").touch()
    parent = wait(batch, then)
    summary = parent["arrayProperties"]["statusSummary"]
    assert (parent["statusReason"], summary["SUCCEEDED"], summary["FAILED"]) == ("stop", 1, 2)
    assert describe(batch, f"{then}:2")["statusReason"] == "stop"


def test_a_job_that_has_not_started_has_no_start_time(local_aws, batch):
    """DescribeJobs returns 0, because the model requires the member. ListJobs leaves it out."""
    local_aws.faults.no_capacity("default")
    job_id = submit(batch, "true")
    (listed,) = batch.list_jobs(jobQueue="default", jobStatus="RUNNABLE")["jobSummaryList"]
    assert (describe(batch, job_id)["startedAt"], "startedAt" in listed) == (0, False)
    local_aws.faults.no_capacity("default", capacity=True)
    job = wait(batch, job_id)
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]


# Blocked queues


def test_jobs_wait_while_the_compute_environment_is_disabled(local_aws, batch):
    """They are RUNNABLE with the reason, at the front of the queue's snapshot, and start once it is enabled."""
    batch.update_compute_environment(computeEnvironment="local", state="DISABLED")
    job_id = submit(batch, "true")
    assert "disabled" in wait(batch, job_id, "RUNNABLE")["statusReason"]
    front = batch.get_job_queue_snapshot(jobQueue="default")["frontOfQueue"]["jobs"]
    assert [job_id] == [each["jobArn"].rpartition("/")[2] for each in front]
    batch.update_compute_environment(computeEnvironment="local", state="ENABLED")
    assert wait(batch, job_id)["status"] == "SUCCEEDED"


def test_a_job_larger_than_every_compute_environment_waits(local_aws, batch):
    """A job with more vCPUs than maxvCpus stays RUNNABLE with Batch's status reason."""
    big = {"resourceRequirements": [{"type": "VCPU", "value": "512"}]}
    job = wait(batch, submit(batch, containerOverrides=big), "RUNNABLE")
    assert job["statusReason"].startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")


def test_no_job_starts_with_max_vcpus_0(local_aws, batch):
    """Jobs start when maxvCpus is raised."""
    batch.update_compute_environment(computeEnvironment="local", computeResources={"maxvCpus": 0})
    job_id = submit(batch, "true")
    assert wait(batch, job_id, "RUNNABLE")["status"] == "RUNNABLE"
    batch.update_compute_environment(computeEnvironment="local", computeResources={"maxvCpus": 4})
    assert wait(batch, job_id)["status"] == "SUCCEEDED"


# Lists


def listed(batch, name=None, value=None, **options):
    """Ids of the jobs of the queue, over all pages of two jobs."""
    filters = {"filters": [{"name": name, "values": [value]}]} if name else {}
    pages = batch.get_paginator("list_jobs").paginate(
        jobQueue="default", **filters, **options, PaginationConfig={"PageSize": 2}
    )
    return [job["jobId"] for page in pages for job in page["jobSummaryList"]]


def test_list_jobs_has_running_jobs_by_default(local_aws, batch):
    """Children are listed by index, up to 1,000 per page."""
    parent = submit(batch, "true", jobName="night-a", arrayProperties={"size": 1100})
    wait(batch, parent)
    other = submit(batch, "sleep", "60")
    wait(batch, other, "RUNNING")
    assert [other] == [job["jobId"] for job in batch.list_jobs(jobQueue="default")["jobSummaryList"]]
    pages = [
        [job["arrayProperties"]["index"] for job in page["jobSummaryList"]]
        for page in batch.get_paginator("list_jobs").paginate(arrayJobId=parent, jobStatus="SUCCEEDED")
    ]
    assert [list(range(1000)), list(range(1000, 1100))] == pages


def test_filters_of_list_jobs_are_those_of_aws(local_aws, batch):
    """Names ignore case, definitions do not. The newest job is first; with a name filter, names are grouped."""
    batch.register_job_definition(
        jobDefinitionName="other", type="container", containerProperties={"image": "b", "vcpus": 1, "memory": 64}
    )
    names = ["night-a", "Night-b", "day", "night-a"]
    ids = [submit(batch, "true", jobName=name) for name in names]
    ids.append(submit(batch, "true", jobDefinition="other"))
    for job_id in ids:
        wait(batch, job_id)
    a, b, day, a2, other = ids
    arn = describe(batch, a)["jobDefinition"]
    assert [other, a2, day, b, a] == listed(batch, jobStatus="SUCCEEDED")
    assert [b, a2, a] == listed(batch, "JOB_NAME", "NIGHT-*")
    assert [b] == listed(batch, "JOB_NAME", "night-B")
    assert [] == listed(batch, "JOB_NAME", "*-b")
    assert [a2, day, b, a] == listed(batch, "JOB_DEFINITION", "sh") == listed(batch, "JOB_DEFINITION", "s*")
    assert [a2, day, b, a] == listed(batch, "JOB_DEFINITION", arn)
    assert [] == listed(batch, "JOB_DEFINITION", "SH") == listed(batch, "JOB_DEFINITION", arn[:-1] + "*")
    created = describe(batch, b)["createdAt"]
    assert a in listed(batch, "BEFORE_CREATED_AT", str(created + 1))
    assert [other, a2, day, b, a] == listed(batch, "AFTER_CREATED_AT", "0")
    assert [] == listed(batch, "SHARE_IDENTIFIER", "x")
    # jobStatus is ignored
    assert [day] == listed(batch, "JOB_NAME", "day", jobStatus="FAILED")


def test_job_status_applies_with_the_filter_share_identifier(local_aws, batch):
    """It is the only filter with which it does."""
    policy = batch.create_scheduling_policy(name="fair")["arn"]
    order = [{"order": 1, "computeEnvironment": "local"}]
    batch.create_job_queue(
        jobQueueName="fair", priority=1, computeEnvironmentOrder=order, schedulingPolicyArn=policy
    )  # fmt: skip
    ids = [submit(batch, command, jobQueue="fair", shareIdentifier="team") for command in ("true", "false")]
    for job_id in ids:
        wait(batch, job_id)
    share = [{"name": "SHARE_IDENTIFIER", "values": ["team"]}]

    def found(**options):
        return [job["jobId"] for job in batch.list_jobs(jobQueue="fair", filters=share, **options)["jobSummaryList"]]

    assert (ids[::-1], ids[1:]) == (found(), found(jobStatus="FAILED"))


def test_a_filtered_list_has_no_reasons_and_no_times(local_aws, batch):
    """As reported for AWS; a list by status has them."""
    wait(batch, submit(batch, "false"))
    (by_status,) = batch.list_jobs(jobQueue="default", jobStatus="FAILED")["jobSummaryList"]
    (by_name,) = batch.list_jobs(jobQueue="default", filters=[{"name": "JOB_NAME", "values": ["job"]}])[
        "jobSummaryList"
    ]
    assert {"statusReason", "startedAt", "stoppedAt", "container"} == by_status.keys() - by_name.keys()
    assert by_status["container"]["exitCode"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": [{"name": "JOB_NAME", "values": ["a"]}] * 2}, "Only one filter key-value pair can be specified."),
        ({"filters": [{"name": "JOB_NAME", "values": ["a", "b"]}]}, "Only one filter key-value pair"),
        ({"filters": [{"name": "job_name", "values": ["a"]}]}, "filter job_name"),
        ({"filters": [{"name": "AFTER_CREATED_AT", "values": ["now"]}]}, "filter AFTER_CREATED_AT"),
        ({"jobStatus": "ENDED"}, "Member must be one of SUBMITTED"),
        ({"maxResults": 0}, "maxResults must be at least 1"),
        ({"nextToken": "3"}, "nextToken is not valid"),
    ],
)
def test_invalid_lists_are_rejected(local_aws, batch, options, message):
    """Several filters, unknown ones, and invalid values."""
    wait(batch, submit(batch, "true"))
    assert message in rejected(batch.list_jobs, jobQueue="default", **options)


def test_unknown_jobs_are_omitted_from_descriptions(local_aws, batch):
    """Like jobs that AWS has deleted."""
    job_id = submit(batch, "true")
    wait(batch, job_id)
    local_aws.faults.forget(job_id)
    assert batch.describe_jobs(jobs=[job_id, "no-such-job"])["jobs"] == []


# Rejected requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobQueue": "none"}, "no such job queue"),
        ({"jobDefinition": "none"}, "JobDefinition not found"),
        ({"arrayProperties": {"size": 1}}, "between 2 and 10000"),
        ({"arrayProperties": {"size": 10_001}}, "between 2 and 10000"),
        ({"jobName": "a b"}, "Job name should match"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"retryStrategy": {"attempts": 11}}, "between 1 and 10"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT"}] * 6}}, "at most 5"),
        ({"containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": ""}]}}, "AWS_BATCH"),
        ({"containerOverrides": {"environment": [{"name": "X", "value": "x" * 8192}]}}, "at most 8192"),
        ({"dependsOn": [{"jobId": "x"}] * 21}, "at most 20"),
        ({"dependsOn": [{"jobId": "none"}]}, "does not exist"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "array job"),
        ({"shareIdentifier": "a"}, "shareIdentifier must not be given"),
        ({"tags": {str(number): "" for number in range(51)}}, "Value at 'tags'"),
        (
            {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "0.25"}]}},
            "VCPU must be a whole number of at least 1 on EC2, not 0.25",
        ),
    ],
)
def test_limits_are_those_of_aws(local_aws, batch, options, message):
    """Requests fail with ClientException, and no job is created."""
    request = {"jobName": "job", "jobQueue": "default", "jobDefinition": "sh", **options}
    assert message in rejected(batch.submit_job, **request)
    everything = batch.list_jobs(jobQueue="default", filters=[{"name": "JOB_NAME", "values": ["*"]}])
    assert everything["jobSummaryList"] == []


def test_n_to_n_needs_equal_sizes(local_aws, batch):
    """Sizes 3 and 4 are rejected."""
    first = submit(batch, "true", arrayProperties={"size": 3})
    request = {"jobName": "job", "jobQueue": "default", "jobDefinition": "sh", "arrayProperties": {"size": 4}}
    assert "same size" in rejected(batch.submit_job, dependsOn=[{"jobId": first, "type": "N_TO_N"}], **request)


def test_describe_jobs_takes_100_ids(local_aws, batch):
    """101 ids are rejected."""
    assert "1 to 100" in rejected(batch.describe_jobs, jobs=["x"] * 101)


# Tags and definitions


def test_tags_can_be_added_and_removed(local_aws, batch):
    """Tags are changed by the job's ARN and shown by DescribeJobs."""
    job_id = submit(batch, "true", tags={"run": "1"})
    arn = describe(batch, job_id)["jobArn"]
    batch.tag_resource(resourceArn=arn, tags={"team": "data"})
    batch.untag_resource(resourceArn=arn, tagKeys=["run"])
    assert batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "data"}
    assert describe(batch, job_id)["tags"] == {"team": "data"}


def test_tags_of_array_and_definition_are_not_those_of_children_and_jobs(local_aws, batch):
    """Only ECS tasks get them. Together at most 50: else the job is moved to FAILED."""
    own, others = ({f"{name}{number}": "" for number in range(26)} for name in "ab")
    batch.register_job_definition(
        jobDefinitionName="tagged", type="container", tags=others,
        containerProperties={"image": "busybox", "command": ["true"], "memory": 128, "vcpus": 1},
    )  # fmt: skip
    array = submit(batch, "true", tags=own, arrayProperties={"size": 2})
    assert own == describe(batch, array)["tags"]
    assert "tags" not in describe(batch, f"{array}:0")
    for propagate, status in ((True, "FAILED"), (False, "SUCCEEDED")):
        job = wait(batch, submit(batch, "true", jobDefinition="tagged", tags=own, propagateTags=propagate))
        assert (status, own) == (job["status"], job["tags"])
    array = submit(batch, "true", jobDefinition="tagged", tags=own, propagateTags=True, arrayProperties={"size": 2})
    assert "over 50" in wait(batch, f"{array}:1")["statusReason"]


def test_a_name_selects_the_newest_active_revision(local_aws, batch):
    """A deregistered revision is rejected."""
    again = batch.register_job_definition(
        jobDefinitionName="sh", type="container", containerProperties={"image": "b:2", "vcpus": 1, "memory": 64}
    )
    assert again["revision"] == 2
    batch.deregister_job_definition(jobDefinition="sh:2")
    assert describe(batch, submit(batch, "true"))["jobDefinition"].endswith("sh:1")
    assert "not found" in rejected(batch.submit_job, jobName="job", jobQueue="default", jobDefinition="sh:2")
    active = batch.describe_job_definitions(jobDefinitionName="sh", status="ACTIVE")["jobDefinitions"]
    assert [each["revision"] for each in active] == [1]


# Property tests


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    failures=st.lists(st.integers(0, 3), min_size=2, max_size=6),
    attempts=st.integers(1, 3),
    kinds=st.lists(st.sampled_from(["N_TO_N", None]), max_size=2, unique=True),
)
def test_array_counts_match_the_children_after_any_failures(batch, failures, attempts, kinds):
    """Each child fails as often as configured. Dependent children run exactly if their dependencies succeeded."""
    fails = " ".join(map(str, failures))
    script = f"set -- {fails}; shift $AWS_BATCH_JOB_ARRAY_INDEX; test $AWS_BATCH_JOB_ATTEMPT -gt $1"
    size = {"size": len(failures)}
    first = submit(batch, "sh", "-c", script, arrayProperties=size, retryStrategy={"attempts": attempts})
    depends = [{"jobId": first, **({"type": kind} if kind else {})} for kind in kinds]
    then = submit(batch, "true", arrayProperties=size, dependsOn=depends)
    wait(batch, first)
    wait(batch, then)
    good = [count < attempts for count in failures]
    follows = [(all(good) if None in kinds else True) and (each if "N_TO_N" in kinds else True) for each in good]
    for job_id, expected in ((first, good), (then, follows)):
        children = batch.describe_jobs(jobs=[f"{job_id}:{index}" for index in range(len(failures))])["jobs"]
        assert [child["status"] == "SUCCEEDED" for child in children] == expected
        parent = describe(batch, job_id)
        assert (parent["status"] == "SUCCEEDED") == all(expected)
        assert parent["arrayProperties"]["statusSummary"] == {
            **dict.fromkeys(TRANSITIONS, 0),
            "SUCCEEDED": sum(expected),
            "FAILED": len(expected) - sum(expected),
        }
    children = batch.describe_jobs(jobs=[f"{first}:{index}" for index in range(len(failures))])["jobs"]
    made = [len(child["attempts"]) for child in children]
    assert made == [min(count + 1, attempts) for count in failures]
