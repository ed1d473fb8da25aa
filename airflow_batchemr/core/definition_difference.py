"""Whether a job definition that AWS Batch describes is the one that was asked for.

DescribeJobDefinitions adds empty lists and some defaults to what RegisterJobDefinition was given, leaves out variables
without a value, and gives environment variables in another order. These differences do not count. Everything else
does: anybody who may register job definitions in the account can add a revision to any name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_batchemr.core.service_models import shape

#: Values that are the same as no value: defaults as documented in the API reference of RegisterJobDefinition and its
#: types, except for `logDriver` (user guide, "Using the awslogs log driver"). For everything else: null, false, empty.
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "assignPublicIp": ("DISABLED",),
    "attempts": (1,),
    "cpuArchitecture": ("X86_64",),
    "dnsPolicy": ("ClusterFirst", "ClusterFirstWithHostNet"),
    "essential": (True,),
    "hostNetwork": (True,),
    "iam": ("DISABLED",),
    "imagePullPolicy": ("IfNotPresent", "Always"),
    "logDriver": ("awslogs",),
    "name": ("Default",),
    "networkMode": ("host",),
    "operatingSystemFamily": ("LINUX",),
    "platformCapabilities": (["EC2"],),
    "platformVersion": ("LATEST",),
    "rootDirectory": ("/",),
    "schedulingPriority": (0,),
    "swappiness": (60,),
    "transitEncryption": ("DISABLED",),
}
#: Mappings whose names the user chooses.
_FREE = frozenset({"parameters", "options", "labels", "annotations"})
_QUANTITIES = frozenset({"limits", "requests", "resourceRequirements"})
_VARIABLES = frozenset({"environment", "env"})
#: Lists of mappings whose order counts.
_ORDERED = frozenset({"evaluateOnExit", "initContainers", "nodeRangeProperties", "taskProperties"})
#: What identifies an item of the other lists of mappings.
_IDENTITY = (
    "name",
    "type",
    "containerPath",
    "sourceVolume",
    "mountPath",
    "hostPath",
    "containerName",
    "consumableResource",
)
#: Members of a container that `resourceRequirements` has replaced.
_REPLACED = {"vcpus": "VCPU", "memory": "MEMORY"}


def definition_difference(asked: Mapping[str, Any], described: Mapping[str, Any]) -> str | None:
    """Find the first difference that counts.

    Additional tags do not count: anybody may change the tags of a revision, and Batch runs nothing by them. Members
    that botocore does not know are not compared, because it leaves them out of answers.

    Args:
        asked: Request of RegisterJobDefinition.
        described: Job definition of the same name, as returned by DescribeJobDefinitions.

    Returns:
        Path of the member, such as `containerProperties.privileged`; None if there is no difference.
    """
    tags = described.get("tags") or {}
    if any(tags.get(name) != value for name, value in (asked.get("tags") or {}).items()):
        return "tags"
    request: Any = shape("batch", "RegisterJobDefinition")
    names = request.members.keys() - {"jobDefinitionName", "tags"}
    return _of_mappings(
        {name: value for name, value in asked.items() if name in names},
        {name: value for name, value in described.items() if name in names},
        "",
    )


def _of_mappings(asked: Mapping[str, Any], described: Mapping[str, Any], path: str) -> str | None:
    asked, described = _with_requirements(asked), _with_requirements(described)
    for name in sorted({*asked, *described}):
        at = f"{path}.{name}".lstrip(".")
        if found := _of_values(name, asked.get(name), described.get(name), at):
            return found
    return None


def _of_values(name: str, asked: Any, described: Any, path: str) -> str | None:
    if name in _VARIABLES:
        asked, described = asked or [], described or []
    if asked is None or described is None:
        return None if _is_default(name, described if asked is None else asked) else path
    if isinstance(asked, Mapping) and isinstance(described, Mapping) and name not in _FREE:
        if name in _QUANTITIES:
            same = _numbers(asked) == _numbers(described)
            return None if same else path
        return _of_mappings(asked, described, path)
    if all(_is_list_of_mappings(one) for one in (asked, described)):
        return _of_lists(name, asked, described, path)
    if name == "action":  # of `evaluateOnExit`: its case does not matter (EvaluateOnExit in the API reference)
        asked, described = str(asked).upper(), str(described).upper()
    return None if asked == described else path


def _of_lists(name: str, asked: Sequence[Any], described: Sequence[Any], path: str) -> str | None:
    if name in _VARIABLES:
        known = {one.get("name") for one in described}
        asked = [one for one in asked if one.get("value") or one.get("name") in known]
    if name in _QUANTITIES:
        asked, described = [_numbers(one) for one in asked], [_numbers(one) for one in described]
    if len(asked) != len(described):
        return path
    if name not in _ORDERED:
        asked, described = sorted(asked, key=_identity), sorted(described, key=_identity)
    pairs = enumerate(zip(asked, described, strict=True))
    found = (_of_mappings(ours, theirs, f"{path}[{place}]") for place, (ours, theirs) in pairs)
    return next((one for one in found if one is not None), None)


def _is_default(name: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        return not value if name in _FREE else all(_is_default(*one) for one in value.items())
    if value is None or value in ("", []) or value in _DEFAULTS.get(name, ()):
        return True
    return value is False and name not in _DEFAULTS


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)


def _identity(item: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(item.get(name, "")) for name in _IDENTITY)


def _number(size: Any) -> Any:
    """Return a size as a number if it is one: `1` and `1.0` are the same."""
    try:
        return float(size)
    except (TypeError, ValueError):
        return size


def _numbers(sizes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(size) for name, size in sizes.items()}


def _with_requirements(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a container with its `vcpus` and `memory` in `resourceRequirements`."""
    if not _REPLACED.keys() & container.keys():
        return container
    rest, needs = dict(container), list(container.get("resourceRequirements") or ())
    for old, kind in _REPLACED.items():
        size = rest.pop(old, None)
        known = next((one.get("value") for one in needs if one.get("type") == kind), None)
        if size and known is None:
            needs.append({"type": kind, "value": str(size)})
        elif size and _number(size) != _number(known):
            rest[old] = size
    return {**rest, "resourceRequirements": needs}
