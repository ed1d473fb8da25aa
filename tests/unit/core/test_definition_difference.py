"""Which differences between a described job definition and the one that was asked for count."""

from __future__ import annotations

import json
from copy import deepcopy

import botocore.loaders
import pytest

from airflow_batchemr.core.definition_difference import definition_difference
from airflow_batchemr.core.service_models import shape

SIZES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}]
IMAGE = {"type": "container", "containerProperties": {"image": "etl:1", "resourceRequirements": SIZES}}
#: What AWS adds to every description.
ADDED = {
    "jobDefinitionArn": "arn:aws:batch:eu-west-1:123456789012:job-definition/batchemr-0:1",
    "revision": 1,
    "status": "ACTIVE",
    "containerOrchestrationType": "ECS",
    "parameters": {},
    "tags": {},
    "platformCapabilities": ["EC2"],
}
#: As in botocore's example of DescribeJobDefinitions, and in the tests of Terraform's provider for AWS.
EMPTY = {key: [] for key in ("command", "environment", "mountPoints", "secrets", "ulimits", "volumes")}
#: Members that DescribeJobDefinitions shows as null if they are unset, through some clients.
NULLS = dict.fromkeys(("jobRoleArn", "privileged", "readonlyRootFilesystem", "user", "linuxParameters"))


def container(**properties):
    return {**IMAGE, "containerProperties": {**IMAGE["containerProperties"], **properties}}


def task(*containers, **properties):
    return {"type": "container", "ecsProperties": {"taskProperties": [{"containers": list(containers), **properties}]}}


def pod(container, **properties):
    return {"type": "container", "eksProperties": {"podProperties": {"containers": [container], **properties}}}


def nodes(**properties):
    one = {"targetNodes": "0:", "container": {"image": "etl:1", "resourceRequirements": SIZES, **properties}}
    return {"type": "multinode", "nodeProperties": {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [one]}}


FARGATE = {"fargatePlatformConfiguration": {"platformVersion": "LATEST"}}
APP, SIDE = {"name": "app", "image": "etl:1"}, {"name": "side", "image": "log:1", "essential": False}
TASK_LISTS = {key: [] for key in ("command", "dependsOn", "environment", "mountPoints", "secrets", "ulimits")}


@pytest.mark.parametrize(
    ("asked", "described"),
    [
        (IMAGE, container(**EMPTY, **NULLS)),
        (
            IMAGE,
            container(resourceRequirements=[{"type": "MEMORY", "value": "2048"}, {"type": "VCPU", "value": "1.0"}]),
        ),
        (IMAGE, container(**EMPTY, vcpus=0, memory=0)),
        (IMAGE, container(**EMPTY, vcpus=1, memory=2048)),
        (container(privileged=False, user=""), container(privileged=None)),
        (IMAGE, {**container(**EMPTY), "tags": {"created-by": "a tool"}}),
        (IMAGE, {**IMAGE, "retryStrategy": {"attempts": 1, "evaluateOnExit": []}, "timeout": {}}),
        (
            {**IMAGE, "retryStrategy": {"evaluateOnExit": [{"onExitCode": "1", "action": "retry"}]}},
            {**IMAGE, "retryStrategy": {"attempts": 1, "evaluateOnExit": [{"onExitCode": "1", "action": "RETRY"}]}},
        ),
        ({**IMAGE, "platformCapabilities": ["EC2"]}, container(**EMPTY)),
        (IMAGE, container(**FARGATE, runtimePlatform={"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"})),
        (IMAGE, container(networkConfiguration={"assignPublicIp": "DISABLED"})),
        (IMAGE, container(logConfiguration={"logDriver": "awslogs", "options": {}, "secretOptions": []})),
        (
            container(environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
            container(environment=[{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]),
        ),
        (container(environment=[{"name": "EMPTY", "value": ""}]), container(environment=[])),
        (container(environment=[{"name": "E", "value": ""}]), container(environment=[{"name": "E", "value": ""}])),
        (
            container(mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}], volumes=[{"name": "v"}]),
            container(
                mountPoints=[{"sourceVolume": "v", "containerPath": "/v", "readOnly": False}],
                volumes=[{"name": "v", "host": {}}],
            ),
        ),
        (
            container(linuxParameters={"devices": [{"hostPath": "/dev/fuse"}], "initProcessEnabled": True}),
            container(
                linuxParameters={
                    "devices": [{"hostPath": "/dev/fuse", "permissions": []}],
                    "initProcessEnabled": True,
                    "tmpfs": [],
                    "swappiness": 60,
                }
            ),
        ),
        (
            task(APP, SIDE),
            task({**TASK_LISTS, **SIDE}, {**TASK_LISTS, "essential": True, **APP}, platformVersion="LATEST"),
        ),
        (
            pod({"image": "etl:1", "resources": {"limits": {"cpu": "1"}}}),
            pod(
                {
                    "image": "etl:1",
                    "name": "Default",
                    "env": [],
                    "volumeMounts": [],
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {"limits": {"cpu": "1.0"}, "requests": {}},
                },
                hostNetwork=True,
                dnsPolicy="ClusterFirst",
                volumes=[],
            ),
        ),
        (nodes(), nodes(**EMPTY)),
    ],
)
def test_what_aws_adds_does_not_count(asked, described):
    """Otherwise every submission would register another revision."""
    assert definition_difference({**asked, "jobDefinitionName": "n"}, {**ADDED, **described}) is None


@pytest.mark.parametrize(
    ("asked", "described", "path"),
    [
        (IMAGE, container(image="evil:1"), "containerProperties.image"),
        (IMAGE, container(privileged=True), "containerProperties.privileged"),
        (IMAGE, container(user="root"), "containerProperties.user"),
        (IMAGE, container(jobRoleArn="arn:other"), "containerProperties.jobRoleArn"),
        (container(jobRoleArn="arn:mine"), IMAGE, "containerProperties.jobRoleArn"),
        (IMAGE, container(command=["curl", "evil"]), "containerProperties.command"),
        (IMAGE, container(environment=[{"name": "LD_PRELOAD", "value": "/x"}]), "containerProperties.environment"),
        (IMAGE, container(environment=[{"name": "HTTP_PROXY", "value": ""}]), "containerProperties.environment"),
        (IMAGE, container(secrets=[{"name": "A", "valueFrom": "arn:x"}]), "containerProperties.secrets"),
        (IMAGE, container(volumes=[{"name": "v", "host": {"sourcePath": "/"}}]), "containerProperties.volumes"),
        (
            container(volumes=[{"name": "v"}]),
            container(volumes=[{"name": "v", "host": {"sourcePath": "/"}}]),
            "containerProperties.volumes[0].host",
        ),
        (
            IMAGE,
            container(linuxParameters={"devices": [{"hostPath": "/dev/sda"}]}),
            "containerProperties.linuxParameters",
        ),
        (
            IMAGE,
            container(logConfiguration={"logDriver": "awslogs", "options": {"awslogs-group": "evil"}}),
            "containerProperties.logConfiguration",
        ),
        (IMAGE, container(logConfiguration={"logDriver": "splunk"}), "containerProperties.logConfiguration"),
        (
            IMAGE,
            container(repositoryCredentials={"credentialsParameter": "x"}),
            "containerProperties.repositoryCredentials",
        ),
        (IMAGE, container(enableExecuteCommand=True), "containerProperties.enableExecuteCommand"),
        (
            IMAGE,
            container(networkConfiguration={"assignPublicIp": "ENABLED"}),
            "containerProperties.networkConfiguration",
        ),
        (
            IMAGE,
            container(resourceRequirements=[*SIZES, {"type": "GPU", "value": "8"}]),
            "containerProperties.resourceRe",
        ),
        (IMAGE, {**IMAGE, "parameters": {"input": "s3://evil/"}}, "parameters"),
        (IMAGE, {**IMAGE, "parameters": {"platformVersion": "LATEST"}}, "parameters"),
        (IMAGE, {**IMAGE, "timeout": {"attemptDurationSeconds": 60}}, "timeout"),
        (IMAGE, {**IMAGE, "retryStrategy": {"attempts": 10}}, "retryStrategy"),
        ({**IMAGE, "platformCapabilities": ["FARGATE"]}, IMAGE, "platformCapabilities"),
        ({**IMAGE, "tags": {"team": "a"}}, {**IMAGE, "tags": {"team": "b"}}, "tags"),
        (IMAGE, {"type": "container", **task(APP)}, "containerProperties"),
        (task(APP), task(APP, SIDE), "ecsProperties.taskProperties[0].containers"),
        (task(APP), task({**APP, "essential": False}), "ecsProperties.taskProperties[0].containers[0].essential"),
        (
            task(APP, SIDE),
            task(APP, {**SIDE, "essential": True}),
            "ecsProperties.taskProperties[0].containers[1].essential",
        ),
        (task(APP), task(APP, taskRoleArn="x"), "ecsProperties.taskProperties[0].taskRoleArn"),
        (task(APP), task(APP, pidMode="host"), "ecsProperties.taskProperties[0].pidMode"),
        (pod(APP), pod(APP, hostNetwork=False), "eksProperties.podProperties.hostNetwork"),
        (pod(APP), pod(APP, serviceAccountName="admin"), "eksProperties.podProperties.serviceAccountName"),
        (pod(APP), pod(APP, initContainers=[SIDE]), "eksProperties.podProperties.initContainers"),
        (
            pod(APP),
            pod({**APP, "securityContext": {"runAsUser": 0}}),
            "eksProperties.podProperties.containers[0].securityContext",
        ),
        (pod({**APP, "args": ["a"]}), pod(APP), "eksProperties.podProperties.containers[0].args"),
        (nodes(), nodes(privileged=True), "nodeProperties.nodeRangeProperties[0].container.privileged"),
    ],
)
def test_everything_else_counts(asked, described, path):
    """The path tells which member it is."""
    asked, described = {**asked, "jobDefinitionName": "n"}, {**ADDED, **described}
    before = deepcopy((asked, described))
    assert str(definition_difference(asked, described)).startswith(path)
    assert before == (asked, described)


def test_botocores_example_is_the_definition_that_its_example_registers():
    """The two examples have different names, and commands."""
    examples = botocore.loaders.Loader().load_service_model("batch", "examples-1")["examples"]
    asked = examples["RegisterJobDefinition"][0]["input"]
    described = examples["DescribeJobDefinitions"][0]["output"]["jobDefinitions"][0]
    assert "containerProperties.command" == definition_difference(asked, described)
    same = json.loads(json.dumps(described).replace('"60"', '"10"'))
    assert definition_difference(asked, same) is None


#: Another value than the documented default.
NOT_DEFAULT = {"boolean": True, "integer": 7, "long": 7, "string": "zz"}
OFF = {"essential", "hostNetwork"}


def leaves(kind, name=""):
    """Every way to set exactly one member of a structure, with its path."""
    if kind.type_name == "structure":
        for member, inner in kind.members.items():
            yield from (([member, *path], {member: value}) for path, value in leaves(inner, member))
    elif kind.type_name == "list":
        yield from ((path, [value]) for path, value in leaves(kind.member))
    elif kind.type_name == "map":
        yield [], {"zz": "zz"}
    else:
        yield [], name not in OFF if kind.type_name == "boolean" else NOT_DEFAULT[kind.type_name]


def every_member():
    for path, value in leaves(shape("batch", "RegisterJobDefinition")):
        if path[0] not in {"jobDefinitionName", "tags"}:
            yield pytest.param(path, value, id=".".join(path))


@pytest.mark.parametrize(("path", "value"), every_member())
def test_no_member_can_be_added_or_left_out(path, value):
    """Of all that botocore's model has, whatever it is."""
    base = {"jobDefinitionName": "n", "type": "container"}
    more = {**base, **value}
    assert definition_difference(base, {**ADDED, **more}) is not None
    assert definition_difference(more, {**ADDED, **more}) is None
    variable_without_value = path[-2:] in (["environment", "name"], ["env", "name"])
    if not variable_without_value:
        assert definition_difference(more, {**ADDED, **base}) is not None
