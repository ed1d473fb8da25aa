"""Decide whether the end of a run is reported, based on the outcome of earlier runs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    When = Literal["always", "on_failure", "on_change", "on_change_and_failures"]


def should_notify(when: When, after: int, *, failed: bool, earlier: Iterable[bool]) -> bool:
    """Return whether the end of a run is reported to a receiver.

    A pipeline is bad once `after` consecutive runs have failed, and good again after the next success. It is good
    before its first run.

    Args:
        when: `always`: each success, and each failure while the pipeline is bad; `on_failure`: each failure while the
            pipeline is bad; `on_change`: the run that makes the pipeline bad or good; `on_change_and_failures`: both.
        after: Consecutive failures that make a pipeline bad, at least 1.
        failed: Whether this run failed.
        earlier: Whether earlier runs failed, latest first. Consumed only as far as needed.
    """
    if not failed:
        return when == "always" or (when != "on_failure" and _streak(earlier, after) == after)
    if when == "on_change":
        # A longer streak of failures means that the pipeline was bad already.
        return 1 + _streak(earlier, after) == after
    return _streak(earlier, after - 1) == after - 1


def _streak(earlier: Iterable[bool], limit: int) -> int:
    """Count consecutive failed runs, up to `limit`."""
    return sum(1 for _ in itertools.takewhile(bool, itertools.islice(earlier, limit)))
