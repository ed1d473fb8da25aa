"""Job definitions made from an image, registered once per content; and definitions that already exist."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest, member
from airflow_batchemr.aws.retry import call_again, pages
from airflow_batchemr.aws.validation import check_request, deep_merge
from airflow_batchemr.core.container_overrides import containers, main_container, resources_of_pod
from airflow_batchemr.core.definition_difference import definition_difference
from airflow_batchemr.pipeline_file.checks.batches import DEFAULT_MEMORY, DEFAULT_VCPUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.pipeline_file.models import Batch

log = logging.getLogger(__name__)

#: What a plain container has, and an ECS task has for all its containers, by its name there.
_OF_TASK = {"jobRoleArn": "taskRoleArn", "executionRoleArn": "executionRoleArn", "volumes": "volumes"}


def definition_request(options: Batch) -> dict[str, Any]:
    """The RegisterJobDefinition that a job with an `image` or `job_definition` needs, named by a hash of its content.

    It contains no command, environment, vcpus, memory, retries or timeout: each SubmitJob sets them, so that one image
    needs only one definition.

    Raises:
        InvalidRequest: names the field.
    """
    sizes: dict[str, float] = {"VCPU": DEFAULT_VCPUS, "MEMORY": DEFAULT_MEMORY}
    if options.platform == "fargate":  # EC2 allows any override, so the size does not have to be part of the content
        sizes = {"VCPU": options.vcpus or DEFAULT_VCPUS, "MEMORY": (options.memory or [DEFAULT_MEMORY])[0]}
    optional = {
        "jobRoleArn": options.job_role,
        "executionRoleArn": options.execution_role,
        "secrets": [{"name": name, "valueFrom": arn} for name, arn in sorted(options.secrets.items())],
        "volumes": options.volumes,
        "mountPoints": options.mount_points,
        "ulimits": [limit.model_dump() for limit in options.ulimits],
        "logConfiguration": options.log_configuration,
    }
    container = {name: value for name, value in optional.items() if value}
    if options.container_image is not None:
        container["image"] = options.container_image
        container["resourceRequirements"] = [{"type": kind, "value": str(value)} for kind, value in sizes.items()]
    given = options.job_definition
    request: dict[str, Any] = {"type": "multinode" if given.get("nodeProperties") else "container"}
    if options.platform:
        request["platformCapabilities"] = [options.platform.upper()]
    other_kind = any(given.get(kind) for kind in ("ecsProperties", "eksProperties", "nodeProperties"))
    if container and not other_kind:
        request["containerProperties"] = container
    request = deep_merge(request, given)
    if container and other_kind:
        with suppress(AttributeError, KeyError, TypeError):  # check_request names what has a wrong type
            if options.image is not None and all("image" in one for one in _mains(request, options.container)):
                raise InvalidRequest("image: the container in `job_definition` has an image of its own: remove one")
            request = _with_container(request, container, options.container)
    own_name = request.pop("jobDefinitionName", None)
    content = json.dumps(request, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    request["jobDefinitionName"] = f"{own_name or 'batchemr'}-{digest}"
    check_request("batch", "RegisterJobDefinition", request)
    return request


def _mains(definition: Mapping[str, Any], name: str | None) -> list[Mapping[str, Any]]:
    """Return the container that runs the command, for each range of nodes."""
    parts = (definition.get("nodeProperties") or {}).get("nodeRangeProperties") or [definition]
    return [main_container(containers(part), name) or part.get("container") or {} for part in parts]


def _with_container(definition: Mapping[str, Any], built: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Put the options of the container into the one of the ECS task, pod or nodes that runs the command.

    What that container has itself takes precedence.

    Raises:
        InvalidRequest: a pod has no such option.
    """
    if nodes := definition.get("nodeProperties"):
        ranges = [
            _with_container(one, built, name)
            if one.get("ecsProperties") or one.get("eksProperties")
            else {**one, "container": deep_merge(built, one.get("container") or {})}
            for one in nodes["nodeRangeProperties"]
        ]
        return {**definition, "nodeProperties": {**nodes, "nodeRangeProperties": ranges}}
    main = main_container(containers(definition), name)
    if tasks := (definition.get("ecsProperties") or {}).get("taskProperties"):
        of_task = {to: built[of] for of, to in _OF_TASK.items() if of in built}
        of_container = {key: value for key, value in built.items() if key not in _OF_TASK}
        tasks = [
            {
                **of_task,
                **task,
                "containers": [{**of_container, **one} if one is main else one for one in task["containers"]],
            }
            for task in tasks
        ]
        return {**definition, "ecsProperties": {**definition["ecsProperties"], "taskProperties": tasks}}
    if built.keys() - {"image", "resourceRequirements"}:
        raise InvalidRequest(
            "job_definition: a pod takes no job_role, execution_role, secrets, volumes, mount_points, ulimits and "
            "log_configuration: write what you need of them into its podProperties"
        )
    properties = definition["eksProperties"]
    pod = properties["podProperties"]
    defaults = {"image": built["image"], "resources": resources_of_pod(built["resourceRequirements"])}
    several = [{**defaults, **one} if one is main else one for one in pod["containers"]]
    return {**definition, "eksProperties": {**properties, "podProperties": {**pod, "containers": several}}}


def ensure_definition(clients: Clients, options: Batch) -> dict[str, Any]:
    """Find the job definition that a job is to run with, or register it.

    Of a definition made from the options, a revision with another content is not used: anybody who may register job
    definitions in the account can add one to the name. Two workers that register the same content at the same time
    create two equal revisions, which is harmless.

    Returns:
        The request of RegisterJobDefinition, or an existing definition as DescribeJobDefinitions gives it;
        `jobDefinitionArn` names its revision.

    Raises:
        InvalidRequest: there is no such active definition.
    """
    definition = options.registered_definition
    if definition is None:
        return _registered(clients, definition_request(options))
    active = _active(clients, {"jobDefinitions": [definition]} if ":" in definition else _by_name(definition))
    if not active:
        raise InvalidRequest(
            f"definition: AWS Batch has no active job definition {definition!r} in this region. Check its name and "
            "revision; for an image, write `image:`"
        )
    return active[0]


def _registered(clients: Clients, request: dict[str, Any]) -> dict[str, Any]:
    """Find the newest revision with the content of a request, or register one."""
    active = _active(clients, _by_name(request["jobDefinitionName"]))
    for place, one in enumerate(active):
        found = definition_difference(request, one)
        if found is None:
            return {**request, **{name: one[name] for name in ("tags", "jobDefinitionArn", "revision") if name in one}}
        if place == 0:
            arn = one["jobDefinitionArn"]
            log.warning("Job definition %s is not used: its %s is not what the job asks for", arn, found)
    answer = call_again(lambda: clients.batch.register_job_definition(**request), "batch:RegisterJobDefinition")
    arn = member(answer, "jobDefinitionArn", "batch:RegisterJobDefinition")
    return {**request, "jobDefinitionArn": arn, "revision": answer.get("revision", 1)}


def _by_name(name: str) -> dict[str, Any]:
    return {"jobDefinitionName": name, "status": "ACTIVE"}


def _active(clients: Clients, query: Mapping[str, Any]) -> list[dict[str, Any]]:
    """DescribeJobDefinitions; returns the active ones, newest first."""
    found = pages(
        lambda **token: clients.batch.describe_job_definitions(**query, **token),
        "jobDefinitions",
        "batch:DescribeJobDefinitions",
        "jobDefinitionArn",
    )
    active = [one for one in found if one.get("status", "ACTIVE") == "ACTIVE"]
    return sorted(active, key=lambda one: int(one.get("revision", 0)), reverse=True)
