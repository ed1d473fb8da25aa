"""A simple, slow evaluator of Quartz's day, month and time fields, to verify the conversion to cron.

It is independent of the conversion: it checks each day and each time separately.
"""

from __future__ import annotations

import calendar
import datetime as dt

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def quartz_weekday(day: dt.date) -> int:
    """1 for Sunday to 7 for Saturday."""
    return day.isoweekday() % 7 + 1


def number(text: str, names: list[str]) -> int:
    return names.index(text) + 1 if text in names else int(text)


def matches(item: str, value: int, low: int, high: int, names: list[str]) -> bool:
    """Whether one item of a list (`*`, `a` or `a-b`, with an optional `/n`) contains the value."""
    body, _, step_text = item.partition("/")
    step = int(step_text) if step_text else 1
    if body in {"*", ""}:
        first, last = low, high
    elif "-" in body:
        first, last = (number(part, names) for part in body.split("-"))
    else:
        first = number(body, names)
        last = high if step_text else first
    cursor, end = first, last if last >= first else last + (high - low + 1)
    while cursor <= end:
        if (cursor - low) % (high - low + 1) + low == value:
            return True
        cursor += step
    return False


def any_item(text: str, value: int, low: int, high: int, names: list[str] | None = None) -> bool:
    return any(matches(item, value, low, high, names or []) for item in text.upper().split(","))


def nearest_weekday(year: int, month: int, day: int) -> int:
    """The working day nearest to a day, within its month."""
    last = calendar.monthrange(year, month)[1]
    candidates = [other for other in range(1, last + 1) if dt.date(year, month, other).isoweekday() <= 5]
    return min(candidates, key=lambda other: (abs(other - day), other))


def day_fires(day: dt.date, day_of_month: str, month: str, day_of_week: str) -> bool:
    """Whether Quartz fires on this day."""
    if not any_item(month, day.month, 1, 12, MONTHS):
        return False
    last = calendar.monthrange(day.year, day.month)[1]
    if day_of_month != "?":
        text = day_of_month.upper()
        if text == "L":
            return day.day == last
        if text.endswith("W"):
            return day.day == nearest_weekday(day.year, day.month, int(text[:-1]))
        return any_item(text, day.day, 1, 31)
    text = day_of_week.upper()
    if text == "L":
        return quartz_weekday(day) == 7
    if text.endswith("L"):
        return quartz_weekday(day) == number(text[:-1], DAYS) and day.day > last - 7
    if "#" in text:
        weekday, nth = text.split("#")
        return quartz_weekday(day) == number(weekday, DAYS) and (day.day - 1) // 7 + 1 == int(nth)
    return any_item(text, quartz_weekday(day), 1, 7, DAYS)


def fires(
    start: dt.datetime,
    end: dt.datetime,
    *,
    minutes: str,
    hours: str,
    day_of_month: str,
    month: str,
    day_of_week: str,
) -> list[dt.datetime]:
    """All minutes in (start, end] at which Quartz fires."""
    times = [
        dt.time(hour, minute)
        for hour in range(24)
        if any_item(hours, hour, 0, 23)
        for minute in range(60)
        if any_item(minutes, minute, 0, 59)
    ]
    found = []
    day = start.date()
    while day <= end.date():
        if day_fires(day, day_of_month, month, day_of_week):
            found += [dt.datetime.combine(day, time) for time in times]
        day += dt.timedelta(days=1)
    return [moment for moment in found if start < moment <= end]
