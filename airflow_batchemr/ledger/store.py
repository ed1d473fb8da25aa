"""S3 calls of the ledger: conditional create, compare-and-swap, and list with S3's clock."""

from __future__ import annotations

import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from airflow_batchemr.ledger.content import weight
from airflow_batchemr.ledger.errors import (
    ConditionalWritesError,
    CredentialsError,
    LedgerCorruptError,
    LedgerRefusedError,
    LedgerUnavailableError,
    ReadLimitError,
    StateUriInvalidError,
    StateUriMissingError,
    TooManyKeysError,
    from_client_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_s3 import S3Client

MAX_OBJECT = 64 << 20
"""Maximum size of an object that is read, in bytes. The largest ones describe the 1,000 children of an array, of which
AWS Batch describes each with up to about 60 kB (30 KiB of job definition and overrides, and 10 attempts)."""
MAX_KEYS = 1_010_000
"""Maximum number of keys in a folder that is listed: an object for each of a job's up to 1,000,000 indices."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
# A 409 means that another conditional write of the same key is in progress, which takes milliseconds
_CONFLICT_TRIES = 8
# AWS's own S3 honors the conditions of PutObject (user guide, "Conditional requests"): no check, which would cost each
# task two requests. A domain that is missing here only costs these requests
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")
_CHECK_KEY = "conditional-writes.txt"
_CHECK_BODY = b"airflow-batchemr writes this object to check that the store honors If-None-Match and If-Match.\n"
# Endpoints and state URIs that this process has checked
_checked: set[tuple[str, str]] = set()
# Text of botocore's RuntimeError if refreshing the credentials of a role returned expired ones
STILL_EXPIRED = "credentials are still expired"
_THREADS = 8
# Calls that botocore makes by itself to get credentials
_CREDENTIAL_CALLS = frozenset({"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "GetSessionToken"})


@dataclass(frozen=True)
class Fetched:
    """Content and metadata of an object."""

    body: bytes
    etag: str
    last_modified: datetime


@dataclass(frozen=True)
class Listing:
    """Objects below a prefix."""

    modified: dict[str, datetime]
    """LastModified by key, relative to the listed prefix."""
    folders: list[str]
    """Names one level below, if listed with a delimiter."""
    now: datetime
    """Time of the response (S3's clock)."""


class ReadLimit:
    """How many objects and bytes may still be read, for a page or the records of a job. Thread-safe.

    Args:
        objects: Number of objects; a request that lists keys counts as one.
        size: Total size in bytes, as `weight` counts them.
        advice: What to do if it is not enough.
    """

    def __init__(self, objects: int, size: int, advice: str = "`batchemr history` reads all") -> None:
        self._text = f"at most {objects:,} objects and {size >> 20:,} MiB of the ledger are read at once here; {advice}"
        self._objects, self._size = objects, size
        self._lock = threading.Lock()

    def take(self, uri: str, *, objects: int = 0, size: int = 0) -> None:
        """Count what is about to be read.

        Raises:
            ReadLimitError: It is more than what is left.
        """
        with self._lock:
            if objects > self._objects or size > self._size:
                raise ReadLimitError(uri, self._text)
            self._objects -= objects
            self._size -= size


class Store:
    """Objects below an S3 URI. Keys are relative to it. Thread-safe, as boto3 clients are."""

    def __init__(self, client: S3Client, uri: str | None, put_args: Mapping[str, Any] | None = None) -> None:
        """Create from a client and a state URI. `put_args` are additional arguments of each PutObject.

        Their `ExpectedBucketOwner` applies to reads and deletes, too: a bucket of another account may hold records
        that claim that work is done.

        Raises:
            StateUriMissingError: `uri` is empty.
            StateUriInvalidError: `uri` is not a valid S3 URI.
        """
        self.client = client
        self.bucket, self.prefix = parse_state_uri(uri)
        self._put_args = dict(put_args or {})
        self._owner = {name: value for name, value in self._put_args.items() if name == "ExpectedBucketOwner"}
        self.read_limit: ReadLimit | None = None

    def uri(self, key: str = "") -> str:
        """Return the s3:// URI of a key."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def create(self, key: str, body: bytes) -> bool:
        """Create an object. Returns False if it exists, possibly written by an earlier call whose response was lost."""
        return self._put(key, body, {"IfNoneMatch": "*"})

    def replace(self, key: str, body: bytes, etag: str) -> bool:
        """Replace exactly the version `etag`. Returns False if that is no longer the current version."""
        return self._put(key, body, {"IfMatch": etag})

    def check_conditional_writes(self) -> None:
        """Check once per process and state URI that the store honors the conditions of `create` and `replace`.

        Takes two PutObjects of one object, which has the same content for everyone and stays: three if it is new.
        `delete` is not checked: if a store ignores its condition, a marker that is deleted is written again.

        Raises:
            ConditionalWritesError: The store ignores or rejects a condition.
            LedgerError: As for each put.
        """
        endpoint = str(self.client.meta.endpoint_url)
        place = (endpoint, self.uri())
        if place in _checked or (urlsplit(endpoint).hostname or "").endswith(_AWS_DOMAINS):
            return
        try:
            # The first one may create the object; the others succeed only if somebody has deleted it in between
            if all(self.create(_CHECK_KEY, _CHECK_BODY) for _ in range(3)):
                raise ConditionalWritesError("If-None-Match", endpoint, self.uri(_CHECK_KEY))
            if self.replace(_CHECK_KEY, _CHECK_BODY, f'"{"0" * 32}"'):
                raise ConditionalWritesError("If-Match", endpoint, self.uri(_CHECK_KEY))
        except LedgerRefusedError as error:
            if "NotImplemented" not in str(error):
                raise
            raise ConditionalWritesError("conditions of PutObject", endpoint, self.uri(_CHECK_KEY)) from error
        _checked.add(place)

    def _put(self, key: str, body: bytes, condition: dict[str, str]) -> bool:
        for attempt in range(_CONFLICT_TRIES):
            try:
                with self._errors("PutObject", key, conflicts=True):
                    self.client.put_object(
                        Bucket=self.bucket,
                        Key=self.prefix + key,
                        Body=body,
                        ContentType="application/json" if key.endswith(".json") else "application/octet-stream",
                        **self._put_args,
                        **condition,  # type: ignore[arg-type]
                    )
            except _ConflictError:
                time.sleep(random.uniform(0.0, 0.05 * 2**attempt))  # noqa: S311 - jitter
            except (_PreconditionError, _NoSuchKeyError):
                return False
            else:
                return True
        raise LedgerUnavailableError("PutObject", self.uri(key), "concurrent writes to the same key did not end (409)")

    def get(self, key: str, limit: int = MAX_OBJECT, total: ReadLimit | None = None) -> Fetched | None:
        """Read an object; None if it does not exist.

        Args:
            key: Its key.
            limit: Its maximum size in bytes.
            total: Limit that applies in addition to `read_limit`.

        Raises:
            LedgerCorruptError: It is larger.
            ReadLimitError: It is more than what is left of a limit.
            LedgerError: It cannot be read.
        """
        self._take(key, total, objects=1)
        try:
            with self._errors("GetObject", key):
                answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, **self._owner)
                size = answer.get("ContentLength")
                announced = min(size or 0, limit)
                self._take(key, total, size=announced)
                body = b"" if size and size > limit else answer["Body"].read(limit + 1)
                if max(size or 0, len(body)) > limit:
                    answer["Body"].close()
                    raise LedgerCorruptError(self.uri(key), f"it has more than {limit:,} bytes")
                answer["Body"].read(1)  # at the end of a body, botocore verifies it
                if size is not None and size != len(body):
                    raise LedgerUnavailableError("GetObject", self.uri(key), f"{len(body):,} of {size:,} bytes arrived")
                self._take(key, total, size=weight(body) - announced)
                return Fetched(body, answer["ETag"], answer["LastModified"])
        except _NoSuchKeyError:
            return None

    def _take(self, key: str, total: ReadLimit | None = None, *, objects: int = 0, size: int = 0) -> None:
        for limit in (self.read_limit, total):
            if limit is not None:
                limit.take(self.uri(key), objects=objects, size=size)

    def holds(self, key: str, body: bytes) -> bool:
        """Return whether an object exists with exactly this content, and read no more of it than that."""
        try:
            with self._errors("GetObject", key):
                answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, **self._owner)
                return bool(answer["Body"].read(len(body) + 1) == body)
        except _NoSuchKeyError:
            return False

    def delete(self, key: str, etag: str) -> None:
        """Delete exactly the version `etag`. Other versions are kept."""
        try:
            with self._errors("DeleteObject", key, conflicts=True):
                self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key, IfMatch=etag, **self._owner)
        except (_PreconditionError, _NoSuchKeyError, _ConflictError):
            return

    def list(self, folder: str, *, delimiter: bool = False, most: int = MAX_KEYS) -> Listing:
        """List the keys that start with `folder`, 1,000 per request.

        Args:
            folder: Prefix of the keys.
            delimiter: Whether to list only one level.
            most: Maximum number of keys and names.

        Raises:
            TooManyKeysError: There are more.
            LedgerError: They cannot be listed.
        """
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + folder, **self._owner}
        if delimiter:
            request["Delimiter"] = "/"
        cut = len(self.prefix) + len(folder)
        modified: dict[str, datetime] = {}
        folders: list[str] = []
        while True:
            self._take(folder, objects=1)
            with self._errors("ListObjectsV2", folder):
                page = self.client.list_objects_v2(**request)
                modified |= {entry["Key"][cut:]: entry["LastModified"] for entry in page.get("Contents", [])}
                folders += [entry["Prefix"][cut:].rstrip("/") for entry in page.get("CommonPrefixes", [])]
                if len(modified) + len(folders) > most:
                    raise TooManyKeysError(self.uri(folder), most)
                if not page.get("IsTruncated"):
                    return Listing(modified, folders, _clock(page))
                request["ContinuationToken"] = page["NextContinuationToken"]

    def each(self, work: Callable[[str], Any], keys: Iterable[str], threads: int = _THREADS) -> dict[str, Any]:
        """Call `work` for each key, in threads if there are several, and raise the first error."""
        wanted = list(keys)
        if len(wanted) < 2:
            return {key: work(key) for key in wanted}
        with ThreadPoolExecutor(min(threads, len(wanted))) as pool:
            return dict(zip(wanted, pool.map(work, wanted), strict=True))

    @contextmanager
    def _errors(self, operation: str, key: str, *, conflicts: bool = False) -> Iterator[None]:
        """Convert errors of S3. With `conflicts`, the caller handles `_ConflictError` (a 409)."""
        try:
            yield
        except ClientError as error:
            if error.operation_name in _CREDENTIAL_CALLS:
                raise CredentialsError(str(error)) from error
            code = str(error.response.get("Error", {}).get("Code"))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if code == "NoSuchKey":
                raise _NoSuchKeyError from error
            if code == "PreconditionFailed" or status == 412:
                raise _PreconditionError from error
            if conflicts and (code in {"ConditionalRequestConflict", "OperationAborted"} or status == 409):
                raise _ConflictError from error
            owner = self._owner.get("ExpectedBucketOwner")
            raise from_client_error(dict(error.response), operation, self.bucket, self.prefix + key, owner) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise CredentialsError(str(error)) from error
        except KeyError as error:  # of a store that is not AWS's
            raise LedgerRefusedError(operation, self.uri(key), f"the answer has no {error.args[0]}") from error
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
    """Split a state URI into (bucket, prefix). The prefix is empty or ends with a slash.

    Raises:
        StateUriMissingError: `uri` is empty.
        StateUriInvalidError: `uri` is not a valid S3 URI.
    """
    if uri is None or not uri.strip():
        raise StateUriMissingError
    scheme, separator, rest = uri.strip().partition("://")
    if scheme != "s3" or not separator:
        raise StateUriInvalidError(uri, "it must start with s3://")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.match(bucket):
        raise StateUriInvalidError(
            uri, f"{bucket!r} is not a valid bucket name (3 to 63 characters of a-z, 0-9, `.` and `-`)"
        )
    prefix = prefix.strip("/")
    if "//" in prefix:
        raise StateUriInvalidError(uri, "it contains an empty folder name (`//`)")
    return bucket, f"{prefix}/" if prefix else ""


def plain_uri(uri: str | None) -> str:
    """Return a state URI without a trailing slash, like `Ledger.uri`. Raises the errors of `parse_state_uri`."""
    bucket, prefix = parse_state_uri(uri)
    return f"s3://{bucket}/{prefix}".rstrip("/")


def _clock(answer: Any) -> datetime:
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
