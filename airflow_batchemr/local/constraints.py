"""Constraints of AWS's service models that botocore does not check: enums, maximum lengths, patterns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, MapShape, StringShape, StructureShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import Shape

__all__ = ["violations"]


def violations(shape: Shape, value: Any, name: str = "") -> Iterator[str]:
    """Yield each violation in a value that matches the shape's type.

    Args:
        shape: Shape of an operation's input, or of one of its members.
        value: Value to check; timestamps are numbers.
        name: Name of the member, for messages.
    """
    if isinstance(shape, StructureShape):
        for key, member in shape.members.items():
            if key in value:
                yield from violations(member, value[key], f"{name}.{key}" if name else key)
    elif isinstance(shape, ListShape):
        yield from _size(shape, len(value), name)
        for each in value:
            yield from violations(shape.member, each, name)
    elif isinstance(shape, MapShape):
        yield from _size(shape, len(value), name)
        for key, each in value.items():
            yield from violations(shape.key, key, name)
            yield from violations(shape.value, each, f"{name}.{key}")
    elif isinstance(shape, StringShape):
        yield from _size(shape, len(value), name)
        yield from _text(shape, value, name)
    elif shape.type_name in ("integer", "long"):
        yield from _size(shape, value, name)


def _size(shape: Shape, size: int, name: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if most is not None and size > most:
        yield f"Value at '{name}' failed to satisfy constraint: Member must have at most {most}, not {size}"
    if least is not None and size < least:
        yield f"Value at '{name}' failed to satisfy constraint: Member must have at least {least}, not {size}"


def _text(shape: Shape, value: str, name: str) -> Iterator[str]:
    enum, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
    if enum and value not in enum:
        yield f"Value at '{name}' failed to satisfy constraint: Member must be one of {', '.join(enum)}, not {value!r}"
    if pattern and not re.fullmatch(pattern, value, re.DOTALL):
        yield f"Value at '{name}' failed to satisfy constraint: Member must match {pattern}, not {value[:100]!r}"
