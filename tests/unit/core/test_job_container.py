"""The container of jobs as DescribeJobs and ListJobs return them for each kind of job definition.

The responses have the members that botocore's model and the AWS Batch user guide document for each kind.
"""

from __future__ import annotations

import json

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

from airflow_batchemr.aws.batch.progress import summary_of
from airflow_batchemr.aws.batch.results import failure_of
from airflow_batchemr.aws.logs import log_group
from airflow_batchemr.core.job_container import attempts_of, container_of, containers_of

EXITED = "Essential container in task exited"
STREAM = "etl/default/8d2b0d4f7a0c4a2f9c0e1b5a6f1d2e3c"
TASK = {
    "containerInstanceArn": "arn:aws:ecs:us-east-1:123456789012:container-instance/c/1f2e",
    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/c/8d2b0d4f",
}
OURS = [{"name": "BATCHEMR_SUBMISSION", "value": "1"}]
SIZES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}]
ROUTER = {
    "name": "log_router",
    "image": "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
    "essential": True,
    "firelensConfiguration": {"type": "fluentbit"},
    "resourceRequirements": [{"type": "MEMORY", "value": "128"}],
}


def job(status, **members):
    return {
        "jobName": "etl",
        "jobId": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
        "jobQueue": "arn:aws:batch:us-east-1:123456789012:job-queue/q",
        "jobDefinition": "arn:aws:batch:us-east-1:123456789012:job-definition/etl:1",
        "status": status,
        "startedAt": 1700000000000,
        **members,
    }


def app(**members):
    return {"name": "app", "image": "etl:1", "resourceRequirements": SIZES, **members}


def ecs(status, *containers, attempts=(), reason=EXITED):
    """A job with `ecsProperties`: no `container`; its attempts have `taskProperties`."""
    shown = ("name", "exitCode", "reason", "logStreamName")
    ended = [
        {"taskProperties": [{**TASK, "containers": [{k: v for k, v in one.items() if k in shown} for one in each]}]}
        for each in attempts
    ]
    return job(
        status,
        statusReason=reason,
        attempts=[{**one, "statusReason": reason} for one in ended],
        ecsProperties={"taskProperties": [{**TASK, "containers": list(containers)}]},
    )


def pod(status, *containers, attempts=(), **members):
    """A job with `eksProperties`: no `container` and no `attempts`, but `eksAttempts`."""
    return job(
        status,
        eksProperties={"podProperties": {"containers": list(containers), **members}},
        eksAttempts=[
            {"containers": list(each), "podName": "aws-batch.b0aca953", "nodeName": "ip-192-168-55-175.ec2.internal"}
            for each in attempts
        ],
    )


def nodes(status, attempts, ranges=None, **members):
    """The parent of a multi-node job: no `container`; its attempts are those of the main node."""
    ranges = ranges or [{"targetNodes": "0:", "container": {"image": "mpi:1", "resourceRequirements": SIZES}}]
    properties = {"numNodes": 4, "mainNode": 0, "nodeRangeProperties": ranges}
    return job(status, nodeProperties=properties, attempts=attempts, **members)


#: From the user guide, "Amazon EKS jobs": the members of a running pod.
GUIDE_EKS = {
    "status": "RUNNING",
    "jobArn": "arn:aws:batch:us-east-1:123456789012:job/2d044787-c663-4ce6-a6fe-f2baf7e51b04",
    "jobDefinition": "arn:aws:batch:us-east-1:123456789012:job-definition/MyJobOnEks_SleepWithRequestsOnly:1",
    "jobQueue": "arn:aws:batch:us-east-1:123456789012:job-queue/My-Eks-JQ1",
    "jobId": "2d044787-c663-4ce6-a6fe-f2baf7e51b04",
    "eksProperties": {
        "podProperties": {
            "nodeName": "ip-192-168-55-175.ec2.internal",
            "containers": [
                {
                    "image": "public.ecr.aws/amazonlinux/amazonlinux:2",
                    "resources": {"requests": {"cpu": "1", "memory": "1024Mi"}},
                }
            ],
            "podName": "aws-batch.b0aca953-ba8f-3791-83e2-ed13af39428c",
        }
    },
}
#: The main node's container is an ECS task, as in https://github.com/apache/airflow/issues/54254
IN_TASK = [{"taskProperties": [{**TASK, "containers": [{"name": "app", "exitCode": 3, "logStreamName": STREAM}]}]}]
TASK_RANGES = [{"targetNodes": "0:", "ecsProperties": {"taskProperties": [{"containers": [app()]}]}}]
OOM = {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage", "logStreamName": STREAM}

#: Exit code, cause and log stream of failed jobs.
FAILED = {
    "plain": (
        job("FAILED", statusReason=EXITED, container={"image": "etl:1", "exitCode": 3, "logStreamName": STREAM}),
        (3, "exit 3", STREAM),
    ),
    "plain, in the attempt only": (
        job("FAILED", container={"image": "x"}, attempts=[{"container": {"reason": "CannotPullContainerError: x"}}]),
        (None, "pull", None),
    ),
    "ecs": (ecs("FAILED", app(exitCode=3, logStreamName=STREAM)), (3, "exit 3", STREAM)),
    "ecs, in the attempt only": (
        ecs("FAILED", app(), attempts=[[app(exitCode=1)], [app(**OOM)]]),
        (137, "oom", STREAM),
    ),
    "ecs, log router first": (
        ecs("FAILED", {**ROUTER, "exitCode": 137}, app(exitCode=3, logStreamName=STREAM)),
        (3, "exit 3", STREAM),
    ),
    "ecs, sidecar first": (
        ecs("FAILED", app(name="side", essential=False, exitCode=1), app(exitCode=3, logStreamName=STREAM)),
        (3, "exit 3", STREAM),
    ),
    "ecs, `container` names the second one": (
        ecs("FAILED", app(exitCode=143), app(name="two", exitCode=5, logStreamName=STREAM, environment=OURS)),
        (5, "exit 5", STREAM),
    ),
    "ecs, another essential container has failed": (
        ecs("FAILED", app(exitCode=143, environment=OURS), app(name="two", exitCode=5, logStreamName=STREAM)),
        (5, "exit 5", STREAM),
    ),
    "ecs, stopped from outside": (
        ecs("FAILED", app(exitCode=0, environment=OURS), app(name="two", exitCode=143)),
        (0, "exit 0", None),
    ),
    "ecs, a container on which the program depends has failed": (
        ecs("FAILED", app(name="init", essential=False, exitCode=4, logStreamName=STREAM), app(environment=OURS)),
        (4, "exit 4", STREAM),
    ),
    "ecs, a sidecar could not be pulled": (
        ecs("FAILED", app(name="side", essential=False, reason="CannotPullContainerError: x"), app(environment=OURS)),
        (None, "pull", None),
    ),
    "eks, an init container has failed": (
        job(
            "FAILED",
            eksProperties={"podProperties": {"containers": [{"name": "app", "image": "x"}]}},
            eksAttempts=[{"initContainers": [{"name": "init", "exitCode": 4, "reason": "Error"}], "podName": "p"}],
        ),
        (4, "exit 4", None),
    ),
    "eks": (pod("FAILED", {"name": "app", "image": "x", "exitCode": 3, "reason": "Error"}), (3, "exit 3", None)),
    "eks, in the attempt only": (
        pod("FAILED", {"image": "x"}, attempts=[[{"exitCode": 137, "reason": "OOMKilled"}]]),
        (137, "oom", None),
    ),
    "eks, another container has failed": (
        pod(
            "FAILED",
            {"name": "app", "env": OURS, "exitCode": 0, "reason": "Completed"},
            {"name": "side", "exitCode": 4, "reason": "Error"},
        ),
        (4, "exit 4", None),
    ),
    "nodes": (nodes("FAILED", [{"container": {**TASK, **OOM}}]), (137, "oom", STREAM)),
    "nodes, main node in a task": (
        nodes("FAILED", IN_TASK, TASK_RANGES),
        (3, "exit 3", STREAM),
    ),
    "nodes, plain container shown as a task": (nodes("FAILED", IN_TASK), (3, "exit 3", STREAM)),
    "nodes, pods": (
        nodes(
            "FAILED",
            [],
            [{"targetNodes": "0:", "eksProperties": {"podProperties": {"containers": [{"image": "x"}]}}}],
            eksAttempts=[{"containers": [{"exitCode": 3}], "podName": "p"}],
        ),
        (3, "exit 3", None),
    ),
    "a node": (
        job("FAILED", nodeDetails={"nodeIndex": 1, "isMainNode": False}, container={"exitCode": 9}),
        (9, "exit 9", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("described", [*(one for one, _ in FAILED.values()), GUIDE_EKS], ids=[*FAILED, "guide"])
def test_the_responses_have_only_documented_members(described):
    """Botocore's parser drops all others."""
    model = ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")
    answer = {"body": json.dumps({"jobs": [described]}).encode(), "headers": {}, "status_code": 200}
    parsed = create_parser("rest-json").parse(answer, model.operation_model("DescribeJobs").output_shape)
    assert [described] == parsed["jobs"]


@pytest.mark.parametrize(("described", "expected"), FAILED.values(), ids=FAILED)
def test_a_failure_has_the_exit_code_cause_and_log_stream_of_its_container(described, expected):
    """Memory steps depend on the cause, the failure report on all of them."""
    failure = failure_of(described, 0)
    assert expected == (failure.exit_code, failure.cause, failure.log_stream)


def test_the_reason_of_a_pods_container_is_reported():
    """It follows the reason of the job."""
    described = {**FAILED["eks, in the attempt only"][0], "statusReason": "Pod failed"}
    assert "Pod failed; OOMKilled" == failure_of(described, 0).reason


def test_the_container_of_a_pod_has_the_names_of_pod_and_node():
    """Its log is found by them: DescribeJobs has no log stream. The sizes are those of a plain container."""
    container = container_of(GUIDE_EKS)
    assert ("aws-batch.b0aca953-ba8f-3791-83e2-ed13af39428c", "ip-192-168-55-175.ec2.internal") == (
        container["podName"],
        container["nodeName"],
    )
    assert [("VCPU", "1"), ("MEMORY", "1024")] == [
        (one["type"], one["value"]) for one in container["resourceRequirements"]
    ]
    assert ("p", 1) == (
        container_of(FAILED["nodes, pods"][0])["podName"],
        len(attempts_of(FAILED["nodes, pods"][0])),
    )


def test_a_running_job_shows_the_log_stream_of_its_current_attempt():
    """Not that of an earlier one."""
    running = ecs("RUNNING", app(logStreamName="new"), attempts=[[app(exitCode=1, logStreamName="old")]])
    assert ("new", None) == (summary_of(running).log_stream, container_of(running).get("exitCode"))
    waiting = ecs("RUNNABLE", app(), attempts=[[app(exitCode=1, logStreamName="old")]])
    assert summary_of(waiting).log_stream is None


def test_a_running_multi_node_job_names_its_main_node():
    """Only the node shows the log stream while it is running."""
    running = nodes("RUNNING", [])
    assert (f"{running['jobId']}#0", None) == (summary_of(running).main_node, summary_of(running).log_stream)
    assert summary_of(FAILED["ecs"][0]).main_node is None


def test_the_innermost_range_describes_the_main_node():
    """Ranges may be nested (AWS: NodeRangeProperty)."""
    inner = {"image": "inner", "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "mine"}}}
    ranges = [{"targetNodes": ":3", "container": {"image": "outer"}}, {"targetNodes": "0", "container": inner}]
    described = nodes("RUNNING", [], ranges)
    assert ("inner", "mine") == (container_of(described)["image"], log_group(described))


def test_all_containers_of_a_task_count_for_its_size():
    """The instance has to have room for all of them."""
    assert ["128", "2048"] == [
        one["value"]
        for container in containers_of(ecs("RUNNABLE", ROUTER, app()))
        for one in container["resourceRequirements"]
        if one["type"] == "MEMORY"
    ]


def test_a_summary_of_list_jobs_is_read_as_well():
    """It has `nodeProperties` of its own."""
    summary = {
        "jobId": "x#1",
        "jobName": "etl",
        "status": "FAILED",
        "nodeProperties": {"isMainNode": False, "numNodes": 4, "nodeIndex": 1},
        "container": {"exitCode": 2},
    }
    assert 2 == container_of(summary)["exitCode"]
    assert {} == container_of({"jobId": "x", "jobName": "etl", "status": "FAILED"})
