"""Conversion of Quartz to cron: the same fire times, or an error."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchemr.pipeline_file.importers.quartz import QuartzError, to_cron

SPEC = importlib.util.spec_from_file_location("quartz_reference", Path(__file__).parent / "quartz_reference.py")
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)


def fields(expression: str) -> dict[str, str]:
    """Split `minutes hours day_of_month month day_of_week` into Sundial's fields."""
    names = ("minutes", "hours", "day_of_month", "month", "day_of_week")
    return dict(zip(names, expression.split(" "), strict=True))


def cron_fires(cron: str, start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
    """All minutes in (start, end] at which croniter, and therefore Airflow, fires."""
    found, times = [], croniter(cron, start)
    while (moment := times.get_next(dt.datetime)) <= end:
        found.append(moment)
    return found


@pytest.mark.parametrize(
    ("quartz", "cron"),
    [
        ("0 22 * * ?", "0 22 * * *"),
        ("0 10 ? * MON-FRI", "0 10 * * 1-5"),
        ("0 10 ? * 2-6", "0 10 * * 1-5"),
        ("30 4 ? * SUN", "30 4 * * 0"),
        ("30 4 ? * 1", "30 4 * * 0"),
        ("0/15 * * * ?", "*/15 * * * *"),
        ("*/15 * * * ?", "*/15 * * * *"),
        ("5/10 * * * ?", "5-59/10 * * * *"),
        ("/20 0 * * ?", "*/20 0 * * *"),
        ("0 22-2 * * ?", "0 0-2,22,23 * * *"),
        ("0 0 ? * SAT-MON", "0 0 * * 0,1,6"),
        ("0 0 1 NOV-FEB ?", "0 0 1 1,2,11,12 *"),
        ("0 0 1/5 * ?", "0 0 */5 * *"),
        ("0 0 L * ?", "0 0 L * *"),
        ("0 0 15W * ?", "0 0 15W * *"),
        ("0 0 ? * L", "0 0 * * 6"),
        ("0 0 ? * 6L", "0 0 * * L5"),
        ("0 0 ? * friL", "0 0 * * L5"),
        ("0 0 ? * 6#3", "0 0 * * 5#3"),
        ("0 0 ? * MON#1", "0 0 * * 1#1"),
        ("0 0 ? * *", "0 0 * * *"),
        ("0 0 ? * 1-7", "0 0 * * *"),
        ("0,30 8,20 1,15 1,7 ?", "0,30 8,20 1,15 1,7 *"),
        ("1,3,5,7 0 * * ?", "1,3,5,7 0 * * *"),
    ],
)
def test_quartz_fields_become_readable_cron(quartz, cron):
    """With ranges and steps where possible."""
    assert cron == to_cron(**fields(quartz))


@pytest.mark.parametrize(
    ("quartz", "field", "reason"),
    [
        ("0 22 * * *", "day_of_month", "must be '?'"),
        ("0 22 ? * ?", "day_of_month", "must be '?'"),
        ("0 22 1 * MON", "day_of_month", "must be '?'"),
        ("? 22 1 * ?", "minutes", "'?' is only allowed as the whole"),
        ("0 22 1,? * ?", "day_of_month", "'?' is only allowed as the whole"),
        ("0 0 LW * ?", "day_of_month", "has no exact cron equivalent"),
        ("0 0 L-3 * ?", "day_of_month", "has no exact cron equivalent"),
        ("0 0 31W * ?", "day_of_month", "has no exact cron equivalent"),
        ("0 0 1,15W * ?", "day_of_month", "has no exact cron equivalent"),
        ("0 0 15,L * ?", "day_of_month", "has no exact cron equivalent"),
        ("0 0 ? * 6L,2", "day_of_week", "not a list"),
        ("0 0 ? * 2#1,3#2", "day_of_week", "not a list"),
        ("0 0 ? * 6#6", "day_of_week", "at most 5 times"),
        ("0 0 ? * 0", "day_of_week", "not between 1 and 7"),
        ("0 0 ? * 8", "day_of_week", "not between 1 and 7"),
        ("0 0 ? * MON/2", "day_of_week", "names with steps"),
        ("0 0 ? * MON-6", "day_of_week", "names with numbers"),
        ("0 0 ? * MONDAY", "day_of_week", "SUN to SAT"),
        ("60 0 * * ?", "minutes", "not between 0 and 59"),
        ("0 24 * * ?", "hours", "not between 0 and 23"),
        ("0 0 0 * ?", "day_of_month", "not between 1 and 31"),
        ("0 0 1 13 ?", "month", "not between 1 and 12"),
        ("*/0 0 * * ?", "minutes", "the step"),
        ("*/61 0 * * ?", "minutes", "the step"),
        ("1--5 0 * * ?", "minutes", "not a value"),
        ("1,,5 0 * * ?", "minutes", "not a value"),
        ("*-5 0 * * ?", "minutes", "not a value"),
        ("x 0 * * ?", "minutes", "not a number"),
        ("٣ 0 * * ?", "minutes", "not a number"),
        ("0 0 30 FEB ?", "day_of_month", "never fires"),
        ("0 0 31 4,6,9,11 ?", "day_of_month", "never fires"),
    ],
)
def test_an_expression_without_an_exact_equivalent_is_rejected(quartz, field, reason):
    """With Sundial's name of the field and the reason; nothing is approximated."""
    with pytest.raises(QuartzError) as caught:
        to_cron(**fields(quartz))
    assert field == caught.value.field
    assert reason in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", "1 2"])
def test_a_field_is_one_field(text):
    """An empty field, or one with a space, would shift the following fields."""
    with pytest.raises(QuartzError, match="not one field"):
        to_cron(**fields("0 0 * * ?") | {"minutes": text})


def items(low: int, high: int, names: list[str]) -> st.SearchStrategy[str]:
    """Items of a Quartz list: values, ranges (including wrapping ones), steps, names."""
    value = st.integers(low, high).map(str)
    step = st.integers(1, high - low + 1).map(str)
    kinds = [
        st.just("*"),
        value,
        st.builds("{}-{}".format, value, value),
        st.builds("{}/{}".format, value, step),
        st.builds("*/{}".format, step),
        st.builds("/{}".format, step),
        st.builds("{}-{}/{}".format, value, value, step),
    ]
    if names:
        name = st.sampled_from(names)
        kinds += [name, st.builds("{}-{}".format, name, name)]
    return st.lists(st.one_of(kinds), min_size=1, max_size=3).map(",".join)


DAY_OF_MONTH = st.one_of(items(1, 31, []), st.just("L"), st.integers(1, 28).map("{}W".format))
DAY_OF_WEEK = st.one_of(
    items(1, 7, reference.DAYS),
    st.just("L"),
    st.builds("{}L".format, st.one_of(st.integers(1, 7), st.sampled_from(reference.DAYS))),
    st.builds("{}#{}".format, st.one_of(st.integers(1, 7), st.sampled_from(reference.DAYS)), st.integers(1, 5)),
)
DAY_FIELDS = st.one_of(st.tuples(DAY_OF_MONTH, st.just("?")), st.tuples(st.just("?"), DAY_OF_WEEK))
YEARS = (dt.datetime(2023, 12, 31, 23, 59), dt.datetime(2028, 3, 2))


@settings(max_examples=150, deadline=None)
@given(days=DAY_FIELDS, month=items(1, 12, reference.MONTHS), minutes=st.integers(0, 59), hours=st.integers(0, 23))
def test_a_converted_expression_fires_on_the_same_days_for_four_years(days, month, minutes, hours):
    """Including a leap year, the fire times are equal to the minute."""
    quartz = {
        "minutes": str(minutes),
        "hours": str(hours),
        "day_of_month": days[0],
        "month": month,
        "day_of_week": days[1],
    }
    expected = reference.fires(*YEARS, **quartz)
    # Of these expressions, only those that never fire are rejected.
    context = nullcontext() if expected else suppress(QuartzError)
    with context:
        assert expected == cron_fires(to_cron(**quartz), *YEARS)


@settings(max_examples=150, deadline=None)
@given(
    minutes=items(0, 59, []),
    hours=items(0, 23, []),
    days=DAY_FIELDS,
    start=st.datetimes(dt.datetime(2023, 1, 1), dt.datetime(2027, 12, 1)),
)
def test_a_converted_expression_fires_at_the_same_minutes(minutes, hours, days, start):
    """On any two days, with any lists, ranges and steps of minutes and hours."""
    quartz = {"minutes": minutes, "hours": hours, "day_of_month": days[0], "month": "*", "day_of_week": days[1]}
    start = start.replace(second=0, microsecond=0)
    end = start + dt.timedelta(days=2)
    assert reference.fires(start, end, **quartz) == cron_fires(to_cron(**quartz), start, end)


def test_the_table_in_the_docs_is_correct():
    """Each Quartz expression in docs/import.md converts to the cron expression next to it, or is rejected."""
    text = (Path(__file__).parents[3] / "docs" / "import.md").read_text()
    table = text.split("| Quartz | cron |")[1].split("\n\n")[0]
    checked = 0
    for row in table.splitlines()[2:]:
        left, right = (cell.strip() for cell in row.strip("|").split("|"))
        quartz, cron = re.findall("`([^`]+)`", left), re.findall("`([^`]+)`", right)
        for position, expression in enumerate(quartz):
            if cron:
                assert cron[position] == to_cron(**fields(expression))
            else:
                with pytest.raises(QuartzError):
                    to_cron(**fields(f"0 0 {expression} * ?"))
            checked += 1
    assert checked == 9
