"""When a pipeline runs."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.base import TEXT, Form, Model, Raw, Seconds, Word, shown

#: Airflow's presets (airflow/timetables: `@once` and `@continuous` have timetables of their own).
PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
#: minute, hour, day of month, month, day of week (0 and 7 are Sunday)
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART = re.compile(r"(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?|0))?")
_KINDS = ("cron", "every", "continuous", "after_assets", "timetable")


class Continuous(Model):
    """The next run starts when the last one has ended.

    Attributes:
        pause: seconds between the end of a run and the start of the next.
    """

    pause: Seconds = 0


class Assets(Model):
    """Assets to wait for: all of a list, or any; lists may be nested.

    Attributes:
        all: every one of them has been updated.
        any: one of them has been updated.
    """

    all: list[AssetOrNested] = Field(default_factory=list)
    any: list[AssetOrNested] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_of_them(self) -> Assets:
        if bool(self.all) == bool(self.any):
            raise Refusal("expected a list of assets under either `any` or `all`")
        return self


_NESTED = {"type": "array", "items": {"anyOf": [TEXT, {"$ref": "#/$defs/Assets"}]}, "minItems": 1}


def _assets(value: object) -> object:
    if isinstance(value, str):
        return {"all": [value]}
    return {"all": value} if isinstance(value, list) else value


def _asset(value: object) -> object:
    if isinstance(value, str):
        if not value.strip():
            raise Refusal("the asset's URI is empty")
        return value
    if not isinstance(value, dict | list | Assets):
        raise Refusal(f"expected an asset's URI, or {{any: […]}}, not {shown(value)}")
    if isinstance(value, list):
        raise Refusal(
            "a list of assets inside of another says neither `any` nor `all`", "write {any: […]} or {all: […]}"
        )
    return Assets.model_validate(value)


#: An asset's URI, or a nested `{any: […]}`.
AssetOrNested = Annotated[
    Any,
    BeforeValidator(_asset),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"\S"}, {"$ref": "#/$defs/Assets"}]}),
]


class Schedule(Model):
    """When a pipeline runs; exactly one of the kinds.

    Attributes:
        cron: five fields (minute hour day-of-month month day-of-week), or one of Airflow's presets.
        every: seconds between runs.
        continuous: run after run.
        after_assets: when assets have been updated.
        timetable: dotted path of a timetable class; `with_` are its arguments.
    """

    cron: Word | None = None
    every: Seconds | None = None
    continuous: Continuous | None = None
    after_assets: Annotated[Assets, BeforeValidator(_assets), Form((TEXT, _NESTED))] | None = None
    timetable: Word | None = None
    with_: Raw = Field(default_factory=dict, alias="with")

    @model_validator(mode="after")
    def _one_kind(self) -> Schedule:
        kinds = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise Refusal(f"expected exactly one of {', '.join(_KINDS)}, not {' and '.join(kinds) or 'none'}")
        if self.every == 0:
            raise Refusal("`every` must be longer than 0 seconds", at=["every"])
        if self.with_ and not self.timetable:
            raise Refusal("`with` holds the arguments of a timetable: name one under `timetable`", at=["with"])
        if self.cron is not None:
            check_cron(self.cron)
        return self


def check_cron(cron: str) -> None:
    """Refuse what is no cron expression of five fields and no preset of Airflow.

    Raises:
        Refusal: with what was expected.
    """
    if cron.startswith("@"):
        if cron not in PRESETS:
            raise Refusal(f"unknown preset {cron}; known are {', '.join(PRESETS)}", guess(cron, PRESETS), at=["cron"])
        return
    fields = cron.split()
    if len(fields) != 5:
        raise Refusal(
            f"a cron expression has 5 fields (minute hour day-of-month month day-of-week), not {len(fields)}",
            _meant(cron, fields),
            at=["cron"],
        )
    if "?" in cron:
        raise Refusal("`?` is Quartz's; in cron write `*`", "`batchemr import sundial` translates Quartz", at=["cron"])
    if all(_is_plain(field, *bounds) for field, bounds in zip(fields, _BOUNDS, strict=True)):
        return
    from croniter import croniter  # noqa: PLC0415 - 20 ms that a file of plain expressions need not pay

    try:
        croniter.expand(cron)
    except (ValueError, KeyError, IndexError) as error:
        raise Refusal(f"not a cron expression: {error}", at=["cron"]) from None


def _is_plain(field: str, low: int, high: int) -> bool:
    """Whether a field is of numbers, ranges and steps alone, within its bounds: croniter would take it."""
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if not match:
            return False
        first, last = (int(match[2]), int(match[3] or match[2])) if match[2] else (low, high)
        if not low <= first <= last <= high or match[4] == "0":
            return False
    return True


_FIELD = r"[^\s?]+"
#: The short forms of a schedule.
SCHEDULES = Form(({"enum": [*PRESETS, "@none"]}, {"type": "string", "pattern": rf"^\s*{_FIELD}(\s+{_FIELD}){{4}}\s*$"}))


def _meant(cron: str, fields: list[str]) -> str | None:
    """What somebody may have meant who did not write five fields."""
    if cron.lower() == "none":
        return "put null where there is no schedule"
    if len(fields) == 1:
        return guess(f"@{cron}", PRESETS) or "for a duration write `schedule: {every: 2h}`"
    if len(fields) in (6, 7) and "?" in fields:
        return _of_quartz(fields)
    return "there are no seconds: leave the first field out" if len(fields) == 6 else None


def _of_quartz(fields: list[str]) -> str:
    """The cron of Quartz's seconds, minutes, hours, day of month, month, day of week and year."""
    from airflow_batchemr.pipeline_file.importers.quartz import QuartzError, to_cron  # noqa: PLC0415 - only where somebody writes Quartz

    said = "this looks like Quartz, which begins with seconds and counts weekdays from 1"
    if fields[0] not in ("0", "00") or fields[6:] not in ([], ["*"]):
        return said
    try:
        cron = to_cron(
            minutes=fields[1], hours=fields[2], day_of_month=fields[3], month=fields[4], day_of_week=fields[5]
        )
    except QuartzError as error:
        return f"{said}; no cron says it: {error.field}: {error}"
    return f"{said}; in cron it is `{cron}`"


def as_schedule(value: object) -> object:
    """`'0 10 * * *'`, `@daily` or a mapping, as the fields of `Schedule`; null is no schedule."""
    if isinstance(value, str):
        return None if value == "@none" else {"cron": value}
    if value is None or isinstance(value, dict | Schedule):
        return value
    raise Refusal(
        f"expected a cron expression like '0 10 * * *', a preset like @daily, a mapping or null, not {shown(value)}"
    )
