"""Copy parameters without an option of their own to a request, by botocore's model of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.service_models import shape
from airflow_batchemr.pipeline_file.importers.step_functions.values import UntranslatableError, constant

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.values import Writer

_KINDS: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
}


def copied(value: Any, service: str, path: str, what: str, write: Writer) -> Any:
    """Convert parameters from Step Functions' names (`JobName`) to those of the API (`jobName`).

    The keys of maps, such as tags, are kept; text may become a template.

    Args:
        value: the parameters.
        service: botocore's name of the service.
        path: the operation, and the members that the parameters belong to.
        what: their name in messages.
        write: writes the text.

    Raises:
        UntranslatableError: if the API has no such parameter, or a value is only known at run time.
    """
    return _copied(value, shape(service, path), what, write)


def _copied(value: Any, shape: Any, what: str, write: Writer) -> Any:
    kind = shape.type_name
    if kind == "structure":
        result = {}
        for key, item in constant(value, dict, what or "Parameters").items():
            name = key if key in shape.members else key[:1].lower() + key[1:]
            where = f"{what}.{key}" if what else key
            if name not in shape.members:
                raise UntranslatableError(f"AWS has no parameter {where}")
            result[name] = _copied(item, shape.members[name], where, write)
        return result
    if kind == "map":
        items = constant(value, dict, what).items()
        return {map_key(key, what): _copied(item, shape.value, f"{what}.{key}", write) for key, item in items}
    if kind == "list":
        items = enumerate(constant(value, list, what))
        return [_copied(item, shape.member, f"{what}[{number}]", write) for number, item in items]
    if kind in _KINDS:
        return write.number(value, _KINDS[kind], what)
    return write.text(value, what)


def map_key(key: str, what: str) -> str:
    """Check a name that is written as a key, where variables have no effect.

    Raises:
        UntranslatableError: if it contains a substitution.
    """
    if "${" in key:
        raise UntranslatableError(f"{what}: the name {key} contains a substitution: replace it and import again")
    return key


def texts(value: Any, what: str, write: Writer) -> dict[str, str]:
    """Write a mapping of names to text.

    Raises:
        UntranslatableError: if a value is not known to Airflow.
    """
    return {map_key(key, what): write.text(item, f"{what}.{key}") for key, item in constant(value, dict, what).items()}
