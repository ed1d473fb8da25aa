"""What all models share, and the types of the values that people write in more than one way.

Each type takes its own result again, so that a model accepts its own dump.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from airflow_batchemr.core import units
from airflow_batchemr.pipeline_file.errors import Refusal


class Model(BaseModel):
    """A part of a pipeline: immutable, and unknown words are errors.

    A word with null (nothing after its colon) is a word that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            known = _words(cls)
            return {word: value for word, value in data.items() if value is not None or word not in known}
        return data


@functools.cache
def _words(model: type[Model]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


@dataclass(frozen=True, eq=False)
class Form:
    """Other ways to write a value, for the JSON Schema.

    Attributes:
        others: schemas of the other ways.
        single: of a list, a single item stands for a list of one.
        items: other ways to write an item of a list.
        values: other ways to write a value of a mapping.
    """

    others: tuple[dict[str, Any], ...] = ()
    single: bool = False
    items: tuple[dict[str, Any], ...] = ()
    values: tuple[dict[str, Any], ...] = ()

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """The schema of the long form, and the others beside it."""
        made = dict(handler(core))
        if self.items:
            made["items"] = {"anyOf": [made["items"], *self.items]}
        if self.values:
            made["additionalProperties"] = {"anyOf": [made["additionalProperties"], *self.values]}
        alone = [made["items"]] if self.single else []
        return {"anyOf": [made, *alone, *self.others]} if alone or self.others else made


@dataclass(frozen=True, eq=False)
class Names:
    """What the names of a mapping look like, for the JSON Schema.

    Attributes:
        pattern: regular expression.
    """

    pattern: str

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """The mapping's schema, and that of its names."""
        return {**handler(core), "propertyNames": {"pattern": self.pattern}}


TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}


def shown(value: object) -> str:
    """A value as an error message names it, in YAML's words."""
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
    """Text; numbers and booleans stay as they were written (`1.10` stays `1.10`)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise Refusal(f"expected text, not {shown(value)}")


def texts(value: object) -> list[str]:
    """A list of texts; a single one is a list of one."""
    if isinstance(value, list | tuple):
        return [text(item) for item in value]
    return [text(value)]


#: What Python 3.10 and 3.13 read alike.
_MOMENT = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?([zZ]|[+-]\d\d:\d\d)?)?"


def _moment(value: object) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and re.fullmatch(_MOMENT, value):
        try:
            return dt.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        except ValueError as error:
            raise Refusal(f"no such date: {value} ({error})") from None
    raise Refusal(f"expected a date like 2026-11-20 or 2026-11-20T06:00, not {shown(value)}")


def _s3(value: object) -> str:
    if not isinstance(value, str) or not re.match(r"s3[an]?://|\{\{", value):
        raise Refusal(f"expected an S3 URI like s3://bucket/prefix, not {shown(value)}")
    return value


def _mapping_of_text(value: object) -> object:
    if isinstance(value, dict):
        for key, item in value.items():
            if item is None or isinstance(item, dict | list):
                raise Refusal(
                    f"expected text, not {shown(item)}", "write '' for an empty text" if item is None else None, [key]
                )
        return {text(key): text(item) for key, item in value.items()}
    return value


SCALAR = {"type": ["string", "number", "boolean"]}
_WORDS = {"anyOf": [SCALAR, {"type": "array", "items": SCALAR}]}
_DURATION = r"^\s*(\d{1,12}|(\d+(\.\d+)?\s*([sS]([eE][cC])?|[mM]([iI][nN])?|[hHdDwW])\s*)+)\s*$"
_SIZE = r"^\s*\d+(\.\d+)?\s*([kKmMgGtT]([iI]?[bB])?|[kKmMgGtT][iI]|[bB])?\s*$"

#: Text; numbers and booleans are taken as they were written.
Text = Annotated[str, BeforeValidator(text), WithJsonSchema(SCALAR)]
#: Text that is not empty.
Word = Annotated[str, BeforeValidator(text), Field(min_length=1), WithJsonSchema({**SCALAR, "minLength": 1})]
#: A list of texts, or a single one.
Texts = Annotated[list[str], BeforeValidator(texts), WithJsonSchema(_WORDS)]
#: Names and values, as text.
TextMap = Annotated[
    dict[str, str],
    BeforeValidator(_mapping_of_text),
    WithJsonSchema({"type": "object", "additionalProperties": SCALAR}),
]
#: A duration in seconds: `90`, `90s`, `15m`, `2h`, `1d`.
Seconds = Annotated[
    int,
    BeforeValidator(lambda value: units.seconds(_number_or_text(value, "a duration like 90s, 15m or 2h"))),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _DURATION}]}),
]
#: A size in MiB: `2048`, `2048MiB`, `2GiB`.
Mebibytes = Annotated[
    int,
    BeforeValidator(lambda value: units.mebibytes(_number_or_text(value, "a size like 8GiB or 512MiB"))),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}]}),
]
#: A size in bytes: `1000000`, `2GiB`.
Bytes = Annotated[
    int,
    BeforeValidator(lambda value: units.bytes_(_number_or_text(value, "a size like 8GiB or 512MiB"))),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}]}),
]
#: A date or a moment; without an offset it is in the pipeline's time zone.
Moment = Annotated[
    dt.datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": rf"^{_MOMENT}$"}),
]
#: An S3 URI; Airflow templates are allowed in it.
S3Uri = Annotated[str, BeforeValidator(_s3), WithJsonSchema({"type": "string", "pattern": r"^(s3[an]?://|\{\{)"})]
#: Anything, handed through as it is to AWS or to an operator.
Raw = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


def _number_or_text(value: object, expected: str) -> str | float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        if isinstance(value, str) and ("{{" in value or "{%" in value):
            raise Refusal(
                f"expected {expected}: Airflow fills templates in later than this is needed",
                "use a variable, ${name}, which is filled in when the file is read",
            )
        return value
    raise Refusal(f"expected {expected}, not {shown(value)}")
