"""The `schedule` of a pipeline."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.base import TEXT, Form, Model, Raw, Seconds, Word, shown

#: Airflow's presets, including `@once` and `@continuous`.
PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
#: Minute, hour, day of month, month, day of week (0 and 7 are Sunday).
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART = re.compile(r"(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?|0))?")
_KINDS = ("cron", "every", "continuous", "after_assets", "timetable")


class Continuous(Model):
    """Start the next run when the previous one has ended."""

    pause: Seconds = Field(0, description="Time between the end of a run and the start of the next")


class Assets(Model):
    """A condition on assets: all of a list, or any; it may be nested."""

    all: list[AssetOrNested] = Field(default_factory=list, description="Assets that must all be updated")
    any: list[AssetOrNested] = Field(default_factory=list, description="Assets of which one must be updated")

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
            raise Refusal("the asset URI is empty")
        return value
    if not isinstance(value, dict | list | Assets):
        raise Refusal(f"expected an asset URI, or {{any: […]}}, not {shown(value)}")
    if isinstance(value, list):
        raise Refusal("a nested list of assets requires `any` or `all`", "write {any: […]} or {all: […]}")
    return Assets.model_validate(value)


#: An asset URI, or a nested condition.
AssetOrNested = Annotated[
    Any,
    BeforeValidator(_asset),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"\S"}, {"$ref": "#/$defs/Assets"}]}),
]


class Schedule(Model):
    """When a pipeline runs: exactly one of `cron`, `every`, `continuous`, `after_assets` and `timetable`."""

    cron: Word | None = Field(
        None,
        description=(
            "Cron expression with five fields (minute, hour, day of month, month, day of week), or a preset "
            "such as `@daily`"
        ),
    )
    every: Seconds | None = Field(None, description="Time between runs, more than 0")
    continuous: Continuous | None = Field(
        None, description="Start the next run after the previous one has ended, with an optional `pause` in between"
    )
    after_assets: Annotated[Assets, BeforeValidator(_assets), Form((TEXT, _NESTED))] | None = Field(
        None, description=("Run after Airflow assets have been updated: one URI, a list (all of them), or `{any: […]}`")
    )
    timetable: Word | None = Field(None, description="Dotted path of an Airflow timetable")
    with_: Raw = Field(default_factory=dict, alias="with", description="Arguments of the timetable")

    @model_validator(mode="after")
    def _one_kind(self) -> Schedule:
        kinds = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise Refusal(f"expected exactly one of {', '.join(_KINDS)}, not {' and '.join(kinds) or 'none'}")
        if self.every == 0:
            raise Refusal("`every` must be more than 0 seconds", at=["every"])
        if self.with_ and not self.timetable:
            raise Refusal("`with` requires `timetable`: it contains the timetable's arguments", at=["with"])
        if self.cron is not None:
            check_cron(self.cron)
        return self


def check_cron(cron: str) -> None:
    """Check a cron expression of five fields, or a preset.

    Raises:
        Refusal: if it is neither.
    """
    if cron.startswith("@"):
        if cron not in PRESETS:
            raise Refusal(
                f"unknown preset {cron}; expected one of {', '.join(PRESETS)}", guess(cron, PRESETS), at=["cron"]
            )
        return
    fields = cron.split()
    if len(fields) != 5:
        raise Refusal(
            f"a cron expression has 5 fields (minute hour day-of-month month day-of-week), not {len(fields)}",
            _cron_hint(cron, fields),
            at=["cron"],
        )
    if "?" in cron:
        raise Refusal(
            "`?` is Quartz syntax and not allowed in cron",
            "use `*`; `batchemr import sundial` converts Quartz schedules",
            at=["cron"],
        )
    if all(_is_plain(field, *bounds) for field, bounds in zip(fields, _BOUNDS, strict=True)):
        return
    from croniter import croniter  # noqa: PLC0415 - takes 20 ms, and plain expressions do not need it

    try:
        croniter.expand(cron)
    except (ValueError, KeyError, IndexError) as error:
        raise Refusal(f"invalid cron expression: {error}", at=["cron"]) from None


def _is_plain(field: str, low: int, high: int) -> bool:
    """Whether a field only consists of numbers, ranges and steps within its bounds, so that it is valid in croniter."""
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


def _cron_hint(cron: str, fields: list[str]) -> str | None:
    """A hint for an expression that does not have five fields."""
    if cron.lower() == "none":
        return "for no schedule, use null"
    if len(fields) == 1:
        return guess(f"@{cron}", PRESETS) or "for a duration, use `schedule: {every: 2h}`"
    if len(fields) in (6, 7) and "?" in fields:
        return _quartz_hint(fields)
    return "cron has no seconds: remove the first field" if len(fields) == 6 else None


def _quartz_hint(fields: list[str]) -> str:
    """A hint for a Quartz expression: seconds, minutes, hours, day of month, month, day of week and optional year."""
    from airflow_batchemr.pipeline_file.importers.quartz import QuartzError, to_cron  # noqa: PLC0415 - rarely needed

    hint = "this looks like Quartz, which starts with seconds and numbers weekdays from 1"
    if fields[0] not in ("0", "00") or fields[6:] not in ([], ["*"]):
        return hint
    try:
        cron = to_cron(
            minutes=fields[1], hours=fields[2], day_of_month=fields[3], month=fields[4], day_of_week=fields[5]
        )
    except QuartzError as error:
        return f"{hint}; it has no cron equivalent: {error.field}: {error}"
    return f"{hint}; the cron equivalent is `{cron}`"


def as_schedule(value: object) -> object:
    """Convert a cron expression or preset to the fields of `Schedule`."""
    if isinstance(value, str):
        return None if value == "@none" else {"cron": value}
    if value is None or isinstance(value, dict | Schedule):
        return value
    raise Refusal(
        "expected a cron expression such as '0 10 * * *', a preset such as @daily, a mapping or null, "
        f"not {shown(value)}"
    )
