"""Job definitions made from an image, registered once per content; and definitions that already exist."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.retry import call_again, pages
from airflow_batchemr.aws.validation import check_request, deep_merge
from airflow_batchemr.pipeline_file.checks.batches import DEFAULT_MEMORY, DEFAULT_VCPUS

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.pipeline_file.models import Batch


def definition_request(options: Batch) -> dict[str, Any]:
    """The RegisterJobDefinition that a job with an `image` needs, named by a hash of its content.

    It contains no command, environment, vcpus, memory, retries or timeout: each SubmitJob sets them, so that one image
    needs only one definition.
    """
    sizes: dict[str, float] = {"VCPU": DEFAULT_VCPUS, "MEMORY": DEFAULT_MEMORY}
    if options.platform == "fargate":  # EC2 allows any override, so the size does not have to be part of the content
        sizes = {"VCPU": options.vcpus or DEFAULT_VCPUS, "MEMORY": (options.memory or [DEFAULT_MEMORY])[0]}
    container: dict[str, Any] = {
        "image": options.container_image,
        "resourceRequirements": [{"type": kind, "value": str(value)} for kind, value in sizes.items()],
    }
    optional = {
        "jobRoleArn": options.job_role,
        "executionRoleArn": options.execution_role,
        "secrets": [{"name": name, "valueFrom": arn} for name, arn in sorted(options.secrets.items())],
        "volumes": options.volumes,
        "mountPoints": options.mount_points,
        "ulimits": [limit.model_dump() for limit in options.ulimits],
        "logConfiguration": options.log_configuration,
    }
    container |= {name: value for name, value in optional.items() if value}
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
    definition = options.registered_definition
    if definition is None:
        request = definition_request(options)
        query: dict[str, Any] = {"jobDefinitionName": request["jobDefinitionName"], "status": "ACTIVE"}
    elif ":" in definition:
        query = {"jobDefinitions": [definition]}
    else:
        query = {"jobDefinitionName": definition, "status": "ACTIVE"}
    found = pages(
        lambda **token: clients.batch.describe_job_definitions(**query, **token),
        "jobDefinitions",
        "batch:DescribeJobDefinitions",
    )
    active = [one for one in found if one.get("status", "ACTIVE") == "ACTIVE"]
    if active:
        return max(active, key=lambda one: int(one.get("revision", 0)))
    if definition is not None:
        raise InvalidRequest(
            f"definition: AWS Batch has no active job definition {definition!r} in this region. Check its name and "
            "revision; for an image, write `image:`"
        )
    answer = call_again(lambda: clients.batch.register_job_definition(**request), "batch:RegisterJobDefinition")
    return {**request, "jobDefinitionArn": answer["jobDefinitionArn"], "revision": answer.get("revision", 1)}
