"""Params that Airflow would reject."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.checks.patterns import MAX_VALUE, slow
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Param
    from airflow_batchemr.pipeline_file.validation import Keys

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
#: Keys that restrict a value further than its type.
_CONSTRAINTS = {"format", "minimum", "maximum", "minLength", "maxLength", "pattern", "items"}
#: Levels and values of a param's JSON Schema, and the most that is compared: each of its values with each of a default.
_MAX_DEPTH, _MAX_SCHEMA, _MAX_STEPS = 16, 1_000, 1_000_000
#: References may be circular, or double at each level; one to a URL would be requested.
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def param(name: str, param: Param, *, scheduled: bool) -> Iterator[Problem]:
    """Check a param.

    Args:
        name: its name.
        param: the param.
        scheduled: whether the pipeline has scheduled runs; Airflow then requires a default for every param.
    """
    at = ("params", name)
    if not name.isidentifier():
        message = f"a param name must be usable in templates, not {name}"
        yield Problem(at, message, "use letters, digits and _", key=True)
    if name == "rerun":
        yield Problem(at, "`rerun` is reserved: every pipeline has this param", "choose another name", key=True)
    empty_range = param.minimum is not None and param.maximum is not None and param.minimum > param.maximum
    if empty_range:
        yield Problem((*at, "minimum"), "`minimum` is above `maximum`")
    invalid = [*_schema(at, param)]
    yield from invalid
    default = param.default if "default" in param.model_fields_set else None
    no_default = default is None and ("default" not in param.model_fields_set or "null" not in (param.type or ["null"]))
    if no_default:
        if scheduled:
            message = f"the param `{name}` needs a default because the pipeline has a schedule"
            yield Problem(at, message, "add `default:`, or set `schedule: null`", key=True)
    elif param.enum is not None and default not in param.enum:
        yield Problem((*at, "default"), f"the default is not in `enum`: {default}")
    elif param.type is not None and not any(_is(default, kind) for kind in param.type):
        yield Problem((*at, "default"), f"the default is not of type {' or '.join(param.type)}")
    elif not invalid and not empty_range and not _CONSTRAINTS.isdisjoint(param.model_fields_set):
        yield from _check_default(at, param)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (not isinstance(value, bool) or kind == "boolean")


def _schema(at: Keys, param: Param) -> Iterator[Problem]:
    """Check that values can be checked in a reasonable time: here, and by Airflow in all of its components."""
    schema = {key: getattr(param, key) for key in ("pattern", "items") if getattr(param, key) is not None}
    parts = list(_parts(schema, at))
    if len(parts) > _MAX_SCHEMA:
        yield Problem(at, f"the JSON Schema has more than {_MAX_SCHEMA:,} values", "simplify it")
        return
    values = [value for value, _ in _parts(param.default, at)]
    unique = any(isinstance(part, dict) and part.get("uniqueItems") for part, _ in parts)
    if max(len(parts), len(values) if unique else 0) * len(values) > _MAX_STEPS:
        message = f"the default has {len(values):,} values, too many to check each one with this JSON Schema"
        yield Problem((*at, "default"), message, "pass the URI of an object on S3, or remove `items`")
        return
    has_pattern = False
    for part, keys in parts:
        if len(keys) - len(at) > _MAX_DEPTH:
            yield Problem(keys[: len(at) + 2], f"the JSON Schema has more than {_MAX_DEPTH} levels", "simplify it")
            return
        if not isinstance(part, dict):
            continue
        for key in _REFERENCES:
            if isinstance(part.get(key), str):
                yield Problem(
                    (*keys, key), f"`{key}` is not supported here", "write the referenced schema in its place"
                )
        patterns = [((*keys, "pattern"), part.get("pattern"))]
        inner = part.get("patternProperties")
        patterns += [((*keys, "patternProperties", name), name) for name in inner] if isinstance(inner, dict) else []
        for place, pattern in patterns:
            if isinstance(pattern, str):
                has_pattern = True
                yield from _pattern(place, pattern)
    longest = max((len(value) for value in values if isinstance(value, str)), default=0)
    if has_pattern and longest > MAX_VALUE:
        message = f"a default that a `pattern` applies to may have {MAX_VALUE} characters, not {longest:,}"
        yield Problem((*at, "default"), message, "remove the `pattern`")


def _pattern(at: Keys, pattern: str) -> Iterator[Problem]:
    try:
        if reason := slow(pattern):
            hint = "let the repeated part begin or end with a character that it does not contain, such as `(,[a-z]+)*`"
            yield Problem(at, f"Python cannot match this regular expression in a reasonable time: {reason}", hint)
    except (re.error, RecursionError, OverflowError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        yield Problem(at, f"invalid regular expression: {why}")


def _parts(value: Any, at: Keys) -> Iterator[tuple[Any, Keys]]:
    """All values within a value, with their paths, without recursion: at most as many as the checks need."""
    pending: list[tuple[Any, Keys]] = [(value, at)]
    for _ in range(_MAX_STEPS + 1):
        if not pending:
            return
        part, keys = pending.pop()
        yield part, keys
        if isinstance(part, dict | list):
            items = part.items() if isinstance(part, dict) else enumerate(part)
            pending += [(item, (*keys, key)) for key, item in items]


def _check_default(at: tuple[str, ...], param: Param) -> Iterator[Problem]:
    """Validate the default against the param's JSON Schema, as Airflow does."""
    from jsonschema import FormatChecker, SchemaError, ValidationError, validate  # noqa: PLC0415 - rarely needed

    schema = param.model_dump(exclude_unset=True, exclude={"default"}, mode="json")
    try:
        validate(param.default, schema, format_checker=FormatChecker())
    except SchemaError as error:
        yield Problem((*at, *error.absolute_path), f"invalid JSON Schema: {error.message}")
    except ValidationError as error:
        yield Problem((*at, "default"), f"invalid default: {error.message}")
