"""Job definitions made from an image, registered once per content; and definitions that already exist."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.merge import deep_merge
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.pipeline_file.checks.batches import DEFAULT_MEMORY, DEFAULT_VCPUS

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.pipeline_file.models import Batch


def definition_request(options: Batch) -> dict[str, Any]:
    """The RegisterJobDefinition that a job with an `image` needs, named by a hash of its content.

    It contains no command, environment, vcpus, memory, retries or timeout: each SubmitJob sets them, so that one image
    needs only one definition.
    """
    container: dict[str, Any] = {
        "image": options.container_image,
        "resourceRequirements": [
            {"type": "VCPU", "value": number(options.vcpus or DEFAULT_VCPUS)},
            {"type": "MEMORY", "value": str((options.memory or [DEFAULT_MEMORY])[0])},
        ],
    }
    if options.platform != "fargate" and options.container_image is not None:
        # EC2 allows any override, so the size does not have to be part of the content
        container["resourceRequirements"] = [
            {"type": "VCPU", "value": str(DEFAULT_VCPUS)},
            {"type": "MEMORY", "value": str(DEFAULT_MEMORY)},
        ]
    if options.job_role:
        container["jobRoleArn"] = options.job_role
    if options.execution_role:
        container["executionRoleArn"] = options.execution_role
    if options.secrets:
        container["secrets"] = [{"name": name, "valueFrom": arn} for name, arn in sorted(options.secrets.items())]
    if options.volumes:
        container["volumes"] = list(options.volumes)
    if options.mount_points:
        container["mountPoints"] = list(options.mount_points)
    if options.ulimits:
        container["ulimits"] = [limit.model_dump() for limit in options.ulimits]
    if options.log_configuration:
        container["logConfiguration"] = options.log_configuration
    request: dict[str, Any] = {"type": "container"}
    if options.container_image is not None:
        request["containerProperties"] = container
    if options.platform:
        request["platformCapabilities"] = [options.platform.upper()]
    request = deep_merge(request, options.job_definition)
    own_name = request.pop("jobDefinitionName", None)
    content = json.dumps(request, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    request["jobDefinitionName"] = f"{own_name or 'batchemr'}-{digest}"
    check_request("batch", "RegisterJobDefinition", request)
    return request


def ensure_definition(clients: Clients, options: Batch) -> dict[str, Any]:
    """Find the job definition that a job is to run with, or register it.

    Two workers that register the same content at the same time create two equal revisions, which is harmless.

    Returns:
        The definition as DescribeJobDefinitions gives it; `jobDefinitionArn` names its revision.

    Raises:
        InvalidRequest: there is no such active definition.
    """
    if options.registered_definition is not None:
        return _registered(clients, options.registered_definition)
    request = definition_request(options)
    name = request["jobDefinitionName"]
    found = _describe(clients, jobDefinitionName=name, status="ACTIVE")
    if found:
        return max(found, key=_revision)
    answer = call_again(lambda: clients.batch.register_job_definition(**request), "batch:RegisterJobDefinition")
    return {**request, "jobDefinitionArn": answer["jobDefinitionArn"], "revision": answer.get("revision", 1)}


def _registered(clients: Clients, definition: str) -> dict[str, Any]:
    if definition.startswith("arn:") or ":" in definition:
        found = _describe(clients, jobDefinitions=[definition])
        found = [one for one in found if one.get("status", "ACTIVE") == "ACTIVE"]
    else:
        found = _describe(clients, jobDefinitionName=definition, status="ACTIVE")
    if not found:
        raise InvalidRequest(
            f"definition: AWS Batch has no active job definition {definition!r} in this region. Check its name and "
            "revision; for an image, write `image:`"
        )
    return max(found, key=_revision)


def _describe(clients: Clients, **arguments: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        answer = call_again(
            lambda: clients.batch.describe_job_definitions(**arguments, **token),  # noqa: B023 - called at once
            "batch:DescribeJobDefinitions",
        )
        found += answer["jobDefinitions"]
        if not answer.get("nextToken"):
            return found
        token = {"nextToken": answer["nextToken"]}


def _revision(definition: dict[str, Any]) -> int:
    return int(definition.get("revision", 0))


def number(value: float) -> str:
    """Format a number as Batch does: `2`, `0.25`."""
    return f"{value:g}"
