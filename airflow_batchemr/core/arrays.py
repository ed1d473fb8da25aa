"""How the indices of an attempt become AWS Batch arrays."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ARRAY = 10_000
"""Largest array that AWS Batch takes; the smallest is 2, so one index is a single job."""

MAX_TEXT = 4096
"""Bytes of the environment that an index set may take, of the 8,192 that Batch allows for all overrides together.

Any set within one span of 10,000 needs at most 2.9 KB; few indices scattered over a million need more and are cut.
"""


def split(indices: IndexSet, max_text: int = MAX_TEXT) -> list[IndexSet]:
    """Cut a set, in order, into the sets that one SubmitJob each can run; the same set is always cut in the same way.

    Each has at most 10,000 indices and travels in at most `max_text` bytes of environment.

    Raises:
        ValueError: `max_text` is less than one index needs.
    """
    if max_text < 7:
        raise ValueError(
            f"an index set needs at least 7 bytes of environment; {max_text} are left: shorten env or command"
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
