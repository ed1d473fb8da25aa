"""The S3 calls of the ledger: create once, compare and swap, list with S3's clock."""

from __future__ import annotations

import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from airflow_batchemr.ledger.errors import (
    CredentialsError,
    LedgerUnavailableError,
    StateUriInvalidError,
    StateUriMissingError,
    from_client_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_s3 import S3Client

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
# A 409 says that another conditional write of the same key is under way: it is over in milliseconds
_CONFLICT_TRIES = 8
# botocore's RuntimeError where the refresh of a role's credentials has brought none that are valid
STILL_EXPIRED = "credentials are still expired"
_THREADS = 8


@dataclass(frozen=True)
class Fetched:
    """An object that was read."""

    body: bytes
    etag: str
    last_modified: datetime


@dataclass(frozen=True)
class Listing:
    """What stands under a prefix."""

    modified: dict[str, datetime]
    """LastModified by key, without the prefix that was listed."""
    folders: list[str]
    """With a delimiter: the names one level below."""
    now: datetime
    """S3's clock when it answered."""


class Store:
    """Objects under an S3 URI. Keys are relative to it. Safe in several threads, as boto3 clients are."""

    def __init__(self, client: S3Client, uri: str | None) -> None:
        """Take `uri` apart; raises StateUriMissingError or StateUriInvalidError."""
        self.client = client
        self.bucket, self.prefix = parse_state_uri(uri)

    def uri(self, key: str = "") -> str:
        """Give the s3:// URI of a key."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def create(self, key: str, body: bytes) -> bool:
        """Write an object that must not exist; False: it exists (one's own, if an answer was lost)."""
        return self._put(key, body, {"IfNoneMatch": "*"})

    def replace(self, key: str, body: bytes, etag: str) -> bool:
        """Write over exactly the version `etag`; False: it is no longer there."""
        return self._put(key, body, {"IfMatch": etag})

    def _put(self, key: str, body: bytes, condition: dict[str, str]) -> bool:
        for attempt in range(_CONFLICT_TRIES):
            try:
                with self._errors("PutObject", key):
                    self.client.put_object(
                        Bucket=self.bucket,
                        Key=self.prefix + key,
                        Body=body,
                        ContentType="application/json" if key.endswith(".json") else "application/octet-stream",
                        **condition,  # type: ignore[arg-type]
                    )
            except _ConflictError:
                time.sleep(random.uniform(0.0, 0.05 * 2**attempt))  # noqa: S311 - jitter
            except (_PreconditionError, _NoSuchKeyError):
                return False
            else:
                return True
        raise LedgerUnavailableError("PutObject", self.uri(key), "other writers of the same key did not end (409)")

    def get(self, key: str) -> Fetched | None:
        """Read an object; None: it does not exist."""
        try:
            with self._errors("GetObject", key):
                answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)
                return Fetched(answer["Body"].read(), answer["ETag"], answer["LastModified"])
        except _NoSuchKeyError:
            return None

    def delete(self, key: str, etag: str) -> None:
        """Remove exactly the version `etag`; another version stays."""
        try:
            with self._errors("DeleteObject", key):
                self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key, IfMatch=etag)
        except (_PreconditionError, _NoSuchKeyError, _ConflictError):
            return

    def list(self, folder: str, *, delimiter: bool = False) -> Listing:
        """List the keys that begin with `folder`; one request a 1,000 of them. `delimiter`: one level only."""
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + folder}
        if delimiter:
            request["Delimiter"] = "/"
        cut = len(self.prefix) + len(folder)
        modified: dict[str, datetime] = {}
        folders: list[str] = []
        while True:
            with self._errors("ListObjectsV2", folder):
                page = self.client.list_objects_v2(**request)
            modified |= {entry["Key"][cut:]: entry["LastModified"] for entry in page.get("Contents", [])}
            folders += [entry["Prefix"][cut:].rstrip("/") for entry in page.get("CommonPrefixes", [])]
            if not page.get("IsTruncated"):
                return Listing(modified, folders, _clock(page))
            request["ContinuationToken"] = page["NextContinuationToken"]

    def each(self, work: Callable[[str], Any], keys: Iterable[str], threads: int = _THREADS) -> dict[str, Any]:
        """Do `work` for each key, in threads when there are several; the first error is raised."""
        wanted = list(keys)
        if len(wanted) < 2:
            return {key: work(key) for key in wanted}
        with ThreadPoolExecutor(min(threads, len(wanted))) as pool:
            return dict(zip(wanted, pool.map(work, wanted), strict=True))

    @contextmanager
    def _errors(self, operation: str, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if code == "NoSuchKey":
                raise _NoSuchKeyError from error
            if code == "PreconditionFailed" or status == 412:
                raise _PreconditionError from error
            if code in {"ConditionalRequestConflict", "OperationAborted"} or status == 409:
                raise _ConflictError from error
            raise from_client_error(dict(error.response), operation, self.bucket, self.prefix + key) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise CredentialsError(str(error)) from error
        except BotoCoreError as error:
            raise LedgerUnavailableError(operation, self.uri(key), str(error)) from error
        except RuntimeError as error:
            if STILL_EXPIRED in str(error):
                raise CredentialsError(str(error), expired=True) from error
            raise


class _NoSuchKeyError(Exception):
    pass


class _PreconditionError(Exception):
    pass


class _ConflictError(Exception):
    pass


def parse_state_uri(uri: str | None) -> tuple[str, str]:
    """Take a state URI apart into (bucket, prefix); the prefix is empty or ends with a slash."""
    if uri is None or not uri.strip():
        raise StateUriMissingError
    scheme, separator, rest = uri.strip().partition("://")
    if scheme != "s3" or not separator:
        raise StateUriInvalidError(uri, "it must begin with s3://")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.match(bucket):
        raise StateUriInvalidError(uri, f"{bucket!r} is not a bucket's name (3 to 63 of a-z, 0-9, `.` and `-`)")
    prefix = prefix.strip("/")
    if "//" in prefix:
        raise StateUriInvalidError(uri, "it has an empty folder (`//`)")
    return bucket, f"{prefix}/" if prefix else ""


def plain_uri(uri: str | None) -> str:
    """A state URI without a slash at its end, as `Ledger.uri` gives it; raises as `parse_state_uri` does."""
    bucket, prefix = parse_state_uri(uri)
    return f"s3://{bucket}/{prefix}".rstrip("/")


def _clock(answer: Any) -> datetime:
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
