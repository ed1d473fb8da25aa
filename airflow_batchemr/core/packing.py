"""Objects of very different sizes into shards of about equal bytes."""

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
    """Share objects out into shards: the largest first, each to the shard that has least so far (LPT).

    The same sizes in the same order always give the same shards, so objects that are sorted by key are packed the same
    way wherever it is done. No shard is empty.

    Args:
        sizes: bytes of each object, ≥ 0.
        into: how many shards; fewer where there are fewer objects.
        max_bytes: no shard has more, but for an object that alone is larger.
        max_objects: no shard has more objects. May be given together with `max_bytes`.

    Returns:
        For each shard the positions of its objects in `sizes`, ascending; shards are ordered by their first object.

    Raises:
        ValueError: not one of `into` and the limits is given, one is under 1, or there would be over 1,000,000 shards.
    """
    limits = {"into": into, "max_bytes": max_bytes, "max_objects": max_objects}
    if (into is None) == (max_bytes is None and max_objects is None):
        raise ValueError("pack: give either `into` or `max_bytes` and/or `max_objects`")
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise ValueError(f"pack: {name} must be at least 1, got {limit}")
    if not sizes:
        return []
    most_bytes = math.inf if max_bytes is None else max_bytes
    most_objects = math.inf if max_objects is None else max_objects
    count = len(sizes)
    if into is None:
        # The fewest that could do; more are opened where the objects do not fit together
        into = max(math.ceil(sum(sizes) / most_bytes), math.ceil(count / most_objects), 1)
    _check_number(min(into, count))
    shards = _share_out(sizes, min(into, count), most_bytes, most_objects)
    _check_number(len(shards))
    for shard in shards:
        shard.sort()
    shards.sort()
    return shards


def _check_number(shards: int) -> None:
    if shards > MAX_INDICES:
        raise ValueError(f"pack: {shards:,} shards, a job has at most {MAX_INDICES:,} indices: allow more a shard")


def _share_out(sizes: Sequence[int], into: int, most_bytes: float, most_objects: float) -> list[list[int]]:
    shards: list[list[int]] = [[] for _ in range(into)]
    # (bytes so far, shard). An empty object weighs 1, so that a million of them do not all go to one shard
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
