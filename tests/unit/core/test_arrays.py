"""Splitting indices into arrays that AWS accepts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchemr.core.arrays import MAX_ARRAY, MAX_TEXT, split
from airflow_batchemr.core.indices import MAX_INDICES, IndexSet
from airflow_batchemr.core.preamble import encode


def together(pieces):
    total = IndexSet()
    for piece in pieces:
        total |= piece
    return total


@settings(deadline=None)
@given(st.sets(st.integers(0, MAX_INDICES - 1), max_size=200), st.integers(7, 200))
def test_every_index_is_in_exactly_one_array(members, max_text):
    """In order, and each array is within its limits."""
    indices = IndexSet.of(members)
    pieces = split(indices, max_text)
    assert sorted(members) == [index for piece in pieces for index in piece]
    assert all(len(encode(piece)) <= max_text for piece in pieces)


def test_10000_indices_fit_into_one_array():
    """Even if only a part of them is submitted."""
    scattered = IndexSet.of(range(0, 10_000, 2))
    assert ([IndexSet.range(10_000)], [scattered]) == (split(IndexSet.range(10_000)), split(scattered))


def test_a_larger_job_becomes_several_arrays():
    """Each has 10,000 indices; the last one has the rest."""
    assert [len(piece) for piece in split(IndexSet.range(25_000))] == [10_000, 10_000, 5_000]


def test_scattered_indices_of_a_million_fit_into_the_environment():
    """They are split by the length of their text form."""
    indices = IndexSet.of(range(7, MAX_INDICES, 97))
    pieces = split(indices)
    assert indices == together(pieces)
    assert max(len(encode(piece)) for piece in pieces) <= MAX_TEXT
    assert max(len(piece) for piece in pieces) <= MAX_ARRAY


def test_an_empty_set_becomes_no_array():
    """There is nothing to submit."""
    assert split(IndexSet()) == []


def test_no_room_for_a_single_index_is_an_error():
    """The user's environment uses up the 8 KiB."""
    with pytest.raises(ValueError, match="shorten env"):
        split(IndexSet.range(3), 6)
