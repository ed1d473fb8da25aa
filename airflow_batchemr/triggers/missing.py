"""Work that AWS does not show: how long each id has been invisible."""

from __future__ import annotations

import time


class MissingWork:
    """Ids that were invisible for the whole grace period, which counts from the first poll without them.

    Args:
        grace: seconds.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._since: dict[str, float] = {}

    def update(self, id_: str, *, visible: bool) -> bool:
        """Process one poll of an id; return whether it has been invisible for the whole grace period."""
        if visible:
            self._since.pop(id_, None)
            return False
        return self._over(self._since.setdefault(id_, time.monotonic()))

    @property
    def ids(self) -> list[str]:
        """The ids that have been invisible for the whole grace period."""
        return [id_ for id_, since in self._since.items() if self._over(since)]

    def _over(self, since: float) -> bool:
        return time.monotonic() - since >= self._grace
