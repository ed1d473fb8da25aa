"""Params: what Airflow would refuse of them, told before it does."""

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
#: Words that say more of a value than its kind.
_NARROWER = {"format", "minimum", "maximum", "minLength", "maxLength", "pattern", "items"}


def param(name: str, param: Param, *, scheduled: bool) -> Iterator[Problem]:
    """All that is wrong with a param.

    Args:
        name: its name.
        param: its words.
        scheduled: whether runs begin that nobody fills the form for: Airflow takes no Dag whose params such runs lack.
    """
    at = ("params", name)
    if not name.isidentifier():
        yield Problem(at, f"not a name that a template can use: {name}", "letters, digits and _", key=True)
    if name == "rerun":
        yield Problem(at, "`rerun` is a param that every pipeline has", "choose another name", key=True)
    crossed = param.minimum is not None and param.maximum is not None and param.minimum > param.maximum
    if crossed:
        yield Problem((*at, "minimum"), "`minimum` is above `maximum`")
    default = param.default if "default" in param.model_fields_set else None
    nothing = default is None and ("default" not in param.model_fields_set or "null" not in (param.type or ["null"]))
    if nothing:
        if scheduled:
            message = f"the pipeline has a schedule, whose runs have no value for `{name}`"
            yield Problem(at, message, "give it a `default`, or the pipeline `schedule: null`", key=True)
    elif param.enum is not None and default not in param.enum:
        yield Problem((*at, "default"), f"the default is not one of the param's values: {default}")
    elif param.type is not None and not any(_is(default, kind) for kind in param.type):
        yield Problem((*at, "default"), f"the default is not of the param's type, {' or '.join(param.type)}")
    elif not crossed and not _NARROWER.isdisjoint(param.model_fields_set):
        yield from _narrower(at, param)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (not isinstance(value, bool) or kind == "boolean")


def _narrower(at: tuple[str, ...], param: Param) -> Iterator[Problem]:
    """The default against the param as JSON Schema, as Airflow does it."""
    from jsonschema import FormatChecker, SchemaError, ValidationError, validate  # noqa: PLC0415 - few params need it

    schema = param.model_dump(exclude_unset=True, exclude={"default"}, mode="json")
    try:
        re.compile(param.pattern or "")
        validate(param.default, schema, format_checker=FormatChecker())
    except re.error as error:
        yield Problem((*at, "pattern"), f"not a regular expression: {error}")
    except SchemaError as error:
        yield Problem((*at, *error.absolute_path), f"not JSON Schema: {error.message}")
    except ValidationError as error:
        yield Problem((*at, "default"), f"the default does not fit: {error.message}")
