"""The containers of a job: those of its definition merged with the overrides of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch.limits import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.local.batch.state import Job

__all__ = ["check_overrides", "is_pod", "merged", "node_parts", "plain", "runs", "vcpus"]

#: The overrides of SubmitJob for each kind of definition.
_OVERRIDES = {
    "containerProperties": "containerOverrides",
    "ecsProperties": "ecsPropertiesOverride",
    "eksProperties": "eksPropertiesOverride",
    "nodeProperties": "nodeOverrides",
}
#: Name of a pod's container without a name (AWS: EksContainer).
DEFAULT_NAME = "Default"


def check_overrides(request: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    """Check that overrides fit the kind of the definition and name existing containers.

    Raises:
        AwsError: ClientException that names the override.
    """
    for kind, overrides in _OVERRIDES.items():
        if overrides in request and kind not in definition:
            raise refuse(f"{overrides} cannot be used with a job definition without {kind}")
    # Source: github.com/aws/aws-parallelcluster/pull/964
    ranges = definition.get("nodeProperties", {}).get("nodeRangeProperties", [])
    targets = [one["targetNodes"] for one in request.get("nodeOverrides", {}).get("nodePropertyOverrides", [])]
    if wrong := sorted(set(targets) - {one["targetNodes"] for one in ranges}):
        raise refuse(f"NodeOverride targets should match job definition. Non matching targets - {', '.join(wrong)}")
    for part, overridden in node_parts(definition, request):
        names = [_name(one) for one in _containers(part)]
        for one in _named(overridden):
            if _name(one) not in names and not (len(names) == 1 and "name" not in one):
                raise refuse(f"container {_name(one)} does not exist in the job definition, which has {names}")


def is_pod(job: Job) -> bool:
    """Return whether the job runs as a pod on EKS."""
    return "eksProperties" in job.definition


def merged(job: Job) -> list[dict[str, Any]]:
    """Return the containers of a job that is not multi-node, in the form of its kind, without what happens to them."""
    if "containerProperties" in job.definition:
        found = _merge_container(job.definition["containerProperties"], job.request.get("containerOverrides", {}))
        for key in ("volumes", "mountPoints", "ulimits", "secrets"):
            found.setdefault(key, [])
        found["networkInterfaces"] = []
        return [_with_parameters(job, found)]
    several = _containers(job.definition)
    overrides = _named(job.request)
    alone = overrides[0] if len(several) == len(overrides) == 1 else {}
    by_name = {_name(one): one for one in overrides}
    merge = _merge_pod if is_pod(job) else _merge_container
    return [_with_parameters(job, merge(one, by_name.get(_name(one), alone))) for one in several]


def plain(job: Job, one: Mapping[str, Any]) -> dict[str, Any]:
    """Return one of `merged` in the form of a plain container."""
    if not is_pod(job):
        return dict(one)
    sizes = {**one.get("resources", {}).get("requests", {}), **one.get("resources", {}).get("limits", {})}
    kinds = {"cpu": "VCPU", "memory": "MEMORY"}
    return {
        "name": _name(one),
        "image": one["image"],
        "command": [*one.get("command", []), *one.get("args", [])],
        "environment": [{"name": item["name"], "value": item.get("value", "")} for item in one.get("env", [])],
        "resourceRequirements": [
            {"type": kind, "value": sizes[key].removesuffix("Mi")} for key, kind in kinds.items() if key in sizes
        ],
    }


def runs(container: Mapping[str, Any]) -> bool:
    """Return whether a plain container runs here: log routers do not, nor do sidecars that have only an image."""
    return not container.get("firelensConfiguration") and bool(
        container.get("essential", True) or container.get("command")
    )


def vcpus(job: Job) -> float:
    """Return the vCPUs that a job requests in total; 1 by default for each of its nodes."""
    if job.nodes is not None:
        return sum(vcpus(node) for node in job.nodes)
    wanted = [plain(job, one) for one in merged(job)]
    return sum(float(_requirement(one, "VCPU") or one.get("vcpus") or 0) for one in wanted) or 1.0


def memory_bytes(container: Mapping[str, Any]) -> int | None:
    """Return the memory limit of a plain container in bytes, or None."""
    mebibytes = _requirement(container, "MEMORY") or container.get("memory")
    return int(float(mebibytes)) << 20 if mebibytes else None


def node_parts(
    definition: Mapping[str, Any], request: Mapping[str, Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return definition and request of each node of a multi-node job; of another job its own.

    Later ranges override earlier ones. Retries and timeouts are those of the whole job.
    """
    if "nodeProperties" not in definition:
        return [(dict(definition), dict(request))]
    nodes, overrides = definition["nodeProperties"], request.get("nodeOverrides", {})
    count = overrides.get("numNodes") or nodes["numNodes"]
    whole = ("nodeProperties", "nodeOverrides", "retryStrategy", "timeout")
    parts = []
    for index in range(count):
        part = {key: value for key, value in definition.items() if key not in whole}
        wanted = {key: value for key, value in request.items() if key not in whole}
        for one in nodes["nodeRangeProperties"]:
            if _in_range(index, one["targetNodes"]):
                part = {key: value for key, value in part.items() if key not in _OVERRIDES}
                part |= {key: value for key, value in one.items() if key in _OVERRIDES}
                if "container" in one:
                    part["containerProperties"] = one["container"]
        for one in overrides.get("nodePropertyOverrides", []):
            if _in_range(index, one["targetNodes"]):
                wanted |= {key: value for key, value in one.items() if key in _OVERRIDES.values()}
        parts.append((part, wanted))
    return parts


def _containers(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    tasks = definition.get("ecsProperties", {}).get("taskProperties", [])
    pod = definition.get("eksProperties", {}).get("podProperties", {})
    return [one for part in (*tasks, pod) for one in part.get("containers", [])]


def _named(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", [])
    pod = request.get("eksPropertiesOverride", {}).get("podProperties", {})
    return [one for part in (*tasks, pod) for one in part.get("containers", [])]


def _name(container: Mapping[str, Any]) -> str:
    return str(container.get("name", DEFAULT_NAME))


def _merge_container(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    lists = {"environment": "name", "resourceRequirements": "type"}
    return {
        **base,
        "command": overrides.get("command") or base.get("command", []),
        **{name: _merge(base.get(name, []), overrides.get(name, []), key) for name, key in lists.items()},
        **{key: overrides[key] for key in ("vcpus", "memory", "instanceType") if key in overrides},
    }


def _merge_pod(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: overrides[key] for key in ("image", "command", "args", "resources") if key in overrides}
    return {**base, **given, "env": _merge(base.get("env", []), overrides.get("env", []), "name")}


def _with_parameters(job: Job, container: dict[str, Any]) -> dict[str, Any]:
    """Replace `Ref::name` in the command by the parameters of the job."""
    parameters = {**job.definition.get("parameters", {}), **job.request.get("parameters", {})}
    for key in ("command", "args"):
        if key in container:
            container[key] = [
                parameters.get(one[len("Ref::") :], one) if one.startswith("Ref::") else one for one in container[key]
            ]
    return container


def _requirement(container: Mapping[str, Any], kind: str) -> str | None:
    return next((item["value"] for item in container.get("resourceRequirements", []) if item["type"] == kind), None)


def _in_range(node: int, text: str) -> bool:
    first, colon, last = text.partition(":")
    if not colon:
        return node == int(first)
    return int(first or 0) <= node and (not last or node <= int(last))


def _merge(base: list[dict[str, str]], overrides: list[dict[str, str]], key: str) -> list[dict[str, str]]:
    return list({item[key]: item for item in [*base, *overrides]}.values())
