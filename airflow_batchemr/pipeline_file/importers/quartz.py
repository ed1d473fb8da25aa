"""Convert Quartz cron fields, as used by Sundial, to a cron expression with the same fire times."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from croniter import croniter

if TYPE_CHECKING:
    from collections.abc import Iterable

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

#: Maximum number of days of each month.
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

#: Days that every month has; for them `nW` means the same in Quartz and in croniter.
_DAYS_OF_ALL_MONTHS = range(1, 29)


class QuartzError(ValueError):
    """Raised for a Quartz expression that is invalid or has no exact cron equivalent.

    Attributes:
        field: Sundial's name of the field, such as `day_of_month`.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def number(self, text: str) -> int:
        """Parse a number or a name.

        Raises:
            QuartzError: if it is out of range.
        """
        if text in self.names:
            return self.names.index(text) + self.low
        if not re.fullmatch(r"[0-9]{1,2}", text):
            known = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
            raise QuartzError(self.name, f"{text!r} is not a number from {self.low} to {self.high}{known}")
        value = int(text)
        if not self.low <= value <= self.high:
            raise QuartzError(self.name, f"{value} is not between {self.low} and {self.high}")
        return value


_MINUTES = _Field("minutes", 0, 59)
_HOURS = _Field("hours", 0, 23)
_DAY_OF_MONTH = _Field("day_of_month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS)
_DAY_OF_WEEK = _Field("day_of_week", 1, 7, _DAYS)


def to_cron(*, minutes: str, hours: str, day_of_month: str, month: str, day_of_week: str) -> str:
    """Convert Quartz fields (with seconds 0, as in Sundial) to a cron expression of five fields.

    The result fires at exactly the same minutes. Each field is expanded to the set of values that it selects in Quartz
    and rendered as cron, with `0` for Sunday, `L5` for Quartz's `6L` (the last Friday) and `5#3` for its `6#3`.

    Raises:
        QuartzError: if the field is invalid in Quartz, or has no cron equivalent (`LW`, `L-3`, `31W`).

    Source: org.quartz.CronExpression of Quartz 2.3, croniter.
    """
    texts = {
        _MINUTES: minutes,
        _HOURS: hours,
        _DAY_OF_MONTH: day_of_month,
        _MONTH: month,
        _DAY_OF_WEEK: day_of_week,
    }
    # Quartz is case-insensitive; a space inside a field would shift the fields after it.
    clean = {field: text.strip().upper() for field, text in texts.items()}
    for field, text in clean.items():
        if not text or re.search(r"\s", text):
            raise QuartzError(field.name, f"{texts[field]!r} is not one field of a cron expression")
        if "?" in text and (text != "?" or field not in {_DAY_OF_MONTH, _DAY_OF_WEEK}):
            raise QuartzError(field.name, "'?' is only allowed as the whole day_of_month or day_of_week field")
    day, weekday = clean[_DAY_OF_MONTH], clean[_DAY_OF_WEEK]
    if (day == "?") == (weekday == "?"):
        raise QuartzError(
            "day_of_month",
            f"exactly one of day_of_month ({day}) and day_of_week ({weekday}) must be '?'",
        )
    months = _values(_MONTH, clean[_MONTH])
    return " ".join(
        [
            _render(_MINUTES, _values(_MINUTES, clean[_MINUTES])),
            _render(_HOURS, _values(_HOURS, clean[_HOURS])),
            "*" if day == "?" else _cron_day(day, months),
            _render(_MONTH, months),
            "*" if weekday == "?" else _cron_weekday(weekday),
        ]
    )


def _cron_day(text: str, months: frozenset[int]) -> str:
    if text == "L":
        return "L"
    if nearest := re.fullmatch(r"([0-9]{1,2})W", text):
        value = _DAY_OF_MONTH.number(nearest[1])
        cron = f"{value}W"
        if value in _DAYS_OF_ALL_MONTHS and croniter.is_valid(f"0 0 {cron} * *"):
            return cron
    if "W" in text or "L" in text:
        raise QuartzError(
            "day_of_month",
            f"{text!r} has no exact cron equivalent; run on all days that it may select and check the date in the job, "
            "or write a custom timetable (`schedule: {timetable: …}`)",
        )
    days = _values(_DAY_OF_MONTH, text)
    if min(days) > max(_MONTH_LENGTHS[month - 1] for month in months):
        raise QuartzError("day_of_month", f"none of the months has a day {min(days)}: the schedule never fires")
    return _render(_DAY_OF_MONTH, days)


def _cron_weekday(text: str) -> str:
    if text == "L":  # without a number it is the last day of the week
        text = "7"
    if last := re.fullmatch(r"(\w+)L", text):
        return f"L{_DAY_OF_WEEK.number(last[1]) - 1}"
    if nth := re.fullmatch(r"(\w+)#(\w+)", text):
        if nth[2] not in {"1", "2", "3", "4", "5"}:
            raise QuartzError("day_of_week", f"{text!r}: a weekday occurs at most 5 times in a month")
        return f"{_DAY_OF_WEEK.number(nth[1]) - 1}#{nth[2]}"
    if "#" in text or "L" in text:
        raise QuartzError("day_of_week", f"{text!r}: 'L' and '#' require a single weekday, as in 6L or 6#3, not a list")
    return _render(_Field("day_of_week", 0, 6), frozenset(day - 1 for day in _values(_DAY_OF_WEEK, text)))


def _values(field: _Field, text: str) -> frozenset[int]:
    """The values that a field selects: a list of `*`, `a` or `a-b`, each with an optional `/step`; ranges may wrap."""
    values: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(?P<start>\*|\w*)(-(?P<end>\w+))?(/(?P<step>[0-9]{1,2}))?", item)
        if not match or not item or (match["end"] and match["start"] in {"*", ""}):
            raise QuartzError(field.name, f"{item!r} is not a value, range or step in Quartz")
        start, end, step = match["start"], match["end"], match["step"]
        named = [part in field.names for part in (start, end) if part and part != "*"]
        if any(named) and (not all(named) or step):
            raise QuartzError(
                field.name, f"{item!r}: Quartz does not allow names with steps, or names with numbers, in one item"
            )
        if step is not None and not 1 <= int(step) <= field.size:
            raise QuartzError(field.name, f"{item!r}: the step must be between 1 and {field.size}")
        values |= set(_span(field, start, end, step))
    return frozenset(values)


def _span(field: _Field, start: str, end: str | None, step: str | None) -> Iterable[int]:
    first = field.low if start in {"*", ""} else field.number(start)
    if end is not None:
        last = field.number(end)
    elif step is not None or start == "*":
        last = field.high
    else:
        last = first
    if last < first:
        last += field.size
    for value in range(first, last + 1, int(step or 1)):
        yield (value - field.low) % field.size + field.low


def _render(field: _Field, values: frozenset[int]) -> str:
    """Render a set of values as cron: `*`, `*/15`, `5-59/10`, or ranges and single values."""
    ordered = sorted(values)
    if len(ordered) == field.size:
        return "*"
    steps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
    # No steps for weekdays: Sunday is 0 and 7 in cron, and implementations differ on where such a step ends.
    if len(ordered) > 2 and len(steps) == 1 and (step := steps.pop()) > 1 and field.name != "day_of_week":
        if ordered == list(range(field.low, field.high + 1, step)):
            return f"*/{step}"
        if ordered == list(range(ordered[0], field.high + 1, step)):
            return f"{ordered[0]}-{field.high}/{step}"
    runs: list[list[int]] = []
    for value in ordered:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)
