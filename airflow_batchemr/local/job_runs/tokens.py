"""Client tokens, which make a repeated request return what the first one created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_batchemr.local.protocol import AwsError

__all__ = ["ClientTokens"]

Made = TypeVar("Made")


class ClientTokens(Generic[Made]):
    """What was created with each client token. Tokens do not expire here.

    Args:
        conflict: makes the service's error for a token that comes with another request, from a message.
    """

    def __init__(self, conflict: Callable[[str], AwsError]) -> None:
        self._conflict = conflict
        self._made: dict[tuple[str, str], tuple[dict[str, Any], Made]] = {}

    def find(self, scope: str, params: Mapping[str, Any]) -> Made | None:
        """What an earlier request with the same token created; None for a new token.

        Args:
            scope: the operation and the resource that tokens belong to.
            params: the request, with its `clientToken`.

        Raises:
            AwsError: the earlier request was a different one.
        """
        found = self._made.get((scope, params["clientToken"]))
        if found is None:
            return None
        request, made = found
        if request != dict(params):
            raise self._conflict(
                f"A request with client token {params['clientToken']} was received before with different parameters"
            )
        return made

    def keep(self, scope: str, params: Mapping[str, Any], made: Made) -> None:
        """Remembers what a request created."""
        self._made[scope, params["clientToken"]] = (dict(params), made)

    def clear(self) -> None:
        """Forgets all tokens."""
        self._made.clear()
