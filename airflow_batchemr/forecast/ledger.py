"""A ledger that is read from S3 and keeps writes in memory."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_batchemr.ledger import Ledger
from airflow_batchemr.ledger.store import MAX_KEYS, MAX_OBJECT, Fetched, Listing, ReadLimit, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client


class ForecastLedger(Ledger):
    """A ledger with an `OverlayStore`.

    Args:
        client: S3 client; None for an empty ledger.
        uri: State URI.
        put_args: As for `Ledger`.
    """

    def __init__(self, client: S3Client | None, uri: str | None, put_args: Mapping[str, Any] | None = None) -> None:
        super().__init__(client, uri)  # type: ignore[arg-type]
        self._store = OverlayStore(client, uri, put_args)


class OverlayStore(Store):
    """Objects of S3, overlaid by those written or deleted in memory.

    Args:
        client: S3 client; None for no objects.
        uri: State URI, as for `Store`.
        put_args: As for `Store`.
    """

    def __init__(self, client: S3Client | None, uri: str | None, put_args: Mapping[str, Any] | None = None) -> None:
        super().__init__(client, uri, put_args)  # type: ignore[arg-type]
        self._empty = client is None
        self._written: dict[str, Fetched | None] = {}  # None: deleted
        self._now = datetime.now(timezone.utc)

    def check_conditional_writes(self) -> None:
        """Nothing is written to the store."""

    def create(self, key: str, body: bytes) -> bool:
        """Like `Store.create`, in memory."""
        if self.get(key) is not None:
            return False
        self._write(key, body)
        return True

    def replace(self, key: str, body: bytes, etag: str) -> bool:
        """Like `Store.replace`, in memory."""
        current = self.get(key)
        if current is None or current.etag != etag:
            return False
        self._write(key, body)
        return True

    def _write(self, key: str, body: bytes) -> None:
        self._written[key] = Fetched(body, uuid4().hex, self._now)

    def get(self, key: str, limit: int = MAX_OBJECT, total: ReadLimit | None = None) -> Fetched | None:
        """Like `Store.get`."""
        if key in self._written:
            return self._written[key]
        return None if self._empty else super().get(key, limit, total)

    def holds(self, key: str, body: bytes) -> bool:
        """Like `Store.holds`."""
        if key in self._written:
            written = self._written[key]
            return written is not None and written.body == body
        return not self._empty and super().holds(key, body)

    def delete(self, key: str, etag: str) -> None:
        """Like `Store.delete`, in memory."""
        current = self.get(key)
        if current is not None and current.etag == etag:
            self._written[key] = None

    def list(self, folder: str, *, delimiter: bool = False, most: int = MAX_KEYS) -> Listing:
        """Like `Store.list`. Folders are those of S3."""
        if self._empty:
            listing = Listing({}, [], datetime.now(timezone.utc))
        else:
            listing = super().list(folder, delimiter=delimiter, most=most)
            self._now = listing.now
        here: dict[str, Any] = {
            key.removeprefix(folder): fetched for key, fetched in self._written.items() if key.startswith(folder)
        }
        kept = {key: modified for key, modified in listing.modified.items() if key not in here}
        added = {key: fetched.last_modified for key, fetched in here.items() if fetched is not None}
        return Listing(kept | added, listing.folders, listing.now)
