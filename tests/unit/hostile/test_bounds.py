"""The bounds themselves hold."""

from __future__ import annotations

import pytest

from tests.unit.hostile.bounds import bounded


def _double(text: str, times: int) -> str:
    for _ in range(times):
        text += text
    return text


def test_work_within_the_bounds_passes():
    with bounded(memory=10_000, lines=100):
        assert len(_double("x", 5)) == 32


def test_too_many_lines_fail_before_the_work_ends():
    with pytest.raises(AssertionError, match="more than 100 lines"), bounded(memory=10_000, lines=100):
        _double("", 10**12)


def test_too_much_memory_fails():
    with pytest.raises(AssertionError, match="peak of memory"), bounded(memory=10_000, lines=100):
        _double("x", 16)
