"""Arrays whose size comes out of the data: objects packed into shards, an index an object, an index a line.

What was found is written into the ledger once, and a resume takes it from there: objects that have come since do not
change which index does what.
"""

from __future__ import annotations

import hashlib
import json
import os.path
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_batchemr.aws.batch.index_inputs import LINES_AN_OBJECT, Values, fit_inline
from airflow_batchemr.aws.batch.limits import check_size
from airflow_batchemr.aws.errors import AwsError, InvalidRequest
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.core.packing import pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger import JobLedger

#: The words that make an array's size out of data.
KINDS = ("pack", "per_object", "rows")


class NothingFoundError(AwsError):
    """There is no data to make an array of; it may come later."""

    transient = True


@dataclass(frozen=True)
class Found:
    """What the data says now, before anything is written.

    Args:
        kind: `pack`, `per_object` or `rows`.
        values: each index's value: a shard's number of objects, an object's URI, a line.
        bytes: of the objects in all (of the lines, for `rows`).
        shards: for `pack`, each shard's objects as s3:// URIs.
    """

    kind: str
    values: list[str]
    bytes: int
    shards: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class DataArray:
    """An array that stands in the ledger."""

    kind: str
    size: int
    folder: str
    """Name of the documents' folder in the ledger."""
    inline: bool
    common: str
    bytes: int | None = None
    """Bytes of its data; None: it was recorded without them."""

    def values(self, ledger: JobLedger, indices: IndexSet) -> Values:
        """The values of the indices that an attempt runs; reads those that travel with the requests, 1,000 a GET."""
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
    """The array of a job: as it stands in the ledger, else out of the data, and then written there.

    Args:
        clients: for the data.
        ledger: the job's.
        array: `{pack: …}`, `{per_object: …}` or `{rows: …}`, with their options.
        rerun_token: of the rerun that counts: a rerun looks at the data again.

    Raises:
        NothingFoundError: there is no data, and `allow_empty` is not given.
        InvalidRequest: there is more than a job can have.
    """
    name = (
        "array.json" if rerun_token is None else f"array-{hashlib.sha256(rerun_token.encode()).hexdigest()[:12]}.json"
    )
    standing = ledger.get_document(name)
    if standing is None:
        found = look(clients, array)
        if found.values or not array.get("allow_empty"):
            if not found.values:
                raise NothingFoundError(
                    f"array: nothing under {array[found.kind]}, so there is nothing to run. "
                    "If that is as it should be, give `allow_empty: true`"
                )
            check_size(len(found.values))
        standing = _write(ledger, name, found)
    said = json.loads(standing)
    return DataArray(said["kind"], said["size"], said["folder"], said["inline"], said["common"], said.get("bytes"))


def _write(ledger: JobLedger, name: str, found: Found) -> bytes:
    """Write what was found; the array's own document, that makes it count, comes last."""
    # Character by character is what is wanted: keys are no paths
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
    said = {
        "kind": found.kind,
        "size": len(values),
        "bytes": found.bytes,
        "folder": folder,
        "inline": fit_inline(values),
        "common": common,
    }
    return ledger.put_document(name, json.dumps(said).encode())


def look(clients: Clients, array: Mapping[str, Any]) -> Found:
    """What the data says now: ListObjectsV2, 1,000 objects a call, or one GetObject; writes nothing."""
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
            if key.endswith("/") or not key.endswith(suffix):  # a folder's placeholder is no data
                continue
            if "\n" in key:
                raise InvalidRequest(f"array: the key {key!r} has a line break in it: lists of keys are one a line")
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
        raise InvalidRequest(f"array: {uri} has a NUL character in it, which no environment can carry")
    return Found("rows", rows, len(body))


def _parts(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme not in {"s3", "s3a", "s3n"} or not parts.netloc:
        raise InvalidRequest(f"array: {uri!r} is not the URI of a place in S3, such as s3://data/input/")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return parts.netloc, path.lstrip("/")
