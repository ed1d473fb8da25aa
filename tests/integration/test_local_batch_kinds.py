"""The local Batch describes ECS tasks, pods and multi-node jobs as AWS documents it, and runs all their containers."""

from __future__ import annotations

import json

import pytest

from tests.integration.batch_engine import eventually
from tests.integration.test_local_batch import rejected, wait

SIZES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}]
ROUTER = {
    "name": "router",
    "image": "fluent-bit",
    "firelensConfiguration": {"type": "fluentbit"},
    "resourceRequirements": SIZES,
}


def sh(name, script, **members):
    return {
        "name": name,
        "image": "busybox",
        "command": ["sh", "-c", script],
        "resourceRequirements": SIZES,
        **members,
    }


def task(*containers):
    return {"ecsProperties": {"taskProperties": [{"containers": list(containers), "executionRoleArn": "role"}]}}


def pod(*containers):
    return {"eksProperties": {"podProperties": {"containers": list(containers), "hostNetwork": True}}}


def nodes(count, *ranges, main=0):
    ranges = [{"targetNodes": where, **part} for where, part in ranges]
    return {
        "type": "multinode",
        "nodeProperties": {"numNodes": count, "mainNode": main, "nodeRangeProperties": ranges},
    }


def plain(script, **members):
    found = sh("", script, **members)
    return {"container": {key: value for key, value in found.items() if key != "name"}}


@pytest.fixture
def batch(local_aws):
    """A Batch client that rejects responses with members that are not in botocore's model, which it drops itself."""
    client = local_aws.client("batch")
    bodies = []
    client.meta.events.register("before-parse.batch", lambda response_dict, **_: bodies.append(response_dict["body"]))
    client.meta.events.register("after-call.batch", lambda parsed, **_: check(parsed, json.loads(bodies[-1])))
    return client


def check(parsed, body):
    if "Error" not in parsed:
        assert body == {key: value for key, value in parsed.items() if key != "ResponseMetadata"}


def submit(batch, definition, **request):
    arguments = {"jobDefinitionName": "kind", "type": "container", **definition}
    batch.register_job_definition(**arguments)
    return batch.submit_job(jobName="job", jobQueue="default", jobDefinition="kind", **request)["jobId"]


def of_task(job):
    return {one["name"]: one for one in job["ecsProperties"]["taskProperties"][0]["containers"]}


def lines(local_aws, container):
    events = local_aws.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=container["logStreamName"], startFromHead=True
    )["events"]
    return [event["message"] for event in events]


def test_a_task_shows_what_became_of_each_container(local_aws, batch):
    """There is no `container`. The first essential container that ends stops the others; a log router does not run."""
    side = sh("side", "echo aside; exec sleep 60", essential=False)
    idle = {"name": "idle", "image": "x", "essential": False, "resourceRequirements": SIZES}
    job = wait(batch, submit(batch, task(ROUTER, side, idle, sh("app", "echo hello; sleep 1; exit 3"))))
    assert ("FAILED", "Essential container in task exited") == (job["status"], job["statusReason"])
    assert "container" not in job
    found = of_task(job)
    assert {"router": None, "side": 143, "idle": None, "app": 3} == {
        name: one.get("exitCode") for name, one in found.items()
    }
    assert (["hello"], ["aside"]) == (lines(local_aws, found["app"]), lines(local_aws, found["side"]))
    (attempt,) = job["attempts"]
    (ended,) = attempt["taskProperties"]
    assert ended["taskArn"] == job["ecsProperties"]["taskProperties"][0]["taskArn"]
    assert ("container" in attempt, found["app"]["logStreamName"], 3) == (
        False,
        ended["containers"][3]["logStreamName"],
        ended["containers"][3]["exitCode"],
    )
    (listed,) = batch.list_jobs(jobQueue="default", jobStatus="FAILED")["jobSummaryList"]
    assert "container" not in listed


def test_a_task_starts_without_a_container_that_is_not_essential(local_aws, batch):
    """One that cannot be pulled. An essential one fails the task."""
    local_aws.faults.unpullable("private")
    side = sh("side", "true", image="private", essential=False)
    job = wait(batch, submit(batch, task(side, sh("app", "true"))))
    assert "SUCCEEDED" == job["status"]
    assert of_task(job)["side"]["reason"].startswith("CannotPullContainerError")
    job = wait(batch, submit(batch, task({**side, "essential": True}, sh("app", "true"))))
    assert ("FAILED", "Task failed to start") == (job["status"], job["statusReason"])


def test_overrides_apply_to_the_container_that_they_name(batch):
    """Here the second essential one, which ends the task."""
    definition = task(sh("first", "exec sleep 60"), sh("second", "exit 9", environment=[{"name": "A", "value": "0"}]))
    override = {"name": "second", "command": ["sh", "-c", "exit $A"], "environment": [{"name": "A", "value": "5"}]}
    request = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [override]}]}}
    found = of_task(wait(batch, submit(batch, definition, **request)))
    assert (143, 5) == (found["first"]["exitCode"], found["second"]["exitCode"])
    assert ["sh", "-c", "exit $A"] == found["second"]["command"]


@pytest.mark.parametrize(
    ("definition", "request_", "message"),
    [
        (task(sh("a", "true")), {"containerOverrides": {"command": ["x"]}}, "containerOverrides"),
        (
            task(sh("a", "true"), sh("b", "true")),
            {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"command": ["x"]}]}]}},
            "container Default does not exist",
        ),
        (
            pod({"image": "x"}),
            {"eksPropertiesOverride": {"podProperties": {"containers": [{"name": "other"}]}}},
            "container other does not exist",
        ),
        (
            nodes(2, ("0:", plain("true"))),
            {"nodeOverrides": {"nodePropertyOverrides": [{"targetNodes": "0:1", "containerOverrides": {}}]}},
            "Non matching targets - 0:1",
        ),
    ],
)
def test_overrides_that_fit_no_container_are_rejected(batch, definition, request_, message):
    """By kind, by name, or by range of nodes."""
    batch.register_job_definition(**{"jobDefinitionName": "kind", "type": "container", **definition})
    assert message in rejected(batch.submit_job, jobName="x", jobQueue="default", jobDefinition="kind", **request_)


def test_a_task_needs_an_essential_container(batch):
    """AWS: TaskContainerProperties."""
    definition = {"jobDefinitionName": "x", "type": "container", **task(sh("a", "true", essential=False))}
    assert "essential" in rejected(batch.register_job_definition, **definition)


def test_a_pod_shows_its_containers_without_log_streams(batch):
    """In `eksProperties` and `eksAttempts`. It ends with its last container, and fails if one has failed."""
    image = {"image": "busybox"}
    first = {**image, "name": "first", "command": ["sh", "-c"], "args": ["exit 4"]}
    job_id = submit(batch, pod(first, {**image, "name": "second", "command": ["sh", "-c", "sleep 1"]}))
    running = wait(batch, job_id, "RUNNING")["eksProperties"]["podProperties"]
    assert {"podName", "nodeName", "hostNetwork"} <= running.keys()
    job = wait(batch, job_id)
    assert "FAILED" == job["status"]
    assert not {"container", "attempts", "ecsProperties"} & job.keys()
    (attempt,) = job["eksAttempts"]
    expected = [("first", 4, "Error"), ("second", 0, "Completed")]
    shown = job["eksProperties"]["podProperties"]["containers"]
    for found in (attempt["containers"], shown):
        assert expected == [(one["name"], one["exitCode"], one["reason"]) for one in found]
        assert not any("logStreamName" in one for one in found)
    assert running["podName"] == attempt["podName"]


def test_a_pod_that_runs_out_of_memory_has_the_reason_of_kubernetes(local_aws, batch):
    """It is retried by that reason."""
    limits = {"limits": {"cpu": "1", "memory": "128Mi"}}
    script = "[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || exec sleep 60"
    definition = pod({"image": "busybox", "command": ["sh", "-c", script], "resources": limits})
    rules = [{"onReason": "OOMKilled", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    job_id = submit(batch, definition, retryStrategy={"attempts": 2, "evaluateOnExit": rules})
    wait(batch, job_id, "RUNNING")
    local_aws.faults.out_of_memory(job_id)
    job = wait(batch, job_id)
    assert "SUCCEEDED" == job["status"]
    assert [("OOMKilled", 137), ("Completed", 0)] == [
        (one["containers"][0]["reason"], one["containers"][0]["exitCode"]) for one in job["eksAttempts"]
    ]


NODE = (
    'echo "$AWS_BATCH_JOB_NODE_INDEX/$AWS_BATCH_JOB_NUM_NODES $AWS_BATCH_JOB_MAIN_NODE_INDEX '
    '${AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS-none}"'
)


def test_the_nodes_of_a_job_are_jobs_of_their_own(local_aws, batch, tmp_path):
    """The main node decides: a failure of another one does not end the job. The parent has no `container`."""
    ready = tmp_path / "ready"
    ranges = [
        (":2", plain(f"{NODE}; touch {ready}; exit 6")),
        ("0", plain(f"{NODE}; while [ ! -e {ready} ]; do sleep 0.1; done; sleep 1")),
    ]
    job_id = submit(batch, nodes(3, *ranges))
    job = wait(batch, job_id)
    assert ("SUCCEEDED", 3) == (job["status"], job["nodeProperties"]["numNodes"])
    assert not {"container", "nodeDetails"} & job.keys()
    (attempt,) = job["attempts"]
    found = batch.describe_jobs(jobs=[f"{job_id}#{index}" for index in range(3)])["jobs"]
    assert [(0, True, "SUCCEEDED", 0), (1, False, "FAILED", 6), (2, False, "FAILED", 6)] == [
        (one["nodeDetails"]["nodeIndex"], one["nodeDetails"]["isMainNode"], one["status"], one["container"]["exitCode"])
        for one in found
    ]
    assert attempt["container"]["logStreamName"] == found[0]["container"]["logStreamName"]
    assert [["0/3 0 none"], ["1/3 0 127.0.0.1"], ["2/3 0 127.0.0.1"]] == [
        lines(local_aws, one["container"]) for one in found
    ]
    listed = batch.list_jobs(multiNodeJobId=job_id, jobStatus="FAILED")["jobSummaryList"]
    assert [(f"{job_id}#1", 1), (f"{job_id}#2", 2)] == [
        (one["jobId"], one["nodeProperties"]["nodeIndex"]) for one in listed
    ]


def test_the_end_of_the_main_node_stops_the_others_and_a_retry_runs_all(batch, tmp_path):
    """Overrides apply to ranges of nodes; `numNodes` can be overridden."""
    script = f"echo $AWS_BATCH_JOB_NODE_INDEX$AWS_BATCH_JOB_ATTEMPT >> {tmp_path}/ran; exec sleep 60"
    main = f"while [ $(grep -c $AWS_BATCH_JOB_ATTEMPT\\$ {tmp_path}/ran) -lt 2 ]; do sleep 0.1; done; exit 8"
    override = {"targetNodes": "1", "containerOverrides": {"command": ["sh", "-c", f"touch {tmp_path}/ran; {main}"]}}
    job_id = submit(
        batch,
        nodes(2, ("0:", plain(script)), ("1", plain(script)), main=1),
        nodeOverrides={"numNodes": 3, "nodePropertyOverrides": [override]},
        retryStrategy={"attempts": 2},
    )
    job = wait(batch, job_id)
    assert ("FAILED", [8, 8]) == (job["status"], [one["container"]["exitCode"] for one in job["attempts"]])
    assert ["01", "02", "21", "22"] == sorted((tmp_path / "ran").read_text().split())
    others = batch.describe_jobs(jobs=[f"{job_id}#0", f"{job_id}#2"])["jobs"]
    assert [("FAILED", [143, 143])] * 2 == [
        (one["status"], [each["container"]["exitCode"] for each in one["attempts"]]) for one in others
    ]


@pytest.mark.parametrize("definition", [task(sh("a", "exec sleep 60"), sh("b", "exec sleep 60")), nodes(2, ("0:", plain("exec sleep 60")))])  # fmt: skip # noqa: E501
def test_a_terminated_job_ends_all_its_containers(batch, definition):
    """The reason is that of the call."""
    job_id = submit(batch, definition)
    wait(batch, job_id, "RUNNING")
    if "nodeProperties" in definition:
        eventually(lambda: batch.describe_jobs(jobs=[f"{job_id}#1"])["jobs"][0]["status"] == "RUNNING")
    batch.terminate_job(jobId=job_id, reason="not needed")
    job = wait(batch, job_id)
    assert ("FAILED", "not needed") == (job["status"], job["statusReason"])
    if "nodeProperties" in definition:
        found = batch.describe_jobs(jobs=[f"{job_id}#0", f"{job_id}#1"])["jobs"]
        assert [143, 143] == [one["container"]["exitCode"] for one in found]
    else:
        assert [143, 143] == [one["exitCode"] for one in of_task(job).values()]


def test_an_array_of_tasks_has_tasks_as_children(batch):
    """The parent describes the task as well."""
    job_id = submit(batch, task(sh("app", "exit $AWS_BATCH_JOB_ARRAY_INDEX")), arrayProperties={"size": 2})
    assert "container" not in wait(batch, job_id)
    found = batch.describe_jobs(jobs=[f"{job_id}:0", f"{job_id}:1"])["jobs"]
    assert [0, 1] == [of_task(one)["app"]["exitCode"] for one in found]


@pytest.mark.parametrize("part", [plain("echo hello"), task(sh("app", "echo hello"))])
def test_the_amazon_provider_finds_the_log_of_a_multi_node_job(local_aws, batch, monkeypatch, part):
    """In the attempts of the job, which it reads for both kinds of nodes."""
    from airflow.providers.amazon.aws.hooks.batch_client import BatchClientHook

    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    job_id = submit(batch, nodes(1, ("0:", part)))
    wait(batch, job_id)
    (found,) = BatchClientHook().get_job_all_awslogs_info(job_id)
    assert "/aws/batch/job" == found["awslogs_group"]
    assert ["hello"] == lines(local_aws, {"logStreamName": found["awslogs_stream_name"]})
