"""Where a SubmitJob overrides command, environment and resources: each kind of job definition has its own place.

Everywhere else in this package they are as Batch's plain containers have them: `command`, `environment` (name, value)
and `resourceRequirements` (VCPU, MEMORY in MiB, GPU).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Kubernetes' names for what Batch calls VCPU, MEMORY and GPU.
_KUBERNETES = {"VCPU": "cpu", "MEMORY": "memory", "GPU": "nvidia.com/gpu"}


def place(overrides: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a SubmitJob that carries the overrides.

    Of an ECS task or a pod with several containers it is the first one that gets them; of a multi-node job all nodes.

    Args:
        overrides: as of a plain container.
        definition: the job definition, as DescribeJobDefinitions gives it.
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
    """What a SubmitJob overrides, wherever it stands; of a multi-node job that of the first range of nodes."""
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
    """Change command (None: left as it is) and environment of a SubmitJob, wherever they stand in it."""
    given: dict[str, Any] = {"environment": environment} | ({"command": command} if command else {})
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", [])
    pods = request.get("eksPropertiesOverride", {}).get("podProperties", {}).get("containers", [])
    if nodes := request.get("nodeOverrides", {}).get("nodePropertyOverrides", []):
        for one in nodes:
            put(one, command, environment)
    elif tasks:
        tasks[0]["containers"][0].update(given)
    elif pods:
        pods[0].update(_pod(given, {}))
    else:
        request.setdefault("containerOverrides", {}).update(given)


def own_command(definition: Mapping[str, Any]) -> list[str]:
    """The command that a job definition brings; empty where it has none, or its nodes have different ones."""
    if definition.get("nodeProperties"):
        commands = [own_command(_of_range(one)) for one in definition["nodeProperties"].get("nodeRangeProperties", [])]
        return commands[0] if commands and all(one == commands[0] for one in commands) else []
    if definition.get("ecsProperties"):
        return list(definition["ecsProperties"]["taskProperties"][0]["containers"][0].get("command", []))
    if definition.get("eksProperties"):
        container = definition["eksProperties"]["podProperties"]["containers"][0]
        return [*container.get("command", []), *container.get("args", [])]
    return list(definition.get("containerProperties", {}).get("command", []))


def _of_range(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """What a range of nodes runs, as a job definition of its own says it."""
    return {**nodes, "containerProperties": nodes.get("container", {})}


def _pod(overrides: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {"name": container["name"]} if "name" in container else {}
    if overrides.get("command"):
        pod |= {"command": overrides["command"], "args": []}  # the definition's arguments are in the command already
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
