"""Overrides of command, environment and resources in SubmitJob requests, for each kind of job definition.

The rest of this package uses the form of plain containers (`containerOverrides`): `command`, `environment` (name,
value) and `resourceRequirements` (VCPU, MEMORY in MiB, GPU).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Kubernetes' names for what Batch calls VCPU, MEMORY and GPU.
_KUBERNETES = {"VCPU": "cpu", "MEMORY": "memory", "GPU": "nvidia.com/gpu"}


def place(overrides: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a SubmitJob request that contains the overrides.

    They apply to the first container of an ECS task or pod with several containers, and to all nodes of a multi-node
    job.

    Args:
        overrides: In the form of plain containers.
        definition: Job definition as returned by DescribeJobDefinitions.
    """
    if definition.get("nodeProperties"):
        ranges = definition["nodeProperties"].get("nodeRangeProperties", [])
        nodes = [{"targetNodes": one["targetNodes"], **place(overrides, _of_range(one))} for one in ranges]
        return {"nodeOverrides": {"nodePropertyOverrides": nodes}}
    if definition.get("ecsProperties"):
        container = definition["ecsProperties"]["taskProperties"][0]["containers"][0]
        named = {"name": container["name"]} if "name" in container else {}
        return {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{**named, **overrides}]}]}}
    if definition.get("eksProperties"):
        container = definition["eksProperties"]["podProperties"]["containers"][0]
        return {"eksPropertiesOverride": {"podProperties": {"containers": [_pod(overrides, container)]}}}
    return {"containerOverrides": dict(overrides)}


def recorded(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides of a SubmitJob request in the form of plain containers.

    For a multi-node job, returns those of the first node range.
    """
    nodes = request.get("nodeOverrides", {}).get("nodePropertyOverrides", [])
    if nodes:
        return recorded(nodes[0])
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", [])
    if tasks:
        return dict((tasks[0].get("containers") or [{}])[0])
    pods = request.get("eksPropertiesOverride", {}).get("podProperties", {}).get("containers", [])
    if pods:
        return _plain(pods[0])
    return dict(request.get("containerOverrides", {}))


def put(request: dict[str, Any], command: list[str] | None, environment: list[dict[str, str]]) -> None:
    """Replace the environment, and the command unless it is None or empty, of a SubmitJob request in place."""
    changes: dict[str, Any] = {"environment": environment} | ({"command": command} if command else {})
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", [])
    pods = request.get("eksPropertiesOverride", {}).get("podProperties", {}).get("containers", [])
    if nodes := request.get("nodeOverrides", {}).get("nodePropertyOverrides", []):
        for one in nodes:
            put(one, command, environment)
    elif tasks:
        tasks[0]["containers"][0].update(changes)
    elif pods:
        pods[0].update(_pod(changes, {}))
    else:
        request.setdefault("containerOverrides", {}).update(changes)


def own_command(definition: Mapping[str, Any]) -> list[str]:
    """Return the command of a job definition; empty if it has none or its nodes have different commands."""
    if definition.get("nodeProperties"):
        commands = [own_command(_of_range(one)) for one in definition["nodeProperties"].get("nodeRangeProperties", [])]
        return commands[0] if commands and all(one == commands[0] for one in commands) else []
    return list(own_container(definition).get("command", []))


def own_container(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container of a job definition to which overrides apply, in the form of plain containers.

    For a multi-node job, returns that of the first node range.
    """
    if definition.get("nodeProperties"):
        ranges = definition["nodeProperties"].get("nodeRangeProperties", [])
        return own_container(_of_range(ranges[0])) if ranges else {}
    if definition.get("ecsProperties"):
        return dict(definition["ecsProperties"]["taskProperties"][0]["containers"][0])
    if definition.get("eksProperties"):
        return _plain(definition["eksProperties"]["podProperties"]["containers"][0])
    return dict(definition.get("containerProperties", {}))


def docker_image(definition: Mapping[str, Any]) -> str | None:
    """Return the image of a job that Docker can run in the same way: a container, or an ECS task with a single one."""
    if definition.get("nodeProperties") or definition.get("eksProperties"):
        return None
    tasks = definition.get("ecsProperties", {}).get("taskProperties", [])
    if len([container for task in tasks for container in task["containers"]]) > 1:
        return None
    image = own_container(definition).get("image")
    return None if image is None else str(image)


def _of_range(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container of a node range in the form of a job definition."""
    return {**nodes, "containerProperties": nodes.get("container", {})}


def _pod(overrides: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {"name": container["name"]} if "name" in container else {}
    if overrides.get("command"):
        pod |= {
            "command": overrides["command"],
            "args": [],
        }  # the command already includes the arguments of the definition

    if overrides.get("environment"):
        pod["env"] = overrides["environment"]
    sizes = {
        _KUBERNETES[one["type"]]: f"{one['value']}Mi" if one["type"] == "MEMORY" else one["value"]
        for one in overrides.get("resourceRequirements", [])
    }
    if sizes:
        pod["resources"] = {"limits": sizes, "requests": sizes}
    return pod


def _plain(pod: Mapping[str, Any]) -> dict[str, Any]:
    limits = pod.get("resources", {}).get("limits", {})
    return {
        "command": [*pod.get("command", []), *pod.get("args", [])],
        "environment": list(pod.get("env", [])),
        "resourceRequirements": [
            {"type": kind, "value": str(limits[name]).removesuffix("Mi")}
            for kind, name in _KUBERNETES.items()
            if name in limits
        ],
    }
