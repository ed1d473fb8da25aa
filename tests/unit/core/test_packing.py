"""Packing is balanced and deterministic."""

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
def test_into_sets_the_number_of_shards(sizes, into):
    """Each object is in exactly one shard, none is empty, and none exceeds the mean by more than one object."""
    shards = pack(sizes, into=into)
    assert list(range(len(sizes))) == sorted(position for shard in shards for position in shard)
    assert min(into, len(sizes)) == len(shards)
    assert all(shards)
    weights = [size or 1 for size in sizes]
    assert max(loads(weights, shards)) <= sum(weights) / len(shards) + max(weights)


@given(SIZES, st.integers(1, 30_000))
def test_max_bytes_limits_the_bytes_per_shard(sizes, most):
    """Only a larger single object exceeds the limit, in its own shard."""
    shards = pack(sizes, max_bytes=most)
    assert list(range(len(sizes))) == sorted(position for shard in shards for position in shard)
    assert all(load <= most or len(shard) == 1 for load, shard in zip(loads(sizes, shards), shards, strict=True))


@given(SIZES, st.integers(1, 50), st.integers(1, 30_000))
def test_max_objects_limits_the_objects_per_shard(sizes, most, most_bytes):
    """Also in combination with max_bytes."""
    alone, both = pack(sizes, max_objects=most), pack(sizes, max_objects=most, max_bytes=most_bytes)
    for shards in (alone, both):
        assert list(range(len(sizes))) == sorted(position for shard in shards for position in shard)
        assert max(len(shard) for shard in shards) <= most
    assert -(-len(sizes) // most) == len(alone)
    assert all(load <= most_bytes or len(shard) == 1 for load, shard in zip(loads(sizes, both), both, strict=True))


@given(SIZES, st.integers(1, 50))
def test_packing_is_deterministic(sizes, into):
    """A resume on another machine gets the same shards; shards and objects are in order."""
    shards = pack(sizes, into=into)
    assert shards == pack(tuple(sizes), into=into)
    assert shards == sorted(sorted(shard) for shard in shards)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_log_normal_sizes_are_balanced_within_two_percent(sigma):
    """For typical file sizes, the largest shard is at most 1.02 times the mean, or the largest object."""
    drawn = random.Random(7)
    sizes = [int(drawn.lognormvariate(14, sigma)) for _ in range(20_000)]
    found = loads(sizes, pack(sizes, into=200))
    assert max(found) <= 1.02 * max(sum(sizes) / 200, *sizes)


def test_empty_objects_are_distributed_evenly():
    """They have no bytes, but each takes work."""
    assert [len(shard) for shard in pack([0] * 1_000, into=10)] == [100] * 10


def test_no_objects_become_no_shards():
    """The caller decides whether that is an error."""
    assert pack([], into=10) == []


@pytest.mark.parametrize(
    "limits", [{}, {"into": 3, "max_bytes": 5}, {"into": 0}, {"max_bytes": 0}, {"max_objects": -1}]
)
def test_invalid_limits_are_rejected(limits):
    """Either the number of shards or the limits per shard must be set."""
    with pytest.raises(ValueError, match=r"into|max_"):
        pack([1, 2, 3], **limits)


def test_more_than_a_million_shards_are_rejected():
    """A job has at most a million indices."""
    with pytest.raises(ValueError, match="1,000,001 shards"):
        pack([1] * 1_000_001, max_objects=1)
