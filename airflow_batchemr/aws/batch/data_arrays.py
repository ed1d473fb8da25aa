"""Arrays whose size comes from data: objects packed into shards, one index per object, or one index per line.

The listing is written to the ledger once, and a resume reads it from there: objects that have arrived since do not
change which index processes what.
"""

from __future__ import annotations

import hashlib
import json
import os.path
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_batchemr.aws.batch.index_inputs import LINES_AN_OBJECT, Values, fit_inline
from airflow_batchemr.aws.errors import AwsError, InvalidRequest
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.core.indices import MAX_INDICES
from airflow_batchemr.core.packing import pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger import JobLedger

#: The options of `array:` that derive its size from data.
KINDS = ("pack", "per_object", "rows")


class NothingFoundError(AwsError):
    """There is no data for the array; it may arrive later."""

    transient = True


@dataclass(frozen=True)
class Found:
    """The data as it is now, before anything is written.

    Args:
        kind: `pack`, `per_object` or `rows`.
        values: each index's value: a shard's number of objects, an object's URI, a line.
        bytes: total size of the objects (for `rows`, of the file).
        shards: for `pack`, each shard's objects as s3:// URIs.
    """

    kind: str
    values: list[str]
    bytes: int
    shards: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class DataArray:
    """An array that is recorded in the ledger."""

    kind: str
    size: int
    folder: str
    """Name of the documents' folder in the ledger."""
    inline: bool
    common: str
    bytes: int | None = None
    """Size of its data in bytes; None if it was not recorded."""

    def values(self, ledger: JobLedger, indices: IndexSet) -> Values:
        """The values of the indices of a submission; reads those that the requests carry, 1,000 per GET."""
        shards = ledger.document_uri(f"{self.folder}/shards/")
        lines_uri = ledger.document_uri(f"{self.folder}/values/")
        if not self.inline:
            return Values(self.kind, {}, lines_uri, self.common, shards)
        lines: dict[int, str] = {}
        for chunk in sorted({index // LINES_AN_OBJECT for index in indices}):
            text = (ledger.get_document(f"{self.folder}/values/{chunk}.txt") or b"").decode()
            pairs = (line.split(" ", 1) for line in text.split("\n") if line)
            lines.update({int(index): value for index, value in pairs})
        return Values(self.kind, lines, None, self.common, shards if self.kind == "pack" else "")


def data_array(clients: Clients, ledger: JobLedger, array: Mapping[str, Any], rerun_token: str | None) -> DataArray:
    """The array of a job as recorded in the ledger; if it is not, derive it from the data and record it.

    Args:
        clients: for the data.
        ledger: the job's.
        array: `{pack: …}`, `{per_object: …}` or `{rows: …}`, with their options.
        rerun_token: of the rerun that counts: a rerun reads the data again.

    Raises:
        NothingFoundError: there is no data, and `allow_empty` is not given.
        InvalidRequest: there is more than a job can have.
    """
    name = (
        "array.json" if rerun_token is None else f"array-{hashlib.sha256(rerun_token.encode()).hexdigest()[:12]}.json"
    )
    document = ledger.get_document(name)
    if document is None:
        found = scan(clients, array)
        if found.values or not array.get("allow_empty"):
            if not found.values:
                raise NothingFoundError(
                    f"array: nothing under {array[found.kind]}, so there is nothing to run. "
                    "If that is expected, give `allow_empty: true`"
                )
            if len(found.values) > MAX_INDICES:
                raise InvalidRequest(f"array: a job has 1 to {MAX_INDICES:,} indices, not {len(found.values):,}")
        document = _write(ledger, name, found)
    stored = json.loads(document)
    return DataArray(
        stored["kind"], stored["size"], stored["folder"], stored["inline"], stored["common"], stored.get("bytes")
    )


def _write(ledger: JobLedger, name: str, found: Found) -> bytes:
    """Write what was found. The array's own document comes last, because it makes the others valid."""
    # Compares characters, not path segments, which is intended: keys are no paths
    common = os.path.commonprefix(found.values) if found.kind == "per_object" else ""  # noqa: RUF071
    values = [value[len(common) :] for value in found.values]
    digest = hashlib.sha256(json.dumps([found.kind, found.values, found.shards]).encode()).hexdigest()[:12]
    folder = f"data-{digest}"
    documents = {
        f"{folder}/shards/{index}.txt": "".join(f"{uri}\n" for uri in uris).encode()
        for index, uris in enumerate(found.shards)
    }
    for start in range(0, len(values), LINES_AN_OBJECT):
        lines = [f"{start + offset} {value}\n" for offset, value in enumerate(values[start : start + LINES_AN_OBJECT])]
        documents[f"{folder}/values/{start // LINES_AN_OBJECT}.txt"] = "".join(lines).encode()
    ledger.put_documents(documents)
    document = {
        "kind": found.kind,
        "size": len(values),
        "bytes": found.bytes,
        "folder": folder,
        "inline": fit_inline(values),
        "common": common,
    }
    return ledger.put_document(name, json.dumps(document).encode())


def scan(clients: Clients, array: Mapping[str, Any]) -> Found:
    """Read the data: ListObjectsV2, 1,000 objects per call, or one GetObject; writes nothing."""
    kind = next((kind for kind in KINDS if array.get(kind)), None)
    if kind is None:
        raise InvalidRequest(f"array: give one of size, {', '.join(KINDS)}, not {', '.join(array) or 'nothing'}")
    uri = str(array[kind])
    if kind == "rows":
        return _rows(clients, uri)
    before, star, after = uri.partition("*")
    suffix = str(array.get("suffix") or "") if kind == "pack" else after
    objects = sorted(_objects(clients, before if star and kind == "per_object" else uri, suffix))
    uris = [one for one, _ in objects]
    total = sum(size for _, size in objects)
    if kind == "per_object":
        return Found(kind, uris, total)
    try:
        shards = pack(
            [size for _, size in objects],
            into=array.get("into"),
            max_bytes=array.get("max_bytes"),
            max_objects=array.get("max_objects"),
        )
    except ValueError as error:
        raise InvalidRequest(f"array: {error}") from error
    return Found(
        kind, [str(len(shard)) for shard in shards], total, [[uris[place] for place in shard] for shard in shards]
    )


def _objects(clients: Clients, uri: str, suffix: str) -> Iterator[tuple[str, int]]:
    bucket, prefix = _parts(uri)
    token: dict[str, str] = {}
    while True:
        page = call_again(
            lambda: clients.s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **token),  # noqa: B023 - called at once
            "s3:ListBucket",
        )
        for one in page.get("Contents", ()):
            key = one["Key"]
            if key.endswith("/") or not key.endswith(suffix):  # placeholders of folders are not data
                continue
            if "\n" in key:
                raise InvalidRequest(f"array: the key {key!r} contains a line break: lists of keys have one per line")
            yield f"s3://{bucket}/{key}", int(one["Size"])
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _rows(clients: Clients, uri: str) -> Found:
    bucket, key = _parts(uri)

    def read() -> bytes:
        return bytes(clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    body = call_again(read, "s3:GetObject")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"array: {uri} is not UTF-8 text: {error}") from error
    lines = [line.rstrip("\r") for line in text.split("\n")]
    rows = [line for line in lines if line.strip()]
    if any("\0" in row for row in rows):
        raise InvalidRequest(f"array: {uri} contains a NUL character, which environment variables cannot hold")
    return Found("rows", rows, len(body))


def _parts(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme not in {"s3", "s3a", "s3n"} or not parts.netloc:
        raise InvalidRequest(f"array: {uri!r} is not an S3 URI such as s3://data/input/")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return parts.netloc, path.lstrip("/")
