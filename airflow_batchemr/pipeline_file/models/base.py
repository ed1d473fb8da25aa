"""The base class of the models, and types for values that can be written in several ways.

Each type accepts its own output, so that a model can be created from its own dump.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import core_schema

from airflow_batchemr.core import units
from airflow_batchemr.core.service_models import rendered_number, with_numbers, wrong_parts
from airflow_batchemr.core.tags import tag_problem
from airflow_batchemr.pipeline_file.errors import Refusal, guess

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import ValidationInfo, ValidatorFunctionWrapHandler

T = TypeVar("T")


class Model(BaseModel):
    """A block of a pipeline file: immutable, and unknown keys are errors.

    A key whose value is null is treated as absent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            known = _keys(cls)
            return {key: value for key, value in data.items() if value is not None or key not in known}
        return data


@functools.cache
def _keys(model: type[Model]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


@dataclass(frozen=True, eq=False)
class Form:
    """Short forms of a value, for the JSON Schema.

    Attributes:
        others: schemas of the short forms.
        single: a list may be written as a single item.
        items: short forms of the items of a list.
        values: short forms of the values of a mapping.
    """

    others: tuple[dict[str, Any], ...] = ()
    single: bool = False
    items: tuple[dict[str, Any], ...] = ()
    values: tuple[dict[str, Any], ...] = ()

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Add the short forms to the schema."""
        result = dict(handler(core))
        if self.items:
            result["items"] = {"anyOf": [result["items"], *self.items]}
        if self.values:
            result["additionalProperties"] = {"anyOf": [result["additionalProperties"], *self.values]}
        alone = [result["items"]] if self.single else []
        return {"anyOf": [result, *alone, *self.others]} if alone or self.others else result


@dataclass(frozen=True, eq=False)
class Names:
    """The pattern of the keys of a mapping, for the JSON Schema.

    Attributes:
        pattern: regular expression.
    """

    pattern: str

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Add the pattern to the schema."""
        return {**handler(core), "propertyNames": {"pattern": self.pattern}}


@dataclass(frozen=True, eq=False)
class Pattern:
    """The format of text. Templates are checked when they have been rendered.

    Attributes:
        pattern: regular expression for the whole text.
        expected: what it describes, for messages.
        hint: the characters that are allowed.
    """

    pattern: str
    expected: str
    hint: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Check text after its conversion."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Add the pattern, and templates, to the schema."""
        return {**handler(core), "pattern": rf"^({self.pattern})$|\{{[{{%]"}

    def _check(self, value: str) -> str:
        if is_fixed(value) and not re.fullmatch(self.pattern, value):
            raise Refusal(f"expected {self.expected}, not {shown(value)}", self.hint)
        return value


TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}
TEMPLATE: dict[str, Any] = {"type": "string", "pattern": r"\{[{%#]"}


def is_template(value: object) -> bool:
    """Return whether a value is text that Airflow renders when the task runs."""
    return isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#"))


def without_templates(value: str) -> str:
    """Remove templates from text: what they render to is only known when the task runs."""
    fixed: list[str] = []
    unclosed: set[str] = set()
    at = 0
    for opened in re.finditer(r"\{(?=([{%]))", value):
        close = "}}" if opened[1] == "{" else "%}"
        if opened.start() >= at and close not in unclosed:
            end = value.find(close, opened.end() + 1)
            if end < 0:
                unclosed.add(close)
            else:
                fixed.append(value[at : opened.start()])
                at = end + 2
    return "".join([*fixed, value[at:]])


def _templated(value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Keep a template; validate any other value. What a template has rendered to is text, also if it is a number."""
    if not isinstance(value, str):
        return validate(value)
    rendered = (info.context or {}).get("rendered")
    if is_template(value) and rendered is not True:
        return value
    if not rendered:
        return validate(value)
    value = value.strip()
    if value in ("", "None"):
        message = "the template rendered to nothing" if not value else "the template rendered to None"
        raise Refusal(message, "give it a value, such as {{ params.n or 1 }}")
    number = rendered_number(value)
    return validate(value if isinstance(number, bool) else number)


#: A value that may also be a template. A model of a file has its text; a model of rendered values has the type itself.
Templated = Annotated[
    T,
    WrapValidator(_templated),
    PlainSerializer(lambda value: value),  # pydantic warns of text in a field of another type
    Form((TEMPLATE,)),
]


@functools.cache
def templated_keys(model: type[Model]) -> frozenset[str]:
    """Return the names of the fields of a model that are `Templated`, or lists of such values."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if any(map(_contains_templated, (*field.metadata, field.annotation)))
    )


def _contains_templated(part: Any) -> bool:
    return isinstance(part, WrapValidator) or any(map(_contains_templated, get_args(part)))


def contains_template(block: Model) -> bool:
    """Return whether a `Templated` field of a block, or of a block within it, is a template."""
    fields = ((name, getattr(block, name)) for name in type(block).model_fields)
    return any(
        contains_template(value)
        if isinstance(value, Model)
        else name in templated_keys(type(block))
        and any(map(is_template, value if isinstance(value, list) else [value]))
        for name, value in fields
    )


def shown(value: object) -> str:
    """Format a value for an error message, as in YAML; mappings and lists are named, long text is truncated."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    return f"{text[:57]}..." if len(text) > 60 else text


def text(value: object) -> str:
    """Convert a scalar to text; numbers and booleans keep their notation (`1.10` stays `1.10`)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise Refusal(f"expected text, not {shown(value)}")


def check_aws(service: str, path: str, value: object, added: Collection[str] = ()) -> None:
    """Check a value that is passed to AWS against botocore's model, see `wrong_parts`.

    Raises:
        Refusal: at the first part that the service would refuse.
    """
    for wrong in wrong_parts(service, path, value, added):
        hint = guess(wrong.unknown, wrong.known) if wrong.unknown else None
        if wrong.unknown and hint is None and len(wrong.known) <= 16:
            hint = f"known parameters: {', '.join(wrong.known)}"
        got = f", not {shown(wrong.value)}" if wrong.message.startswith(("expected", "must")) else ""
        raise Refusal(wrong.message + got, hint, wrong.keys)


def as_aws(service: str, path: str, value: Any, info: ValidationInfo, added: Collection[str] = ()) -> Any:
    """Check a value that is passed to AWS, with the numbers that its templates have rendered to.

    Raises:
        Refusal: at the first part that the service would refuse.
    """
    if (info.context or {}).get("rendered"):
        value = with_numbers(service, path, value, rendered_number)
    check_aws(service, path, value, added)
    return value


def without_nulls(value: Any) -> Any:
    """Remove the nulls of a mapping in AWS's form, and of those within it: AWS's requests have none."""
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(part) for key, part in value.items() if part is not None}


def texts(value: object) -> list[str]:
    """Convert a scalar or a list of scalars to a list of text."""
    if isinstance(value, list | tuple):
        return [text(item) for item in value]
    return [text(value)]


#: The formats that Python 3.10 and 3.13 both parse.
_MOMENT = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?([zZ]|[+-]\d\d:\d\d)?)?"


def _moment(value: object) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and re.fullmatch(_MOMENT, value):
        try:
            return dt.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        except ValueError as error:
            raise Refusal(f"invalid date: {value} ({error})") from None
    raise Refusal(f"expected a date such as 2026-11-20 or 2026-11-20T06:00, not {shown(value)}")


def _s3(value: object) -> str:
    if not isinstance(value, str) or not re.match(r"s3[an]?://|\{\{", value):
        raise Refusal(f"expected an S3 URI such as s3://bucket/prefix, not {shown(value)}")
    return value


def _mapping_of_text(value: object) -> object:
    if isinstance(value, dict):
        for key, item in value.items():
            if item is None or isinstance(item, dict | list):
                raise Refusal(
                    f"expected text, not {shown(item)}", "for empty text, write ''" if item is None else None, [key]
                )
        return {text(key): text(item) for key, item in value.items()}
    return value


def _tags(value: dict[str, str]) -> dict[str, str]:
    for name, item in value.items():
        if problem := tag_problem(name, item if is_fixed(item) else ""):
            raise Refusal(problem, at=[name])
    return value


def is_fixed(value: str) -> bool:
    """Whether text contains neither a template nor a variable, for which an error has been reported."""
    return not is_template(value) and "${" not in value


SCALAR = {"type": ["string", "number", "boolean"]}
_TEXTS = {"anyOf": [SCALAR, {"type": "array", "items": SCALAR}]}
_DURATION = r"^\s*(\d{1,12}\s*|(\d+(\.\d+)?\s*([sS]([eE][cC])?|[mM]([iI][nN])?|[hHdDwW])\s*)+)$"
_SIZE = r"^\s*\d+(\.\d+)?(\s*([kKmMgGtT]([iI]?[bB])?|[kKmMgGtT][iI]|[bB]))?\s*$"

#: Text; numbers and booleans are converted and keep their notation.
Text = Annotated[str, BeforeValidator(text), WithJsonSchema(SCALAR)]
#: Non-empty text.
Word = Annotated[str, BeforeValidator(text), Field(min_length=1), WithJsonSchema({**SCALAR, "minLength": 1})]
#: A list of text, or a single one.
Texts = Annotated[list[str], BeforeValidator(texts), WithJsonSchema(_TEXTS)]
#: A mapping of text to text.
TextMap = Annotated[
    dict[str, str],
    BeforeValidator(_mapping_of_text),
    WithJsonSchema({"type": "object", "additionalProperties": SCALAR}),
]
#: Tags of a job or cluster. ASCII characters that AWS rejects are in the JSON Schema, others are not.
Tags = Annotated[
    TextMap,
    AfterValidator(_tags),
    Names(r"^(?![aA][wW][sS]:)[^!\"#$%&'()*,;<>?\[\\\]^`{|}~\x00-\x1f\x7f]{1,128}$"),
]
#: A duration in seconds: `90`, `90s`, `15m`, `2h`, `1d`.
Seconds = Annotated[
    int,
    BeforeValidator(lambda value: units.seconds(_number_or_text(value, "a duration such as 90s, 15m or 2h"))),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _DURATION}]}),
]
#: A size in MiB: `2048`, `2048MiB`, `2GiB`.
Mebibytes = Annotated[
    int,
    BeforeValidator(lambda value: units.mebibytes(_number_or_text(value, "a size such as 8GiB or 512MiB"))),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}]}),
]
#: A size in bytes: `1000000`, `2GiB`.
Bytes = Annotated[
    int,
    BeforeValidator(lambda value: units.bytes_(_number_or_text(value, "a size such as 8GiB or 512MiB"))),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}]}),
]
#: A date or a date and time; without an offset it is in the pipeline's time zone.
Moment = Annotated[
    dt.datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": rf"^{_MOMENT}$"}),
]
#: An S3 URI, which may contain Airflow templates.
S3Uri = Annotated[str, BeforeValidator(_s3), WithJsonSchema({"type": "string", "pattern": r"^(s3[an]?://|\{\{)"})]
#: A mapping that is passed unchanged to AWS or to an operator.
Raw = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


def _number_or_text(value: object, expected: str) -> str | float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        if is_template(value):
            raise Refusal(
                f"expected {expected}: templates are not supported here because Airflow renders them at run time",
                "use a variable `${name}`, which is substituted when the file is read",
            )
        return value
    raise Refusal(f"expected {expected}, not {shown(value)}")
