"""Whether a run's end is worth telling, after how the runs before it ended."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    When = Literal["always", "on_failure", "on_change", "on_change_and_failures"]


def worth_telling(when: When, after: int, *, failed: bool, earlier: Iterable[bool]) -> bool:
    """Decide by the rule of a receiver.

    A pipeline is bad once `after` runs in a row have failed, and good again with the next success; before the first
    run it was good.

    Args:
        when: `always`; `on_failure`: the run failed and the pipeline is bad; `on_change`: it has become bad or good;
            `on_change_and_failures`: either.
        after: failures in a row that make a pipeline bad, at least 1.
        failed: whether this run failed.
        earlier: whether the runs before it failed, the latest first; read no further than needed.
    """
    if not failed:
        return when == "always" or (when != "on_failure" and _streak(earlier, after) == after)
    if when == "on_change":
        # One more than is needed tells a pipeline that has just become bad from one that was bad before.
        return 1 + _streak(earlier, after) == after
    return _streak(earlier, after - 1) == after - 1


def _streak(earlier: Iterable[bool], enough: int) -> int:
    """How many runs in a row have failed, counted up to `enough`."""
    return sum(1 for _ in itertools.takewhile(bool, itertools.islice(earlier, enough)))
