"""Checks against AWS's service models that botocore does not make: the JSON of responses; enums, lengths, patterns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, MapShape, StringShape, StructureShape

from airflow_batchemr.core.service_models import SLOW_PATTERNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import Shape

__all__ = ["mismatches", "violations"]

#: The models have Java's patterns, which can write characters above U+FFFF as two surrogates.
SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010ffff"
#: Enums whose values are not case-sensitive. Source: EvaluateOnExit in the API reference of AWS Batch.
CASELESS = frozenset({"RetryAction"})
#: Python types of JSON values by the type in the model.
JSON_TYPES: dict[str, Any] = {
    "blob": (str,),
    "boolean": (bool,),
    "double": (int, float),
    "float": (int, float),
    "integer": (int,),
    "list": (list,),
    "long": (int,),
    "map": (dict,),
    "string": (str,),
    "structure": (dict,),
}


def mismatches(shape: Shape, value: Any, name: str = "") -> Iterator[str]:
    """Yield where the JSON of a response does not have the shape.

    These are unknown members, missing required members, null, wrong types, and unions with other than one member. For
    the values in it, see `violations`.

    Args:
        shape: Shape of an operation's output, or of one of its members.
        value: Parsed JSON.
        name: Name of the member, for messages.
    """
    if value is None:
        yield f"'{name}' is null, where AWS leaves the member out"
    elif shape.type_name == "timestamp":
        # Both JSON protocols send seconds since the epoch by default
        text = shape.serialization.get("timestampFormat") == "iso8601"
        if isinstance(value, bool) or not isinstance(value, str if text else int | float):
            yield f"'{name}' must be {'an ISO 8601 string' if text else 'seconds since the epoch'}, not {value!r:.100}"
    elif not isinstance(value, JSON_TYPES[shape.type_name]) or isinstance(value, bool) != (
        shape.type_name == "boolean"
    ):
        yield f"'{name}' must be a {shape.type_name}, not {value!r:.100}"
    elif isinstance(shape, StructureShape):
        yield from (f"'{_inside(name, key)}' is unknown" for key in value if key not in shape.members)
        yield from (f"'{_inside(name, key)}' is required" for key in shape.required_members if key not in value)
        if shape.is_tagged_union and len(value) != 1:
            yield f"'{name}' must have exactly one member, not {sorted(value)}"
        for key in value.keys() & shape.members.keys():
            yield from mismatches(shape.members[key], value[key], _inside(name, key))
    elif isinstance(shape, ListShape):
        for each in value:
            yield from mismatches(shape.member, each, name)
    elif isinstance(shape, MapShape):
        for key, each in value.items():
            yield from mismatches(shape.value, each, _inside(name, key))


def _inside(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def violations(shape: Shape, value: Any, name: str = "") -> Iterator[str]:
    """Yield each violation in a value that matches the shape's type.

    Args:
        shape: Shape of an operation's input or output, or of one of its members.
        value: Value to check.
        name: Name of the member, for messages.
    """
    if isinstance(shape, StructureShape):
        for key, member in shape.members.items():
            if key in value:
                yield from violations(member, value[key], _inside(name, key))
    elif isinstance(shape, ListShape):
        yield from _size(shape, len(value), name)
        for each in value:
            yield from violations(shape.member, each, name)
    elif isinstance(shape, MapShape):
        yield from _size(shape, len(value), name)
        for key, each in value.items():
            yield from violations(shape.key, key, name)
            yield from violations(shape.value, each, _inside(name, key))
    elif isinstance(shape, StringShape):
        yield from _size(shape, len(value), name)
        yield from _text(shape, value, name)
    elif shape.type_name in ("double", "float", "integer", "long"):
        yield from _size(shape, value, name)


def _size(shape: Shape, size: float, name: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if most is not None and size > most:
        yield f"Value at '{name}' failed to satisfy constraint: Member must have at most {most}, not {size}"
    if least is not None and size < least:
        yield f"Value at '{name}' failed to satisfy constraint: Member must have at least {least}, not {size}"


def _text(shape: Shape, value: str, name: str) -> Iterator[str]:
    enum, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
    if enum and value not in enum and not (shape.name in CASELESS and value.upper() in enum):
        yield f"Value at '{name}' failed to satisfy constraint: Member must be one of {', '.join(enum)}, not {value!r}"
    slow = shape.name in SLOW_PATTERNS
    if pattern and not slow and not re.fullmatch(pattern.replace(*SURROGATES), value, re.DOTALL):
        yield f"Value at '{name}' failed to satisfy constraint: Member must match {pattern}, not {value[:100]!r}"
