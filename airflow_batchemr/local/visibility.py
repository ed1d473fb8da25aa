"""Resources that exist but are not returned by describe and list operations."""

from __future__ import annotations

import math
import threading
import time

__all__ = ["Visibility"]


class Visibility:
    """Decides which resources describe and list operations return. By default, all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hidden: dict[str, float] = {}
        self._since = math.inf
        self._seconds = 0.0

    def hide(self, resource_id: str, seconds: float) -> None:
        """Hide a resource for `seconds` from now."""
        with self._lock:
            self._hidden[resource_id] = time.time() + seconds

    def hide_new(self, seconds: float) -> None:
        """Hide each resource that is created from now on for its first `seconds`."""
        with self._lock:
            self._since, self._seconds = time.time(), seconds

    def clear(self) -> None:
        """Make everything visible."""
        with self._lock:
            self._hidden.clear()
            self._since = math.inf

    def hides(self, resource_id: str, created: float) -> bool:
        """Return whether a resource is hidden now.

        Args:
            resource_id: Id of the resource. The children of an array job are hidden with their parent.
            created: Time of its creation in seconds since the epoch.
        """
        now = time.time()
        with self._lock:
            until = max(self._hidden.get(each, 0.0) for each in (resource_id, resource_id.partition(":")[0]))
            # AWS's times have milliseconds, so a resource created in this millisecond can seem older than `_since`.
            new = created >= self._since - 0.001
            return now < until or (new and now < created + self._seconds)
