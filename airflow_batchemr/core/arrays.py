"""Split the indices of a submission into AWS Batch arrays."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ARRAY = 10_000
"""Maximum size of an AWS Batch array. The minimum is 2, so one index is a single job."""

MAX_TEXT = 4096
"""Maximum bytes of environment for an index set. AWS Batch allows 8,192 bytes for all container overrides together.

Any set within a span of 10,000 indices needs at most 2.9 KB. A few indices scattered over a million need more, and are
split.
"""


def split(indices: IndexSet, max_text: int = MAX_TEXT) -> list[IndexSet]:
    """Split a set, in order, into sets for one SubmitJob call each. The result is deterministic.

    Each set has at most 10,000 indices and needs at most `max_text` bytes of environment.

    Args:
        indices: Set to split.
        max_text: Maximum bytes of environment for each set.

    Raises:
        ValueError: `max_text` is too small for a single index.
    """
    if max_text < 7:
        raise ValueError(
            f"an index set needs at least 7 bytes of environment, but only {max_text} are left: shorten env or command"
        )
    pieces = []
    members = iter(indices)
    while batch := list(islice(members, MAX_ARRAY)):
        pieces += list(_fitting(batch, max_text))
    return pieces


def _fitting(members: list[int], max_text: int) -> Iterator[IndexSet]:
    while members:
        fits, size = 1, len(members)
        while fits < size:
            middle = (fits + size + 1) // 2 if size < len(members) else size
            if len(encode(IndexSet.of(members[:middle]))) <= max_text:
                fits = middle
            else:
                size = middle - 1
        yield IndexSet.of(members[:fits])
        members = members[fits:]
