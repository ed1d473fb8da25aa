"""Sets of integers with two text forms."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_batchemr.core.indices import MAX_INDICES, IndexSet, Indices

SETS = st.sets(st.integers(0, 300), max_size=100) | st.sets(st.integers(0, MAX_INDICES - 1), max_size=20)


@settings(deadline=None)
@given(SETS, SETS)
def test_an_index_set_behaves_like_a_set_of_integers(one, other):
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
def test_the_union_of_many_sets(sets):
    """Also of no sets."""
    assert set().union(*sets) == set(IndexSet.union(IndexSet.of(one) for one in sets))


@given(SETS)
@example(set())
@example({0})
@example({MAX_INDICES - 1})
def test_both_text_forms_can_be_parsed(members):
    """Ranges, and the shorter of ranges and bitmap."""
    indices = IndexSet.of(members)
    assert [indices, indices] == [IndexSet.parse(str(indices)), IndexSet.parse(indices.text())]


def test_ranges_are_readable():
    """Consecutive indices become a range."""
    assert str(IndexSet.of([*range(10), 12, 14, 15])) == "0-9,12,14-15"


def test_the_shorter_text_form_is_used():
    """Scattered indices become a bitmap that begins at the first index, others become ranges."""
    assert IndexSet.range(10_000).text() == "0-9999"
    assert len(IndexSet.of(range(990_000, 1_000_000, 2)).text()) <= 2_511


@pytest.mark.parametrize("text", ["5,3,4", "3-4,4-5", " 3 - 5 ", "3-5,3-5", "3-5,4", "x38", "x7@3", "X7@3".lower()])
def test_ranges_may_overlap_and_have_any_order(text):
    """All of these are 3, 4 and 5."""
    assert list(IndexSet.parse(text)) == [3, 4, 5]


@pytest.mark.parametrize(
    "text", ["a", "3-", "-3", "5-3", "3,,4", "1.5", "x", "xyz", "x1@", "0-99999999", "1000000", "\u0663"]
)
def test_invalid_text_is_rejected(text):
    """The message names the invalid part. A typing error must not allocate gigabytes."""
    with pytest.raises(ValueError, match=r"index|range|indices"):
        IndexSet.parse(text)


@pytest.mark.parametrize("text", ["x1@1000000", "x1@9999999"])
def test_a_bitmap_above_the_limit_is_rejected(text):
    """A job has at most a million indices."""
    with pytest.raises(ValueError, match="999,999"):
        IndexSet.parse(text)


@pytest.mark.parametrize("members", [[-1], [MAX_INDICES], [3, -1]])
def test_indices_out_of_bounds_are_rejected(members):
    """Indices are 0 to 999,999."""
    with pytest.raises(ValueError, match="999,999"):
        IndexSet.of(members)


@pytest.mark.parametrize("span", [(-1, 3), (0, MAX_INDICES + 1)])
def test_a_range_out_of_bounds_is_rejected(span):
    """The limits are the same."""
    with pytest.raises(ValueError, match="999,999"):
        IndexSet.range(*span)


def test_range_counts_like_the_builtin():
    """One argument is the end, two are start and end."""
    assert tuple(list(s) for s in (IndexSet.range(3), IndexSet.range(3, 5), IndexSet.range(5, 3))) == (
        [0, 1, 2],
        [3, 4],
        [],
    )


def test_an_index_set_is_immutable():
    """It is shared between records and threads."""
    with pytest.raises(AttributeError):
        IndexSet.range(3)._bits = 5


@settings(deadline=None)
@given(SETS, st.integers(1, 50))
def test_chunks_cover_the_set_in_order(members, size):
    """All chunks except the last one are full."""
    chunks = [list(chunk) for chunk in IndexSet.of(members).chunks(size)]
    assert sorted(members) == [index for chunk in chunks for index in chunk]
    assert all(len(chunk) == size for chunk in chunks[:-1])


def test_many_scattered_indices_can_be_parsed():
    """Over the whole range of a million."""
    indices = IndexSet.of(range(0, MAX_INDICES, 2))
    assert (500_000, indices, indices) == (len(indices), IndexSet.parse(indices.text()), IndexSet.parse(str(indices)))


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)
    indices: Indices


def test_a_model_accepts_a_set_or_its_text_and_dumps_text():
    """Like the records of the ledger."""
    assert Model(indices="3-5") == Model(indices=IndexSet.range(3, 6))
    assert Model(indices="3-5").model_dump_json() == '{"indices":"3-5"}'


@pytest.mark.parametrize("value", [3, [3], None, "5-3"])
def test_a_model_rejects_other_values(value):
    """The error names the field."""
    with pytest.raises(ValidationError, match="indices"):
        Model(indices=value)
