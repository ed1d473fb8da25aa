"""Arrays whose size comes from data: objects packed into shards, one index per object, or one index per line.

The listing is written to the ledger once, and a resume reads it from there: objects that have arrived since do not
change which index processes what.
"""

from __future__ import annotations

import hashlib
import io
import json
import os.path
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from airflow_batchemr.aws.batch.index_inputs import LINES_AN_OBJECT, Values, fit_inline
from airflow_batchemr.aws.errors import AwsError, InvalidRequest
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.core.indices import MAX_INDICES
from airflow_batchemr.core.packing import pack
from airflow_batchemr.ledger import LedgerCorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger import JobLedger

#: Bytes of a file of rows, and objects of a listing: more would not fit into a worker's memory.
MAX_ROWS_BYTES, MAX_OBJECTS = 256 * 2**20, 5_000_000


class NothingFoundError(AwsError):
    """There is no data for the array; it may arrive later."""

    transient = True


@dataclass(frozen=True)
class Found:
    """The data as it is now, before anything is written."""

    values: list[str]
    """Each index's value: a shard's number of objects, an object's URI, a line."""
    bytes: int
    """Total size of the objects (for `rows`, of the file)."""
    shards: list[list[str]] = field(default_factory=list)
    """For `pack`, each shard's objects as s3:// URIs."""


@dataclass(frozen=True)
class DataArray:
    """An array as it is recorded in the ledger."""

    kind: Annotated[str, Field(pattern=r"^(pack|per_object|rows)$")]
    size: Annotated[int, Field(ge=0, le=MAX_INDICES)]
    folder: str
    """Name of the documents' folder in the ledger."""
    inline: bool
    common: str
    bytes: int | None = None
    """Size of its data in bytes; None if it was not recorded."""

    def values(self, ledger: JobLedger, indices: IndexSet) -> Values:
        """The values of the indices of a submission; reads those that the requests carry, 1,000 per GET."""
        shards = ledger.document_uri(f"{self.folder}/shards/") if self.kind == "pack" else ""
        if not self.inline:
            return Values(self.kind, {}, ledger.document_uri(f"{self.folder}/values/"), self.common, shards)
        lines: dict[int, str] = {}
        for chunk in sorted({index // LINES_AN_OBJECT for index in indices}):
            name = f"{self.folder}/values/{chunk}.txt"
            try:
                text = (ledger.get_document(name) or b"").decode()
                pairs = (line.split(" ", 1) for line in text.split("\n") if line)
                lines.update({int(index): value for index, value in pairs})
            except ValueError as error:
                raise LedgerCorruptError(ledger.document_uri(name), f"a line is no index and value: {error}") from error
        if missing := [index for index in indices if index not in lines]:
            name = f"{self.folder}/values/{missing[0] // LINES_AN_OBJECT}.txt"
            raise LedgerCorruptError(ledger.document_uri(name), f"it has no value for index {missing[0]}")
        return Values(self.kind, lines, None, self.common, shards)


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
    name = "array.json"
    if rerun_token is not None:
        name = f"array-{hashlib.sha256(rerun_token.encode()).hexdigest()[:12]}.json"
    document = ledger.get_document(name)
    if document is None:
        kind = next(kind for kind in ("pack", "per_object", "rows") if kind in array)
        found = _rows(clients, array[kind]) if kind == "rows" else _objects(clients, kind, array)
        if not found.values and not array.get("allow_empty"):
            raise NothingFoundError(
                f"array: nothing under {array[kind]}, so there is nothing to run. "
                "If that is expected, give `allow_empty: true`"
            )
        if len(found.values) > MAX_INDICES:
            raise InvalidRequest(f"array: a job has 1 to {MAX_INDICES:,} indices, not {len(found.values):,}")
        document = _write(ledger, name, kind, found)
    try:
        return TypeAdapter(DataArray).validate_json(document)
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise LedgerCorruptError(ledger.document_uri(name), what) from error


def _write(ledger: JobLedger, name: str, kind: str, found: Found) -> bytes:
    """Write what was found. The array's own document comes last, because it makes the others valid."""
    # Compares characters, not path segments, which is intended: keys are no paths
    common = os.path.commonprefix(found.values) if kind == "per_object" else ""  # noqa: RUF071
    values = [value[len(common) :] for value in found.values]
    digest = hashlib.sha256(json.dumps([kind, found.values, found.shards]).encode()).hexdigest()[:12]
    folder = f"data-{digest}"
    documents = {
        f"{folder}/shards/{index}.txt": "".join(f"{uri}\n" for uri in uris).encode()
        for index, uris in enumerate(found.shards)
    }
    for start in range(0, len(values), LINES_AN_OBJECT):
        lines = [f"{start + offset} {value}\n" for offset, value in enumerate(values[start : start + LINES_AN_OBJECT])]
        documents[f"{folder}/values/{start // LINES_AN_OBJECT}.txt"] = "".join(lines).encode()
    ledger.put_documents(documents)
    recorded = DataArray(kind, len(values), folder, fit_inline(values), common, found.bytes)
    return ledger.put_document(name, json.dumps(asdict(recorded)).encode())


def _objects(clients: Clients, kind: str, array: Mapping[str, Any]) -> Found:
    """ListObjectsV2, 1,000 objects per call."""
    prefix, suffix = array[kind], array.get("suffix", "")
    if kind == "per_object":
        prefix, _, suffix = prefix.partition("*")
    objects = _listed(clients, prefix, suffix)
    uris, sizes = sorted(objects), [objects[uri] for uri in sorted(objects)]
    if kind == "per_object":
        return Found(uris, sum(sizes))
    try:
        shards = pack(sizes, **{name: array.get(name) for name in ("into", "max_bytes", "max_objects")})
    except ValueError as error:
        raise InvalidRequest(f"array: {error}") from error
    counts = [str(len(shard)) for shard in shards]
    return Found(counts, sum(sizes), [[uris[place] for place in shard] for shard in shards])


def _listed(clients: Clients, uri: str, suffix: str) -> dict[str, int]:
    """Sizes of objects by URI."""
    bucket, prefix = _parts(uri)

    def listed() -> list[tuple[str, int]]:
        pages = clients.s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": MAX_OBJECTS + 1}
        )
        return [(one["Key"], int(one["Size"])) for page in pages for one in page.get("Contents", ())]

    found = call_again(listed, "s3:ListBucket")
    if len(found) > MAX_OBJECTS:
        raise InvalidRequest(f"array: there are more than {MAX_OBJECTS:,} objects under {uri}")
    objects: dict[str, int] = {}
    for key, size in found:
        if key.endswith("/") or not key.endswith(suffix):  # placeholders of folders are not data
            continue
        if "\n" in key:
            raise InvalidRequest(f"array: the key {key!r} contains a line break: lists of keys have one per line")
        objects[f"s3://{bucket}/{key}"] = size
    return objects


def _rows(clients: Clients, uri: str) -> Found:
    bucket, key = _parts(uri)

    def read() -> bytes | None:
        answer = clients.s3.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] > MAX_ROWS_BYTES:
            answer["Body"].close()
            return None
        return bytes(answer["Body"].read())

    body = call_again(read, "s3:GetObject")
    if body is None:
        raise InvalidRequest(f"array: {uri} has more than {MAX_ROWS_BYTES:,} bytes")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"array: {uri} is not UTF-8 text: {error}") from error
    lines = (line.rstrip("\r\n") for line in io.StringIO(text, newline="\n"))
    rows = list(islice((line for line in lines if line.strip()), MAX_INDICES + 1))
    if any("\0" in row for row in rows):
        raise InvalidRequest(f"array: {uri} contains a NUL character, which environment variables cannot hold")
    return Found(rows, len(body))


def _parts(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme not in {"s3", "s3a", "s3n"} or not parts.netloc:
        raise InvalidRequest(f"array: {uri!r} is not an S3 URI such as s3://data/input/")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return parts.netloc, path.lstrip("/")
