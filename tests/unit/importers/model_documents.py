"""Requests that contain every member of botocore's input models at least once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.service_models import shape

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Values in a format that the services or this package check, by the name of the member or of the key of a map.
_VALUES: dict[str, Any] = {
    "ReleaseLabel": "emr-7.5.0",
    "LogUri": "s3://logs/emr",
    "Path": "s3://code/script.sh",
    "InstanceType": "m5.xlarge",
    "MasterInstanceType": "m5.xlarge",
    "SlaveInstanceType": "m5.2xlarge",
    "InstanceCount": 3,
    "BidPrice": "0.25",
    "IdleTimeout": 600,
    "attemptDurationSeconds": 120,
    "targetNodes": "0:1",
    "numNodes": 2,
    "size": 10,
    "jobDefinition": "etl:1",
    "ActionOnFailure": "CONTINUE",
    "StepConcurrencyLevel": 2,
    "TimeoutDurationMinutes": 20,
}
#: AWS Batch requires a value for each type.
_RESOURCES = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "512"}, {"type": "GPU", "value": "1"}]


def sample(shape: Any, name: str = "", above: frozenset[str] = frozenset()) -> Any:
    """A value with all members of a shape; a shape inside itself, such as Configurations, is left out."""
    kind = shape.type_name
    if name in _VALUES:
        return _VALUES[name]
    if name == "resourceRequirements":
        return _RESOURCES
    if kind == "structure":
        members = {key: one for key, one in shape.members.items() if not _names(one) & above}
        return {key: sample(one, key, above | {shape.name}) for key, one in members.items()}
    if kind == "list":
        return [sample(shape.member, name, above)]
    if kind == "map":
        return {f"Key-{name}": sample(shape.value, "", above)}
    if kind == "string":
        return shape.enum[0] if getattr(shape, "enum", None) else f"{name or 'value'}1"
    return {"boolean": True, "float": 1.5, "double": 1.5}.get(kind, max(1, shape.metadata.get("min", 1)))


def _names(shape: Any) -> set[str]:
    return {shape.name, shape.member.name} if shape.type_name == "list" else {shape.name}


def documents(
    service: str, operation: str, base: dict[str, Any], split: str | None = None
) -> dict[str, dict[str, Any]]:
    """A request for each member of an operation, because some exclude others.

    Args:
        service: botocore's name of the service.
        operation: the operation.
        base: what each request needs.
        split: a member whose own members get a request each.
    """
    members = shape(service, operation).members
    made = {name: {**base, name: sample(one, name)} for name, one in members.items() if name != split}
    if split is not None:
        for name, one in members[split].members.items():
            made[f"{split}.{name}"] = {**base, split: {name: sample(one, name)}}
    return made


def capitalized(value: Any, shape: Any) -> Any:
    """A request with the names of Step Functions: the first letter of each member is a capital."""
    if shape.type_name == "structure":
        return {key[:1].upper() + key[1:]: capitalized(item, shape.members[key]) for key, item in value.items()}
    if shape.type_name == "list":
        return [capitalized(item, shape.member) for item in value]
    return value


def from_input(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each value in the parameters of a state machine, and the parameters in which it is taken from the input."""
    if isinstance(value, dict):
        for key, part in value.items():
            rest = {name: one for name, one in value.items() if name != key}
            if isinstance(part, dict | list):
                yield from ((path, leaf, {**rest, key: made}) for path, leaf, made in from_input(part))
            else:
                yield key, part, {**rest, f"{key}.$": "$.x"}
    elif isinstance(value, list):
        for number, part in enumerate(value):
            for path, leaf, made in from_input(part):
                yield path, leaf, [*value[:number], made, *value[number + 1 :]]


#: What identifies the items of lists that this package adds to.
_IDENTITY = ("Key", "name", "type", "targetNodes", "Classification")


def differences(source: Any, made: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of the members of a source whose values are not in a request."""
    if isinstance(source, dict) and isinstance(made, dict):
        return [one for key, item in source.items() for one in differences(item, made.get(key), (*path, key))]
    if isinstance(source, list) and isinstance(made, list):
        found = []
        for number, item in enumerate(source):
            key = next((key for key in _IDENTITY if isinstance(item, dict) and key in item), None)
            same = [one for one in made if key and isinstance(one, dict) and one.get(key) == item[key]]
            found += differences(item, same[0] if same else made[number] if number < len(made) else None, path)
        return found
    return [] if source == made else [path]
