"""Quartz cron fields, as Sundial has them, to the cron that Airflow reads: the same fire times, or a refusal."""

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

#: The longest that each month gets.
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

#: Every month has these days, so that `nW` means the same to Quartz and to croniter.
_DAYS_OF_ALL_MONTHS = range(1, 29)


class QuartzError(ValueError):
    """A Quartz expression that is wrong, or that no cron expression says exactly.

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
        """The value of a number or a name, checked against the field's bounds."""
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
    """Translate Quartz fields (whose seconds are 0, as in Sundial) to a five-field cron expression.

    The result fires at exactly the same minutes: each field is worked out to the set of values that Quartz reads
    in it and written anew, with `0` for Sunday, `L5` for Quartz's `6L` (the last Friday) and `5#3` for its `6#3`.

    Raises:
        QuartzError: Quartz itself would refuse the field, or cron has no words for it (`LW`, `L-3`, `31W`).

    Source: org.quartz.CronExpression of Quartz 2.3, croniter.
    """
    texts = {
        _MINUTES: minutes,
        _HOURS: hours,
        _DAY_OF_MONTH: day_of_month,
        _MONTH: month,
        _DAY_OF_WEEK: day_of_week,
    }
    # Quartz reads its expression in capitals; spaces inside a field would have shifted the fields behind it.
    clean = {field: text.strip().upper() for field, text in texts.items()}
    for field, text in clean.items():
        if not text or re.search(r"\s", text):
            raise QuartzError(field.name, f"{texts[field]!r} is not one field of a cron expression")
        if "?" in text and (text != "?" or field not in {_DAY_OF_MONTH, _DAY_OF_WEEK}):
            raise QuartzError(field.name, "'?' may only stand alone, in day_of_month or day_of_week")
    day, weekday = clean[_DAY_OF_MONTH], clean[_DAY_OF_WEEK]
    if (day == "?") == (weekday == "?"):
        raise QuartzError(
            "day_of_month",
            f"one of day_of_month ({day}) and day_of_week ({weekday}) must be '?', the other must not: Quartz refuses "
            "anything else",
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
            f"{text!r} cannot be said exactly in cron; run on all days that it may mean and let the job look at the "
            "date, or write a timetable (`schedule: {timetable: …}`)",
        )
    days = _values(_DAY_OF_MONTH, text)
    if min(days) > max(_MONTH_LENGTHS[month - 1] for month in months):
        raise QuartzError("day_of_month", f"none of the months has the day {min(days)}: this never fires")
    return _render(_DAY_OF_MONTH, days)


def _cron_weekday(text: str) -> str:
    if text == "L":  # alone it is the last day of the week, without regard to the month
        text = "7"
    if last := re.fullmatch(r"(\w+)L", text):
        return f"L{_DAY_OF_WEEK.number(last[1]) - 1}"
    if nth := re.fullmatch(r"(\w+)#(\w+)", text):
        if nth[2] not in {"1", "2", "3", "4", "5"}:
            raise QuartzError("day_of_week", f"{text!r}: a month has no more than 5 of a weekday")
        return f"{_DAY_OF_WEEK.number(nth[1]) - 1}#{nth[2]}"
    if "#" in text or "L" in text:
        raise QuartzError("day_of_week", f"{text!r}: 'L' and '#' go with one weekday, as in 6L or 6#3, not with a list")
    return _render(_Field("day_of_week", 0, 6), frozenset(day - 1 for day in _values(_DAY_OF_WEEK, text)))


def _values(field: _Field, text: str) -> frozenset[int]:
    """What Quartz fires at: lists of `*`, `a`, `a-b`, each with `/step`; a range may run over the end (22-2)."""
    values: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(?P<start>\*|\w*)(-(?P<end>\w+))?(/(?P<step>[0-9]{1,2}))?", item)
        if not match or not item or (match["end"] and match["start"] in {"*", ""}):
            raise QuartzError(field.name, f"{item!r} is not a value, a range or a step of Quartz")
        start, end, step = match["start"], match["end"], match["step"]
        named = [part in field.names for part in (start, end) if part and part != "*"]
        if any(named) and (not all(named) or step):
            raise QuartzError(
                field.name, f"{item!r}: Quartz reads names and steps, or names and numbers, not in one item"
            )
        if step is not None and not 1 <= int(step) <= field.size:
            raise QuartzError(field.name, f"{item!r}: the step is not between 1 and {field.size}")
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
    """The set in cron: `*`, `*/15`, `5-59/10`, or ranges and single values."""
    ordered = sorted(values)
    if len(ordered) == field.size:
        return "*"
    steps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
    # Steps over weekdays are left out: cron's Sunday is 0 and 7, and where such a step ends differs between crons.
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
