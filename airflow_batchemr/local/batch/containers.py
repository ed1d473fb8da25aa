"""The container of a job: its definition merged with the overrides of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.local.batch.state import Job

__all__ = ["arguments", "container", "memory_bytes", "vcpus"]


def container(job: Job) -> dict[str, Any]:
    """Return the container as shown by DescribeJobs, without the array index of children.

    For ECS, EKS and multi-node definitions, this is the first container (of the main node); only that one runs here.
    """
    base = _properties(job.definition)
    overrides = _overrides(job.request)
    merged = {
        **base,
        "command": overrides.get("command") or base.get("command", []),
        "environment": _merge(base.get("environment", []), overrides.get("environment", []), "name"),
        "resourceRequirements": _merge(
            base.get("resourceRequirements", []), overrides.get("resourceRequirements", []), "type"
        ),
    }
    for key in ("vcpus", "memory", "instanceType"):
        if key in overrides:
            merged[key] = overrides[key]
    for key in ("volumes", "mountPoints", "ulimits", "secrets"):
        merged.setdefault(key, [])
    merged["networkInterfaces"] = []
    return merged


def arguments(job: Job, described: Mapping[str, Any]) -> list[str]:
    """Return the command with `Ref::name` arguments replaced by the parameters of the job."""
    parameters = {**job.definition.get("parameters", {}), **job.request.get("parameters", {})}
    return [
        parameters.get(argument[len("Ref::") :], argument) if argument.startswith("Ref::") else argument
        for argument in described["command"]
    ]


def vcpus(described: Mapping[str, Any]) -> float:
    """Return the vCPUs that the container requests; 1 by default."""
    return float(_requirement(described, "VCPU") or described.get("vcpus") or 1)


def memory_bytes(described: Mapping[str, Any]) -> int | None:
    """Return the memory limit of the container in bytes, or None."""
    mebibytes = _requirement(described, "MEMORY") or described.get("memory")
    return int(float(mebibytes)) << 20 if mebibytes else None


def _requirement(described: Mapping[str, Any], kind: str) -> str | None:
    return next((item["value"] for item in described.get("resourceRequirements", []) if item["type"] == kind), None)


def _properties(definition: Mapping[str, Any]) -> dict[str, Any]:
    if "containerProperties" in definition:
        return dict(definition["containerProperties"])
    if "ecsProperties" in definition:
        return _ecs(definition["ecsProperties"]["taskProperties"][0]["containers"][0])
    if "eksProperties" in definition:
        pod = definition["eksProperties"]["podProperties"]["containers"][0]
        limits = {**pod.get("resources", {}).get("requests", {}), **pod.get("resources", {}).get("limits", {})}
        requirements = [
            {"type": kind, "value": limits[key].removesuffix("Mi")}
            for key, kind in (("cpu", "VCPU"), ("memory", "MEMORY"))
            if key in limits
        ]
        return {
            "image": pod["image"],
            "command": [*pod.get("command", []), *pod.get("args", [])],
            "environment": [{"name": item["name"], "value": item.get("value", "")} for item in pod.get("env", [])],
            "resourceRequirements": requirements,
        }
    nodes = definition["nodeProperties"]
    main = next(
        (node for node in nodes["nodeRangeProperties"] if _in_range(nodes["mainNode"], node["targetNodes"])),
        nodes["nodeRangeProperties"][0],
    )
    return _properties(
        {key: value for key, value in main.items() if key.endswith("Properties") or key == "container"}
        | ({"containerProperties": main["container"]} if "container" in main else {})
    )


def _overrides(request: Mapping[str, Any]) -> dict[str, Any]:
    if "containerOverrides" in request:
        return dict(request["containerOverrides"])
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", [])
    if tasks and tasks[0].get("containers"):
        return _ecs(tasks[0]["containers"][0])
    pods = request.get("eksPropertiesOverride", {}).get("podProperties", {}).get("containers", [])
    if pods:
        pod = pods[0]
        environment = [{"name": item["name"], "value": item.get("value", "")} for item in pod.get("env", [])]
        return {"command": [*pod.get("command", []), *pod.get("args", [])], "environment": environment}
    nodes = request.get("nodeOverrides", {}).get("nodePropertyOverrides", [])
    return dict(nodes[0].get("containerOverrides", {})) if nodes else {}


def _ecs(task_container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that an ECS task container shares with a plain container."""
    shared = ("image", "command", "environment", "resourceRequirements", "logConfiguration", "secrets", "user")
    return {key: task_container[key] for key in shared if key in task_container}


def _in_range(node: int, text: str) -> bool:
    first, _, last = text.partition(":")
    if not _:
        return node == int(first)
    return int(first or 0) <= node and (not last or node <= int(last))


def _merge(base: list[dict[str, str]], overrides: list[dict[str, str]], key: str) -> list[dict[str, str]]:
    return list({item[key]: item for item in [*base, *overrides]}.values())
