"""Check the types of AWS's answers: botocore leaves those of JSON as the endpoint has sent them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import unexpected

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES: dict[str, Any] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": datetime,
}
#: AWS's integers have up to 64 bits.
_LARGEST = 2**63


def check_answers(client: Any) -> None:
    """Make each call of a boto3 client raise `UnexpectedAnswer` if a value does not have the type of AWS's model."""
    client.meta.events.register("after-call", _check)


def _check(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
    if model.output_shape is None or http_response.status_code >= 300:
        return
    for where in _wrong(parsed, model.output_shape, ""):
        raise unexpected(f"{model.service_model.signing_name}:{model.name}", f"a wrong type at {where}", parsed)


def _wrong(value: Any, shape: Any, where: str) -> Iterator[str]:
    """Yield the places of values with a wrong type."""
    kind = shape.type_name
    types = _TYPES.get(kind, object)
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean" and types is not object):
        yield where or "the top"
    elif kind == "structure":
        members = shape.members
        for name, part in value.items():
            if name in members:
                yield from _wrong(part, members[name], f"{where}.{name}")
    elif kind == "map":
        for name, part in value.items():
            yield from _wrong(part, shape.value, f"{where}.{name}")
    elif kind == "list":
        for part in value:
            yield from _wrong(part, shape.member, f"{where}[]")
    elif types is int and not -_LARGEST <= value < _LARGEST:
        yield where
