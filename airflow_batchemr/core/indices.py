"""Sets of array indices, as bitmaps."""

from __future__ import annotations

import builtins
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_INDICES = 1_000_000
"""Maximum number of indices of a job. Above the 10,000 that AWS allows per array, a job consists of several arrays."""

# Every index by itself, with 6 digits, a comma and a space
_MAX_TEXT = 8 * MAX_INDICES
_RUN = re.compile("1+")
_SPAN = re.compile(r"\s*([0-9]{1,7})\s*(?:-\s*([0-9]{1,7})\s*)?\Z")
_HEX = re.compile(r"x([0-9a-fA-F]+)(?:@([0-9]{1,7}))?\Z")


class IndexSet:
    """An immutable set of integers from 0 to 999,999, stored as one Python integer (bit i = index i).

    It has two text forms: ranges (``0-9,12``, the result of `str`), and the bitmap in hexadecimal followed by the index
    of its lowest bit (``x13ff@0``).
    """

    __slots__ = ("_bits",)
    _bits: int

    def __init__(self, bits: int = 0) -> None:
        """Create a set from a bitmap. Use `of`, `range` or `parse` in most cases."""
        if bits < 0 or bits.bit_length() > MAX_INDICES:
            raise ValueError(f"indices must be between 0 and {MAX_INDICES - 1:,}")
        object.__setattr__(self, "_bits", bits)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"IndexSet is immutable: cannot set {name}")

    @classmethod
    def of(cls, indices: Iterable[int]) -> IndexSet:
        """Create a set from integers in any order; duplicates are allowed."""
        members = list(indices)
        if not members:
            return cls()
        if min(members) < 0 or max(members) >= MAX_INDICES:
            raise ValueError(f"indices must be between 0 and {MAX_INDICES - 1:,}, got {min(members)} to {max(members)}")
        bitmap = bytearray((max(members) >> 3) + 1)
        for index in members:
            bitmap[index >> 3] |= 1 << (index & 7)
        return cls(int.from_bytes(bitmap, "little"))

    @classmethod
    def range(cls, start: int, stop: int | None = None) -> IndexSet:
        """Create the set 0..start-1, or start..stop-1, like the builtin `range`."""
        first, end = (0, start) if stop is None else (start, stop)
        if first < 0 or end > MAX_INDICES:
            raise ValueError(f"indices must be between 0 and {MAX_INDICES - 1:,}, got {first} to {end - 1}")
        return cls(((1 << max(end - first, 0)) - 1) << first)

    @classmethod
    def union(cls, sets: Iterable[IndexSet]) -> IndexSet:
        """Return the union of several sets."""
        bits = 0
        for one in sets:
            bits |= one.bits
        return cls(bits)

    @classmethod
    def parse(cls, text: str) -> IndexSet:
        """Parse either text form.

        Raises:
            ValueError: The text is invalid; the message shows the invalid part.
        """
        text = text.strip()
        if not text:
            return cls()
        if len(text) > _MAX_TEXT:
            raise ValueError(f"{len(text):,} characters of indices; the maximum is {_MAX_TEXT:,}")
        if bitmap := _HEX.match(text):
            return cls(int(bitmap[1], 16) << min(int(bitmap[2] or 0), MAX_INDICES))
        spans = sorted(_span(part) for part in text.split(","))
        digits: list[str] = []
        end = 0
        for first, last in spans:
            if last < end:
                continue
            start = max(first, end)
            digits += ["0" * (start - end), "1" * (last - start + 1)]
            end = last + 1
        return cls(int("".join(digits)[::-1], 2))

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each contiguous range, in order."""
        lowest = self.lowest
        for run in _RUN.finditer(bin(self._bits >> lowest)[:1:-1]):
            yield run.start() + lowest, run.end() + lowest - 1

    @property
    def bits(self) -> int:
        """The bitmap; bit i represents index i."""
        return self._bits

    @property
    def lowest(self) -> int:
        """The smallest index; 0 for the empty set."""
        return max((self._bits & -self._bits).bit_length() - 1, 0)

    def text(self) -> str:
        """Return the shorter of the two text forms, which is used in records and environments."""
        ranges = str(self)
        bitmap = f"x{self._bits >> self.lowest:x}@{self.lowest}"
        return ranges if len(ranges) <= len(bitmap) else bitmap

    def chunks(self, size: int) -> Iterator[IndexSet]:
        """Split the set, in order, into sets of at most `size` members."""
        if size < 1:
            raise ValueError(f"the chunk size must be at least 1, got {size}")
        members = list(self)
        for start in builtins.range(0, len(members), size):
            yield IndexSet.of(members[start : start + size])

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ranges())

    def __repr__(self) -> str:
        return f"IndexSet.parse({self.text()!r})"

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges():
            yield from builtins.range(first, last + 1)

    def __len__(self) -> int:
        return self._bits.bit_count()

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and 0 <= index < MAX_INDICES and bool(self._bits >> index & 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IndexSet) and self._bits == other._bits

    def __hash__(self) -> int:
        return hash(self._bits)

    def __or__(self, other: IndexSet) -> IndexSet:
        return IndexSet(self._bits | other._bits)

    def __and__(self, other: IndexSet) -> IndexSet:
        return IndexSet(self._bits & other._bits)

    def __sub__(self, other: IndexSet) -> IndexSet:
        return IndexSet(self._bits & ~other._bits)

    def __le__(self, other: IndexSet) -> bool:
        return not self._bits & ~other._bits


def _span(text: str) -> tuple[int, int]:
    match = _SPAN.match(text)
    if match is None:
        raise ValueError(f"{text.strip()[:60]!r} is neither an index nor a range such as 3-17")
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if last < first or last >= MAX_INDICES:
        raise ValueError(f"{text.strip()!r}: a range must be ascending and between 0 and {MAX_INDICES - 1:,}")
    return first, last


def _validate(value: Any) -> IndexSet:
    if isinstance(value, IndexSet):
        return value
    if isinstance(value, str):
        return IndexSet.parse(value)
    raise ValueError(f"expected an index set as text, such as 0-9,12; got {type(value).__name__}")


Indices = Annotated[
    IndexSet,
    PlainValidator(_validate),
    PlainSerializer(IndexSet.text, return_type=str),
    WithJsonSchema({"type": "string"}),
]
"""Type of an index set in pydantic models: an `IndexSet` in Python, text in JSON."""
