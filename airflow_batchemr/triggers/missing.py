"""How long AWS has not shown each id."""

from __future__ import annotations

import time


class MissingWork:
    """Ids that were not visible for the whole grace period, which starts at the first poll without them.

    Args:
        grace: Grace period in seconds.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._since: dict[str, float] = {}

    def update(self, id_: str, *, visible: bool) -> bool:
        """Process a poll of an id. Returns whether the id was not visible for the whole grace period."""
        if visible:
            self._since.pop(id_, None)
            return False
        return self._over(self._since.setdefault(id_, time.monotonic()))

    @property
    def ids(self) -> list[str]:
        """The ids that were not visible for the whole grace period."""
        return [id_ for id_, since in self._since.items() if self._over(since)]

    def _over(self, since: float) -> bool:
        return time.monotonic() - since >= self._grace
