"""Run keys: the same for the same run, different for different ones, safe anywhere."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_batchemr.core.run_key import MAX_LENGTH, run_key

DATE = datetime(2026, 11, 20, tzinfo=timezone.utc)


def test_a_date_comes_first():
    """Whatever else names the run."""
    assert run_key(DATE, "eu", "scheduled__2026-11-20T00:00:00+00:00") == "2026-11-20T000000Z"


def test_a_date_is_told_in_utc():
    """The same moment in another zone is the same run."""
    assert (
        run_key(datetime(2026, 11, 20, 12, 30, tzinfo=timezone(timedelta(hours=2))), None, "x") == "2026-11-20T103000Z"
    )


def test_microseconds_tell_two_manual_runs_apart():
    """They are told only where there are any."""
    assert run_key(DATE + timedelta(microseconds=7), None, "x") == "2026-11-20T000000.000007Z"


def test_a_partition_comes_before_the_run_id():
    """A run of a partitioned Dag has no date."""
    assert run_key(None, "eu-west", "manual__1") == "eu-west"


def test_a_run_id_of_airflow_keeps_what_is_readable():
    """Colons and plus signs have no place in a file's name."""
    key = run_key(None, None, "manual__2026-11-20T10:11:12.123456+00:00")
    assert re.fullmatch(r"manual__2026-11-20T10-11-12\.123456-00-00-[0-9a-f]{10}", key)


@pytest.mark.parametrize("partition", ["2026-11-20T000000Z", "2026-11-20T000000.000007Z", "x-0123456789"])
def test_a_name_that_looks_like_a_made_one_is_told_apart(partition):
    """A partition named as a date is not the run of that date."""
    assert partition != run_key(None, partition, "x")
    assert run_key(None, partition, "x").startswith(partition)


def test_a_date_without_a_zone_is_refused():
    """It would be another run elsewhere."""
    with pytest.raises(ValueError, match="no time zone"):
        run_key(datetime(2026, 11, 20), None, "x")


def test_a_run_without_a_name_is_refused():
    """Two of them would share one ledger."""
    with pytest.raises(ValueError, match="none of them"):
        run_key(None, "", "")


NAMES = st.text(min_size=1, max_size=300)


@given(NAMES)
@example("..")
@example("/")
@example("-rf")
@example("=")
@example("é")
def test_every_key_is_safe(name):
    """In S3 keys, URIs, file names and shell words."""
    key = run_key(None, name, "x")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*", key)
    assert len(key) <= MAX_LENGTH


@given(NAMES, NAMES)
@example("a:b", "a+b")
@example("a:b", "a-b")
@example("x" * 200, "x" * 201)
def test_different_names_stay_different(one, other):
    """Also those that differ only in what is not safe, or beyond the longest length."""
    assert (one == other) == (run_key(None, one, "x") == run_key(None, other, "x"))
