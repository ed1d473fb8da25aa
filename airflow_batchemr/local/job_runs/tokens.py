"""Client tokens: a repeated request returns the resource that the first one created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_batchemr.local.protocol import AwsError

__all__ = ["ClientTokens"]

Made = TypeVar("Made")


class ClientTokens(Generic[Made]):
    """Resources created with each client token. Tokens do not expire.

    Args:
        conflict: Creates the service's error for a token that is reused with another request.
    """

    def __init__(self, conflict: Callable[[str], AwsError]) -> None:
        self._conflict = conflict
        self._made: dict[tuple[str, str], tuple[dict[str, Any], Made]] = {}

    def find(self, scope: str, params: Mapping[str, Any]) -> Made | None:
        """Return the resource that an earlier request with the same token created; None for a new token.

        Args:
            scope: Operation and resource that tokens belong to.
            params: Request with its `clientToken`.

        Raises:
            AwsError: The earlier request was different.
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
        """Store the resource that a request created."""
        self._made[scope, params["clientToken"]] = (dict(params), made)

    def clear(self) -> None:
        """Delete all tokens."""
        self._made.clear()
