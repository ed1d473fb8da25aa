"""Params that Airflow would reject."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Param

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
    elif not empty_range and not _CONSTRAINTS.isdisjoint(param.model_fields_set):
        yield from _check_default(at, param)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (not isinstance(value, bool) or kind == "boolean")


def _check_default(at: tuple[str, ...], param: Param) -> Iterator[Problem]:
    """Validate the default against the param's JSON Schema, as Airflow does."""
    from jsonschema import FormatChecker, SchemaError, ValidationError, validate  # noqa: PLC0415 - rarely needed

    schema = param.model_dump(exclude_unset=True, exclude={"default"}, mode="json")
    try:
        re.compile(param.pattern or "")
        validate(param.default, schema, format_checker=FormatChecker())
    except re.error as error:
        yield Problem((*at, "pattern"), f"invalid regular expression: {error}")
    except SchemaError as error:
        yield Problem((*at, *error.absolute_path), f"invalid JSON Schema: {error.message}")
    except ValidationError as error:
        yield Problem((*at, "default"), f"invalid default: {error.message}")
