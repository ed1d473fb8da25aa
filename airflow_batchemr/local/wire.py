"""Parse requests: access key, service, region and operation."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

__all__ = ["Scope", "body", "conditional", "operation", "scope"]

CREDENTIAL = re.compile(r"Credential=([^/,\s=]+)/\d{8}/([^/,\s=]+)/([^/,\s=]+)/aws4_request")
#: S3 operations that are identified by a query parameter: (method, for an object?, parameter) -> operation.
S3_QUERY = {
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("PUT", True, "uploadId"): "UploadPart",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
    ("GET", True, "uploadId"): "ListParts",
    ("GET", True, "tagging"): "GetObjectTagging",
    ("PUT", True, "tagging"): "PutObjectTagging",
    ("GET", True, "attributes"): "GetObjectAttributes",
    ("GET", False, "uploads"): "ListMultipartUploads",
    ("GET", False, "versions"): "ListObjectVersions",
    ("GET", False, "location"): "GetBucketLocation",
    ("GET", False, "versioning"): "GetBucketVersioning",
    ("PUT", False, "versioning"): "PutBucketVersioning",
    ("GET", False, "list-type"): "ListObjectsV2",
    ("POST", False, "delete"): "DeleteObjects",
}
#: Query parameters of S3 operations that moto does not have and would take for operations on the bucket or object.
S3_UNSERVED = frozenset({
    "abac", "analytics", "annotation", "intelligent-tiering", "metadataAnnotationTable", "metadataConfiguration",
    "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "renameObject", "requestPayment",
    "session", "torrent",
})  # fmt: skip
S3_PLAIN = {
    ("GET", True): "GetObject",
    ("HEAD", True): "HeadObject",
    ("PUT", True): "PutObject",
    ("DELETE", True): "DeleteObject",
    ("GET", False): "ListObjects",
    ("HEAD", False): "HeadBucket",
    ("PUT", False): "CreateBucket",
    ("DELETE", False): "DeleteBucket",
}


@dataclass(frozen=True)
class Scope:
    """Credential scope of a signature."""

    key: str
    region: str
    service: str


def scope(environ: dict[str, Any]) -> Scope | None:
    """Return the credential scope of a request from its header or URL; None if it is not signed."""
    match = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None and "X-Amz-Credential" in environ.get("QUERY_STRING", ""):
        match = CREDENTIAL.search("Credential=" + unquote(parse_qs(environ["QUERY_STRING"])["X-Amz-Credential"][0]))
    return None if match is None else Scope(*match.groups())


def body(environ: dict[str, Any]) -> bytes:
    """Return the body, and keep it readable in the environ."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        content: bytes = stream.read()
    else:
        content = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(content)
    environ["CONTENT_LENGTH"] = str(len(content))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return content


def conditional(environ: dict[str, Any]) -> bool:
    """Return whether a write is conditional on the existing object."""
    return "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ


def operation(environ: dict[str, Any], service: str) -> str:
    """Return the operation of a request for moto, from the target header, S3's method and path, or the form."""
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return str(target).rpartition(".")[2]
    if service == "s3":
        return s3_operation(environ)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        action = parse_qs(body(environ).decode(errors="replace")).get("Action")
        if action:
            return action[0]
    return f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '/')}"


def unserved(environ: dict[str, Any]) -> str:
    """Return which operation of S3 the request names that moto does not have; empty if none."""
    found = scope(environ)
    names = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    return ", ".join(S3_UNSERVED & names.keys()) if found is not None and found.service == "s3" else ""


def s3_operation(environ: dict[str, Any]) -> str:
    """Return the S3 operation of a request with the bucket in the path."""
    method = environ["REQUEST_METHOD"]
    bucket, _, key = environ.get("PATH_INFO", "/").lstrip("/").partition("/")
    if not bucket:
        return "ListBuckets"
    names = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    for name in names:
        if (method, bool(key), name) in S3_QUERY:
            return S3_QUERY[method, bool(key), name]
    if method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return "CopyObject"
    return S3_PLAIN.get((method, bool(key)), f"{method} {'object' if key else 'bucket'}")
