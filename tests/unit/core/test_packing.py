"""Packing: about equal bytes a shard, always the same way."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchemr.core.packing import pack

SIZES = st.lists(st.integers(0, 10_000), min_size=1, max_size=200)


def loads(sizes, shards):
    return [sum(sizes[position] for position in shard) for shard in shards]


@given(SIZES, st.integers(1, 50))
def test_into_a_number_of_shards(sizes, into):
    """Each object is in exactly one; none is empty; and none has more than the mean and one object besides."""
    shards = pack(sizes, into=into)
    assert list(range(len(sizes))) == sorted(position for shard in shards for position in shard)
    assert min(into, len(sizes)) == len(shards)
    assert all(shards)
    weights = [size or 1 for size in sizes]
    assert max(loads(weights, shards)) <= sum(weights) / len(shards) + max(weights)


@given(SIZES, st.integers(1, 30_000))
def test_up_to_a_number_of_bytes(sizes, most):
    """Only an object that alone is larger goes over, and it is alone."""
    shards = pack(sizes, max_bytes=most)
    assert list(range(len(sizes))) == sorted(position for shard in shards for position in shard)
    assert all(load <= most or len(shard) == 1 for load, shard in zip(loads(sizes, shards), shards, strict=True))


@given(SIZES, st.integers(1, 50), st.integers(1, 30_000))
def test_up_to_a_number_of_objects(sizes, most, most_bytes):
    """Also together with a number of bytes."""
    alone, both = pack(sizes, max_objects=most), pack(sizes, max_objects=most, max_bytes=most_bytes)
    for shards in (alone, both):
        assert list(range(len(sizes))) == sorted(position for shard in shards for position in shard)
        assert max(len(shard) for shard in shards) <= most
    assert -(-len(sizes) // most) == len(alone)
    assert all(load <= most_bytes or len(shard) == 1 for load, shard in zip(loads(sizes, both), both, strict=True))


@given(SIZES, st.integers(1, 50))
def test_the_same_objects_are_packed_in_the_same_way(sizes, into):
    """A resume on another machine gets the same shards; they and their objects are in order."""
    shards = pack(sizes, into=into)
    assert shards == pack(tuple(sizes), into=into)
    assert shards == sorted(sorted(shard) for shard in shards)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_log_normal_sizes_are_balanced_within_two_percent(sigma):
    """The sizes that files have: the largest shard is at most 1.02 times the mean, or the largest object."""
    drawn = random.Random(7)
    sizes = [int(drawn.lognormvariate(14, sigma)) for _ in range(20_000)]
    found = loads(sizes, pack(sizes, into=200))
    assert max(found) <= 1.02 * max(sum(sizes) / 200, *sizes)


def test_empty_objects_are_spread():
    """They have no bytes, but each is work."""
    assert [len(shard) for shard in pack([0] * 1_000, into=10)] == [100] * 10


def test_no_objects_are_no_shards():
    """The caller says whether that is an error."""
    assert pack([], into=10) == []


@pytest.mark.parametrize(
    "limits", [{}, {"into": 3, "max_bytes": 5}, {"into": 0}, {"max_bytes": 0}, {"max_objects": -1}]
)
def test_limits_that_make_no_sense_are_refused(limits):
    """Either a number of shards, or limits of a shard."""
    with pytest.raises(ValueError, match=r"into|max_"):
        pack([1, 2, 3], **limits)


def test_more_than_a_million_shards_are_refused():
    """A job has no more indices."""
    with pytest.raises(ValueError, match="1,000,001 shards"):
        pack([1] * 1_000_001, max_objects=1)
