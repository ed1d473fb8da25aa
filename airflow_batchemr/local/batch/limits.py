"""Limits of AWS Batch that are not part of its service model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.protocol import AwsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["check_definition", "check_reason", "check_resources", "check_submit", "refuse"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
#: Maximum sizes in bytes of the requests of SubmitJob and RegisterJobDefinition. Source: "AWS Batch service quotas".
MAX_SUBMIT, MAX_DEFINITION = 30 << 10, 24 << 10
#: Characters of tags. Source: "Tag your AWS Batch resources" in the user guide.
TAG = re.compile(r"[\w\s+=.:/@-]*")
#: Memory in MiB that Fargate supports by vCPUs. Source: ResourceRequirement in the API reference.
FARGATE_MEMORY: dict[str, Collection[int]] = {
    "0.25": (512, 1024, 2048),
    "0.5": range(1024, 4097, 1024),
    "1": range(2048, 8193, 1024),
    "2": range(4096, 16_385, 1024),
    "4": range(8192, 30_721, 1024),
    "8": range(16_384, 61_441, 4096),
    "16": range(32_768, 122_881, 8192),
    "32": (61_440, 122_880, 249_856),
}


def refuse(message: str) -> AwsError:
    """Return the error that Batch raises for an invalid request."""
    return AwsError("ClientException", f"Error executing request, Exception : {message}")


def check_submit(request: dict[str, Any]) -> None:
    """Check the limits of SubmitJob.

    Raises:
        AwsError: ClientException that names the limit.
    """
    if not NAME.fullmatch(request["jobName"]):
        raise refuse("Job name should match valid pattern: letters, digits, hyphens, underscores, at most 128")
    size = request.get("arrayProperties", {}).get("size")
    if size is not None and not 2 <= size <= 10_000:
        raise refuse(f"Array job size must be between 2 and 10000, not {size}")
    _check_dependencies(request, size)
    _check_retries(request.get("retryStrategy", {}))
    _check_timeout(request.get("timeout", {}))
    _check_tags(request.get("tags", {}))
    for part in (request, *request.get("nodeOverrides", {}).get("nodePropertyOverrides", [])):
        for overrides in _containers(part):
            _check_texts(overrides)
            length = len(json.dumps(overrides, separators=(",", ":")).encode())
            if length > 8192:
                raise refuse(f"Container Overrides length must be at most 8192, not {length}")
    _check_priority("schedulingPriorityOverride", request)
    _check_size("SubmitJob", request, MAX_SUBMIT)
    share = request.get("shareIdentifier")
    if share is not None and not re.fullmatch(r"[A-Za-z0-9]{1,255}\*?", share):
        raise refuse(f"shareIdentifier must be at most 255 letters and digits, not {share}")


def check_definition(request: dict[str, Any]) -> None:
    """Check the limits of RegisterJobDefinition.

    Raises:
        AwsError: ClientException that names the limit.
    """
    if not NAME.fullmatch(request["jobDefinitionName"]):
        raise refuse("jobDefinitionName must be letters, digits, hyphens, underscores, at most 128")
    kinds = ("containerProperties", "nodeProperties", "ecsProperties", "eksProperties")
    if sum(kind in request for kind in kinds) != 1:
        raise refuse(f"a job definition must have exactly one of {', '.join(kinds)}")
    if (request["type"] == "multinode") != ("nodeProperties" in request):
        raise refuse(f"a job definition of the type {request['type']} is not valid with these properties")
    _check_priority("schedulingPriority", request)
    _check_size("RegisterJobDefinition", request, MAX_DEFINITION)
    _check_retries(request.get("retryStrategy", {}))
    _check_timeout(request.get("timeout", {}))
    _check_tags(request.get("tags", {}))
    for part in request.get("nodeProperties", {}).get("nodeRangeProperties", [request]):
        for task in part.get("ecsProperties", {}).get("taskProperties", []):
            if not any(one.get("essential", True) for one in task["containers"]):
                raise refuse("a job definition must have at least one essential container")
        for one in _containers(part):
            _check_texts(one)
        container = part.get("containerProperties", part.get("container"))
        if container is not None:
            _check_container(container, fargate="FARGATE" in request.get("platformCapabilities", []))


def _containers(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the containers of a job definition, of a range of nodes, or of the overrides of either."""
    yield from (part[key] for key in ("containerProperties", "container", "containerOverrides") if key in part)
    for key in ("ecsProperties", "ecsPropertiesOverride"):
        for task in part.get(key, {}).get("taskProperties", []):
            yield from task.get("containers", [])
    for key in ("eksProperties", "eksPropertiesOverride"):
        pod = part.get(key, {}).get("podProperties", {})
        yield from [*pod.get("containers", []), *pod.get("initContainers", [])]


def _check_container(container: dict[str, Any], *, fargate: bool) -> None:
    if not container.get("image"):
        raise refuse("Container properties image must not be empty")
    required = {item["type"] for item in container.get("resourceRequirements", [])}
    if "memory" not in container and "MEMORY" not in required:
        raise refuse("Container properties memory must be set: resourceRequirements of type MEMORY")
    if "vcpus" not in container and "VCPU" not in required:
        raise refuse("Container properties vcpus must be set: resourceRequirements of type VCPU")
    if fargate and not container.get("executionRoleArn"):
        raise refuse("Fargate jobs must have an executionRoleArn")
    check_resources(container.get("resourceRequirements", []), fargate=fargate)


def check_resources(requirements: Iterable[dict[str, str]], *, fargate: bool) -> None:
    """Check the `resourceRequirements` of a container.

    Raises:
        AwsError: ClientException that names the resource.
    """
    values = {each["type"]: each["value"] for each in requirements}
    vcpus, memory = values.get("VCPU", "1"), values.get("MEMORY", "4")
    if not memory.isdecimal() or int(memory) < 4:
        raise refuse(f"MEMORY must be a whole number of MiB, at least 4, not {memory}")
    if fargate:
        if "GPU" in values:
            raise refuse("GPU is not supported on Fargate")
        supported = next((sizes for count, sizes in FARGATE_MEMORY.items() if _number(vcpus) == float(count)), ())
        if int(memory) not in supported:
            raise refuse(f"Fargate resource requirements (VCPU {vcpus}, MEMORY {memory}) are not valid")
    elif _number(vcpus) < 1 or not _number(vcpus).is_integer():
        raise refuse(f"VCPU must be a whole number of at least 1 on EC2, not {vcpus}")


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0


def check_reason(reason: str) -> None:
    """Check the reason of CancelJob or TerminateJob.

    Raises:
        AwsError: ClientException.
    """
    if len(reason) > 1024:
        raise refuse(f"reason must have at most 1024 characters, not {len(reason)}")


def _check_priority(name: str, request: dict[str, Any]) -> None:
    priority = request.get(name)
    if priority is not None and not 0 <= priority <= 9999:
        raise refuse(f"{name} must be between 0 and 9999, not {priority}")


def _check_size(operation: str, request: dict[str, Any], most: int) -> None:
    size = len(json.dumps(request, separators=(",", ":")).encode())
    if size > most:
        raise refuse(f"the request of {operation} must have at most {most} bytes, not {size}")


def _check_dependencies(request: dict[str, Any], size: int | None) -> None:
    dependencies = request.get("dependsOn", [])
    if len(dependencies) > 20:
        raise refuse(f"dependsOn must have at most 20 entries, not {len(dependencies)}")
    for dependency in dependencies:
        kind = dependency.get("type")
        if kind not in (None, "N_TO_N", "SEQUENTIAL"):
            raise refuse(f"dependsOn type must be N_TO_N or SEQUENTIAL, not {kind}")
        if kind == "SEQUENTIAL" and (dependency.get("jobId") or size is None):
            raise refuse("a SEQUENTIAL dependency is for an array job, without a jobId")
        if kind != "SEQUENTIAL" and not dependency.get("jobId"):
            raise refuse("dependsOn needs a jobId")
        if kind == "N_TO_N" and size is None:
            raise refuse("an N_TO_N dependency is for an array job")


def _check_retries(strategy: dict[str, Any]) -> None:
    attempts = strategy.get("attempts")
    if attempts is not None and not 1 <= attempts <= 10:
        raise refuse(f"retryStrategy attempts must be between 1 and 10, not {attempts}")
    rules = strategy.get("evaluateOnExit", [])
    if len(rules) > 5:
        raise refuse(f"retryStrategy evaluateOnExit must have at most 5 entries, not {len(rules)}")
    if rules and attempts is None:
        raise refuse("retryStrategy attempts must be set where evaluateOnExit is")
    for rule in rules:
        if rule["action"].upper() not in ("RETRY", "EXIT"):
            raise refuse(f"evaluateOnExit action must be RETRY or EXIT, not {rule['action']}")
        if not re.fullmatch(r"[0-9]{0,512}\*?", rule.get("onExitCode", "")):
            raise refuse(f"evaluateOnExit onExitCode must be digits, with at most a * at the end: {rule['onExitCode']}")
        for key in ("onReason", "onStatusReason"):
            if "*" in rule.get(key, "")[:-1]:
                raise refuse(f"evaluateOnExit {key} may have a * only at its end: {rule[key]}")


def _check_timeout(timeout: dict[str, Any]) -> None:
    seconds = timeout.get("attemptDurationSeconds")
    if seconds is not None and seconds < 60:
        raise refuse(f"timeout attemptDurationSeconds must be at least 60, not {seconds}")


def _check_texts(container: dict[str, Any]) -> None:
    """Check command and environment of a container or pod. Source: also github.com/kislyuk/aegea/issues/49."""
    if "" in (*container.get("command", []), *container.get("args", [])):
        raise refuse("Command field cannot have empty strings")
    for item in (*container.get("environment", []), *container.get("env", [])):
        if item.get("name", "").startswith("AWS_BATCH"):
            raise refuse(f"environment variable names must not start with AWS_BATCH: {item['name']}")


def _check_tags(tags: dict[str, str]) -> None:
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise refuse(f"a tag's key must not begin with aws:, not {key}")
        if not TAG.fullmatch(key) or not TAG.fullmatch(value):
            raise refuse(f"a tag has only letters, digits, spaces and + - = . _ : / @, not {key}={value}")
