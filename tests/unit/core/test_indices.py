"""Index sets: sets of integers, told in two texts."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_batchemr.core.indices import MAX_INDICES, IndexSet, Indices

SETS = st.sets(st.integers(0, 300), max_size=100) | st.sets(st.integers(0, MAX_INDICES - 1), max_size=20)


@settings(deadline=None)
@given(SETS, SETS)
def test_it_does_what_a_set_of_integers_does(one, other):
    """Union, intersection, difference, subset, length, membership, order and equality."""
    first, second = IndexSet.of(one), IndexSet.of(other)
    assert sorted(one) == list(first)
    assert (one | other, one & other, one - other) == tuple(map(set, (first | second, first & second, first - second)))
    assert (len(one), bool(one), one <= other, one == other) == (
        len(first),
        bool(first),
        first <= second,
        first == second,
    )
    assert all((index in one) == (index in first) for index in range(300))
    assert hash(IndexSet.of(sorted(one, reverse=True))) == hash(first)


@given(st.lists(SETS, max_size=4))
def test_the_union_of_many_sets_is_what_any_of_them_has(sets):
    """Also of no sets."""
    assert set().union(*sets) == set(IndexSet.union(IndexSet.of(one) for one in sets))


@given(SETS)
@example(set())
@example({0})
@example({MAX_INDICES - 1})
def test_both_texts_are_read_back(members):
    """Ranges, and the shorter of ranges and bitmap."""
    indices = IndexSet.of(members)
    assert [indices, indices] == [IndexSet.parse(str(indices)), IndexSet.parse(indices.text())]


def test_ranges_are_what_a_person_writes():
    """Runs are told by their ends."""
    assert str(IndexSet.of([*range(10), 12, 14, 15])) == "0-9,12,14-15"


def test_the_shorter_text_is_taken():
    """Scattered indices as a bitmap that begins at the first of them, others as ranges."""
    assert IndexSet.range(10_000).text() == "0-9999"
    assert len(IndexSet.of(range(990_000, 1_000_000, 2)).text()) <= 2_511


@pytest.mark.parametrize("text", ["5,3,4", "3-4,4-5", " 3 - 5 ", "3-5,3-5", "3-5,4", "x38", "x7@3", "X7@3".lower()])
def test_ranges_may_overlap_and_stand_in_any_order(text):
    """All of these are 3, 4 and 5."""
    assert list(IndexSet.parse(text)) == [3, 4, 5]


@pytest.mark.parametrize(
    "text", ["a", "3-", "-3", "5-3", "3,,4", "1.5", "x", "xyz", "x1@", "0-99999999", "1000000", "\u0663"]
)
def test_what_is_no_set_is_refused(text):
    """With the part that cannot be read; a slip must not take gigabytes."""
    with pytest.raises(ValueError, match=r"index|range|indices"):
        IndexSet.parse(text)


@pytest.mark.parametrize("text", ["x1@1000000", "x1@9999999"])
def test_a_bitmap_beyond_the_limit_is_refused(text):
    """A job has at most a million indices."""
    with pytest.raises(ValueError, match="999,999"):
        IndexSet.parse(text)


@pytest.mark.parametrize("members", [[-1], [MAX_INDICES], [3, -1]])
def test_indices_out_of_bounds_are_refused(members):
    """From 0 to 999,999."""
    with pytest.raises(ValueError, match="999,999"):
        IndexSet.of(members)


@pytest.mark.parametrize("span", [(-1, 3), (0, MAX_INDICES + 1)])
def test_a_range_out_of_bounds_is_refused(span):
    """As the builtin range counts, within the limits."""
    with pytest.raises(ValueError, match="999,999"):
        IndexSet.range(*span)


def test_range_counts_as_the_builtin_does():
    """One argument is the end, two are start and end."""
    assert tuple(list(s) for s in (IndexSet.range(3), IndexSet.range(3, 5), IndexSet.range(5, 3))) == (
        [0, 1, 2],
        [3, 4],
        [],
    )


def test_it_does_not_change():
    """It is shared between records and threads."""
    with pytest.raises(AttributeError):
        IndexSet.range(3)._bits = 5


@settings(deadline=None)
@given(SETS, st.integers(1, 50))
def test_chunks_are_the_set_in_order(members, size):
    """Each but the last is full."""
    chunks = [list(chunk) for chunk in IndexSet.of(members).chunks(size)]
    assert sorted(members) == [index for chunk in chunks for index in chunk]
    assert all(len(chunk) == size for chunk in chunks[:-1])


def test_a_million_scattered_indices_are_read_back():
    """The whole size of a job."""
    indices = IndexSet.of(range(0, MAX_INDICES, 2))
    assert (500_000, indices, indices) == (len(indices), IndexSet.parse(indices.text()), IndexSet.parse(str(indices)))


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)
    indices: Indices


def test_a_model_takes_a_set_or_its_text_and_writes_text():
    """As the ledger's records do."""
    assert Model(indices="3-5") == Model(indices=IndexSet.range(3, 6))
    assert Model(indices="3-5").model_dump_json() == '{"indices":"3-5"}'


@pytest.mark.parametrize("value", [3, [3], None, "5-3"])
def test_a_model_refuses_what_is_no_set(value):
    """The field is named."""
    with pytest.raises(ValidationError, match="indices"):
        Model(indices=value)
