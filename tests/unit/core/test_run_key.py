"""Run keys are stable, unique and safe to use in paths, URIs and commands."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_batchemr.core.run_key import MAX_LENGTH, run_key

DATE = datetime(2026, 11, 20, tzinfo=timezone.utc)


def test_the_logical_date_takes_precedence():
    """Over the partition key and the run_id."""
    assert run_key(DATE, "eu", "scheduled__2026-11-20T00:00:00+00:00") == "2026-11-20T000000Z"


def test_a_date_is_converted_to_utc():
    """The same time in another time zone is the same run."""
    assert (
        run_key(datetime(2026, 11, 20, 12, 30, tzinfo=timezone(timedelta(hours=2))), None, "x") == "2026-11-20T103000Z"
    )


def test_microseconds_distinguish_manual_runs():
    """They are included only if they are not zero."""
    assert run_key(DATE + timedelta(microseconds=7), None, "x") == "2026-11-20T000000.000007Z"


def test_the_partition_key_takes_precedence_over_the_run_id():
    """A run of a partitioned Dag has no logical date."""
    assert run_key(None, "eu-west", "manual__1") == "eu-west"


def test_a_run_id_stays_readable():
    """Colons and plus signs are not safe in file names."""
    key = run_key(None, None, "manual__2026-11-20T10:11:12.123456+00:00")
    assert re.fullmatch(r"manual__2026-11-20T10-11-12\.123456-00-00-[0-9a-f]{10}", key)


@pytest.mark.parametrize("partition", ["2026-11-20T000000Z", "2026-11-20T000000.000007Z", "x-0123456789"])
def test_a_name_that_looks_like_a_generated_key_gets_a_digest(partition):
    """A partition named like a date is not the run of that date."""
    assert partition != run_key(None, partition, "x")
    assert run_key(None, partition, "x").startswith(partition)


def test_a_date_without_a_time_zone_is_rejected():
    """It would be a different run on another machine."""
    with pytest.raises(ValueError, match="no time zone"):
        run_key(datetime(2026, 11, 20), None, "x")


def test_a_run_without_a_name_is_rejected():
    """Two of them would share one ledger."""
    with pytest.raises(ValueError, match="neither a logical date nor a partition key nor a run_id"):
        run_key(None, "", "")


NAMES = st.text(min_size=1, max_size=300)


@given(NAMES)
@example("..")
@example("/")
@example("-rf")
@example("=")
@example("é")
def test_every_key_is_safe(name):
    """In S3 keys, URIs, file names and shell commands."""
    key = run_key(None, name, "x")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*", key)
    assert len(key) <= MAX_LENGTH


@given(NAMES, NAMES)
@example("a:b", "a+b")
@example("a:b", "a-b")
@example("x" * 200, "x" * 201)
def test_different_names_have_different_keys(one, other):
    """Even if they differ only in unsafe characters or beyond the maximum length."""
    assert (one == other) == (run_key(None, one, "x") == run_key(None, other, "x"))
