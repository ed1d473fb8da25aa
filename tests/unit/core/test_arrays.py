"""How indices are cut into arrays that AWS takes."""

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
    """In order, and each within its limits."""
    indices = IndexSet.of(members)
    pieces = split(indices, max_text)
    assert sorted(members) == [index for piece in pieces for index in piece]
    assert all(len(encode(piece)) <= max_text for piece in pieces)


def test_an_array_of_10000_is_one():
    """Whatever part of it is left."""
    scattered = IndexSet.of(range(0, 10_000, 2))
    assert ([IndexSet.range(10_000)], [scattered]) == (split(IndexSet.range(10_000)), split(scattered))


def test_a_larger_job_is_several_arrays():
    """10,000 each, the last with the rest."""
    assert [len(piece) for piece in split(IndexSet.range(25_000))] == [10_000, 10_000, 5_000]


def test_a_few_of_a_million_still_travel_in_the_environment():
    """Scattered indices are cut by what their text needs."""
    indices = IndexSet.of(range(7, MAX_INDICES, 97))
    pieces = split(indices)
    assert indices == together(pieces)
    assert max(len(encode(piece)) for piece in pieces) <= MAX_TEXT
    assert max(len(piece) for piece in pieces) <= MAX_ARRAY


def test_nothing_left_is_no_array():
    """The caller has nothing to submit."""
    assert split(IndexSet()) == []


def test_no_room_for_a_single_index_is_an_error():
    """The user's own environment fills the 8 KiB."""
    with pytest.raises(ValueError, match="shorten env"):
        split(IndexSet.range(3), 6)
