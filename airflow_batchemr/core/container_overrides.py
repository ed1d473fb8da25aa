"""Overrides of command, environment and resources in SubmitJob requests, for each kind of job definition.

The rest of this package uses the form of plain containers (`containerOverrides`): `command`, `environment` (name,
value) and `resourceRequirements` (VCPU, MEMORY in MiB, GPU).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Kubernetes' names for what Batch calls VCPU, MEMORY and GPU.
_KUBERNETES = {"VCPU": "cpu", "MEMORY": "memory", "GPU": "nvidia.com/gpu"}


def place(overrides: Mapping[str, Any], definition: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """Return the part of a SubmitJob request that contains the overrides.

    They apply to one container of an ECS task or pod, see `main_container`, and to all nodes of a multi-node job.

    Args:
        overrides: In the form of plain containers.
        definition: Job definition as returned by DescribeJobDefinitions.
        name: Name of the container; None: the first essential one.
    """
    if definition.get("nodeProperties"):
        nodes = [
            {"targetNodes": one["targetNodes"], **place(overrides, _of_range(one), name)} for one in _ranges(definition)
        ]
        return {"nodeOverrides": {"nodePropertyOverrides": nodes}}
    container = main_container(containers(definition), name)
    if definition.get("ecsProperties"):
        named = {"name": container["name"]} if "name" in container else {}
        return {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{**named, **overrides}]}]}}
    if definition.get("eksProperties"):
        return {"eksPropertiesOverride": {"podProperties": {"containers": [_pod(overrides, container)]}}}
    return {"containerOverrides": dict(overrides)}


def containers(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of an ECS task or pod, as in the job definition or job; empty for other kinds."""
    tasks = (definition.get("ecsProperties") or {}).get("taskProperties") or []
    pod = (definition.get("eksProperties") or {}).get("podProperties") or {}
    return [one for part in (*tasks, pod) for one in part.get("containers") or []]


def container_names(definition: Mapping[str, Any]) -> list[str]:
    """Return the names of the containers that overrides can apply to, of all nodes; empty for a plain container."""
    parts = _ranges(definition) or [dict(definition)]
    return list(dict.fromkeys(str(one["name"]) for part in parts for one in containers(part) if "name" in one))


def main_container(several: Sequence[Mapping[str, Any]], name: str | None = None) -> Mapping[str, Any]:
    """Return the container that runs the job's command: the named one, else the first essential one.

    A container is essential unless it has `essential: false` (AWS: TaskContainerProperties). A FireLens log router
    often is essential, too, and often the first one; it is only chosen if there is no other container.
    """
    named = [one for one in several if name is not None and one.get("name") == name]
    essential = [one for one in several if one.get("essential", True)]
    programs = [one for one in essential if not one.get("firelensConfiguration")]
    return next(iter([*named, *programs, *essential, *several]), {})


def main_node(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the range of the main node in `nodeProperties`, in the form of a job definition.

    Ranges may be nested; the properties of the inner one apply (AWS: NodeRangeProperty).
    """
    main, last = int(properties.get("mainNode", 0)), int(properties.get("numNodes", 1)) - 1
    found: list[tuple[int, int, dict[str, Any]]] = []
    for one in properties.get("nodeRangeProperties") or []:
        nodes = re.fullmatch(r"([0-9]{0,9})(:?)([0-9]{0,9})", str(one.get("targetNodes", "")))
        if nodes is None:
            continue
        first = int(nodes[1] or 0)
        final = int(nodes[3] or last) if nodes[2] else first
        if first <= main <= final:
            found.append((final - first, len(found), one))
    return _of_range(min(found)[2]) if found else {}


def recorded(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides of a SubmitJob request in the form of plain containers, and the `name` of the container.

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
        return plain(pods[0])
    return dict(request.get("containerOverrides", {}))


def all_recorded(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the overrides of all nodes and containers of a SubmitJob request, in the form of plain containers."""
    nodes = request.get("nodeOverrides", {}).get("nodePropertyOverrides", [])
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", [])
    pod = request.get("eksPropertiesOverride", {}).get("podProperties", {})
    return [
        dict(request.get("containerOverrides", {})),
        *(dict(one) for task in tasks for one in task.get("containers") or []),
        *(plain(one) for part in ("initContainers", "containers") for one in pod.get(part) or []),
        *(one for node in nodes for one in all_recorded(node)),
    ]


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


def own_command(definition: Mapping[str, Any], name: str | None = None) -> list[str]:
    """Return the command of a job definition; empty if it has none or its nodes have different commands.

    Args:
        definition: Job definition as returned by DescribeJobDefinitions.
        name: Name of the container; None: the first essential one.
    """
    if definition.get("nodeProperties"):
        commands = [own_command(_of_range(one), name) for one in _ranges(definition)]
        return commands[0] if commands and all(one == commands[0] for one in commands) else []
    return list(own_container(definition, name).get("command", []))


def own_container(definition: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """Return the container of a job definition to which overrides apply, in the form of plain containers.

    Args:
        definition: Job definition as returned by DescribeJobDefinitions; for a multi-node job, its main node counts.
        name: Name of the container; None: the first essential one.
    """
    if definition.get("nodeProperties"):
        return own_container(main_node(definition["nodeProperties"]), name)
    if definition.get("ecsProperties"):
        return dict(main_container(containers(definition), name))
    if definition.get("eksProperties"):
        return plain(main_container(containers(definition), name))
    return dict(definition.get("containerProperties") or {})


def job_roles(definition: Mapping[str, Any]) -> list[str]:
    """Return the roles whose credentials the containers of a job definition get; for pods, their service accounts."""
    ranges = _ranges(definition)
    parts = [_of_range(one) for one in ranges] if ranges else [definition]
    found = []
    for part in parts:
        tasks = (part.get("ecsProperties") or {}).get("taskProperties") or []
        pod = (part.get("eksProperties") or {}).get("podProperties") or {}
        account = pod.get("serviceAccountName")
        found += [(part.get("containerProperties") or {}).get("jobRoleArn"), *(one.get("taskRoleArn") for one in tasks)]
        found += [f"service account {account}"] if account else []
    return list(dict.fromkeys(str(one) for one in found if one))


def docker_image(definition: Mapping[str, Any]) -> str | None:
    """Return the image of a job that Docker can run in the same way: a container, or an ECS task with a single one."""
    if definition.get("nodeProperties") or definition.get("eksProperties") or len(containers(definition)) > 1:
        return None
    image = own_container(definition).get("image")
    return None if image is None else str(image)


def _ranges(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((definition.get("nodeProperties") or {}).get("nodeRangeProperties") or [])


def _of_range(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container of a node range in the form of a job definition."""
    return {**nodes, "containerProperties": nodes.get("container", {})}


def _pod(overrides: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {"name": container["name"]} if "name" in container else {}
    if overrides.get("command"):
        pod |= {"command": overrides["command"], "args": []}  # the command includes the arguments of the definition
    if overrides.get("environment"):
        pod["env"] = overrides["environment"]
    if overrides.get("resourceRequirements"):
        pod["resources"] = resources_of_pod(overrides["resourceRequirements"])
    return pod


def resources_of_pod(requirements: Sequence[Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return `resourceRequirements` in the form of a pod's `resources`."""
    sizes = {
        _KUBERNETES[one["type"]]: f"{one['value']}Mi" if one["type"] == "MEMORY" else one["value"]
        for one in requirements
    }
    return {"limits": sizes, "requests": sizes}


def plain(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return a container of a pod, of a job definition, job or request, in the form of plain containers."""
    resources = pod.get("resources") or {}
    sizes = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    shared = ("name", "image", "exitCode", "reason")
    return {
        **{key: pod[key] for key in shared if key in pod},
        "command": [*(pod.get("command") or []), *(pod.get("args") or [])],
        "environment": list(pod.get("env") or []),
        "resourceRequirements": [
            {"type": kind, "value": str(sizes[name]).removesuffix("Mi")}
            for kind, name in _KUBERNETES.items()
            if name in sizes
        ],
    }
