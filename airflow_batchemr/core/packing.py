"""Pack objects of very different sizes into shards with similar numbers of bytes."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import MAX_INDICES

if TYPE_CHECKING:
    from collections.abc import Sequence


def pack(
    sizes: Sequence[int],
    *,
    into: int | None = None,
    max_bytes: int | None = None,
    max_objects: int | None = None,
) -> list[list[int]]:
    """Distribute objects to shards: largest first, each to the shard with the fewest bytes so far (LPT).

    The result is deterministic: the same sizes in the same order always give the same shards. No shard is empty.

    Args:
        sizes: Size of each object in bytes, ≥ 0.
        into: Number of shards; fewer if there are fewer objects.
        max_bytes: Maximum bytes per shard. An object that is larger gets its own shard.
        max_objects: Maximum objects per shard. Can be combined with `max_bytes`.

    Returns:
        For each shard, the ascending positions of its objects in `sizes`. Shards are ordered by their first object.

    Raises:
        ValueError: Neither or both of `into` and the limits are given, a value is below 1, or the result would have
            more than 1,000,000 shards.
    """
    limits = {"into": into, "max_bytes": max_bytes, "max_objects": max_objects}
    if (into is None) == (max_bytes is None and max_objects is None):
        raise ValueError("pack: set either `into`, or `max_bytes` and/or `max_objects`")
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise ValueError(f"pack: {name} must be at least 1, got {limit}")
    if not sizes:
        return []
    most_bytes = math.inf if max_bytes is None else max_bytes
    most_objects = math.inf if max_objects is None else max_objects
    count = len(sizes)
    if into is None:
        # Lower bound; more shards are added if the objects do not fit
        into = max(math.ceil(sum(sizes) / most_bytes), math.ceil(count / most_objects), 1)
    _check_count(min(into, count))
    shards = _distribute(sizes, min(into, count), most_bytes, most_objects)
    _check_count(len(shards))
    for shard in shards:
        shard.sort()
    shards.sort()
    return shards


def _check_count(shards: int) -> None:
    if shards > MAX_INDICES:
        raise ValueError(
            f"pack: {shards:,} shards exceed the maximum of {MAX_INDICES:,} indices per job: raise the limits per shard"
        )


def _distribute(sizes: Sequence[int], into: int, most_bytes: float, most_objects: float) -> list[list[int]]:
    shards: list[list[int]] = [[] for _ in range(into)]
    # (bytes so far, shard). An empty object counts as 1 byte, so that a million of them do not end up in one shard
    loads = [(0, shard) for shard in range(into)]
    for position in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        size = sizes[position] or 1
        if loads and (loads[0][0] == 0 or loads[0][0] + size <= most_bytes):
            load, shard = loads[0]
            shards[shard].append(position)
            if len(shards[shard]) < most_objects:
                heapq.heapreplace(loads, (load + size, shard))
            else:
                heapq.heappop(loads)
        else:
            shards.append([position])
            if most_objects > 1:
                heapq.heappush(loads, (size, len(shards) - 1))
    return [shard for shard in shards if shard]
