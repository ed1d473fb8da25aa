"""Parsing of durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchemr.core.units import bytes_, mebibytes, seconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1w", 604800),
        ("90", 90),
        (90, 90),
        ("0.5h", 1800),
        (" 2 h ", 7200),
        ("5min", 300),
        (0, 0),
        ("2H", 7200),
        (60.0, 60),
    ],
)
def test_a_duration_is_whole_seconds(written, expected):
    """Numbers are seconds; units can be combined."""
    assert expected == seconds(written)


@pytest.mark.parametrize(
    "written", ["", "soon", "h", "-5s", "5 minutes", "1.5s", 0.5, -1, True, "9" * 30, "1h30", float("nan")]
)
def test_an_invalid_duration_is_rejected(written):
    """With a message, for any type."""
    with pytest.raises(ValueError, match="duration"):
        seconds(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("8GiB", 8 * 1024**3),
        ("8G", 8 * 1024**3),
        ("8g", 8 * 1024**3),
        ("8GB", 8 * 10**9),
        ("1.5KiB", 1536),
        ("5b", 5),
        (7, 7),
    ],
)
def test_a_size_is_whole_bytes(written, expected):
    """Units without `B` are binary, as in Docker and the JVM; units with `B` are decimal."""
    assert expected == bytes_(written)


@pytest.mark.parametrize("written", ["", "big", "8 gigs", "-1GiB", "0.3b", True, "8iB", "2PiB", 10**20])
def test_an_invalid_size_is_rejected(written):
    """With a message, for any type."""
    with pytest.raises(ValueError, match="size"):
        bytes_(written)


@pytest.mark.parametrize(
    ("written", "expected"), [(2048, 2048), ("2048", 2048), ("2GiB", 2048), ("4g", 4096), ("0.5GiB", 512)]
)
def test_memory_is_whole_mebibytes(written, expected):
    """Numbers are MiB, the unit of AWS Batch."""
    assert expected == mebibytes(written)


def test_decimal_memory_suggests_the_binary_unit():
    """8 GB is not a whole number of MiB."""
    with pytest.raises(ValueError, match=r"8GB is 7629\.4 MiB, but AWS requires whole MiB; did you mean 8GiB"):
        mebibytes("8GB")


@given(st.one_of(st.text(max_size=12), st.floats(), st.integers(), st.booleans()))
def test_any_value_is_parsed_or_rejected(value):
    """To a whole number of at least 0, or with a ValueError."""
    for unit in (seconds, bytes_, mebibytes):
        try:
            made = unit(value)
        except ValueError:
            continue
        assert isinstance(made, int)
        assert made >= 0
