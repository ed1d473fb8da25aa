"""moto, called inside this process: S3, logs, EventBridge, IAM and whatever else it serves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["StoredObject", "Upstream", "UpstreamError"]


#: The namespace of S3's answers.
S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class StoredObject:
    """An object in S3: size in bytes, time of its last change in milliseconds since the epoch."""

    key: str
    size: int
    modified: int


class UpstreamError(Exception):
    """moto answered with an error; `status` is the HTTP status, `code` AWS's error code where there is one."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status
        self.code = text


def parse(answer: bytes) -> ET.Element:
    """An answer in XML. It is moto's own, made in this process."""
    return ET.fromstring(answer)  # noqa: S314


class Upstream:
    """moto's WSGI application, unmodified, and calls into it that use no socket."""

    def __init__(self) -> None:
        try:
            from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        except ImportError as error:
            raise ImportError("the local AWS needs moto: pip install 'airflow-batchemr[local]'") from error
        self.app = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """WSGI."""
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer

    def request(
        self, service: str, region: str, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        """One request, as a signed client would send it.

        Returns:
            HTTP status and body.
        """
        from werkzeug.test import Client

        credential = f"local/20200101/{region}/{service}/aws4_request"
        scope = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
        # moto tells S3's buckets in the path from those in the host by this name.
        sent = {"Host": f"{service}.{region}.amazonaws.com" if service != "s3" else "localhost", "Authorization": scope}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        answer = Client(self.app).open(path, method=method, data=body, headers=sent)
        return answer.status_code, answer.get_data()

    def json(self, service: str, region: str, target: str, params: dict[str, Any]) -> dict[str, Any]:
        """One operation of a service with AWS's JSON protocol.

        Raises:
            UpstreamError: moto answered with an error.
        """
        status, body = self.request(
            service, region, "POST", "/", json.dumps(params).encode(),
            X_Amz_Target=target, Content_Type="application/x-amz-json-1.1",
        )  # fmt: skip
        if status >= 300:
            raise UpstreamError(status, body.decode(errors="replace"))
        result: dict[str, Any] = json.loads(body) if body.strip() else {}
        return result

    def s3(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """One request to S3.

        Returns:
            The answer's body.

        Raises:
            UpstreamError: moto answered with an error.
        """
        status, content = self.request("s3", "us-east-1", method, path, body, **headers)
        if status >= 300:
            raise UpstreamError(status, content.decode(errors="replace"))
        return content

    def get_object(self, bucket: str, key: str, part: str | None = None) -> bytes:
        """An object's content, or the part of it that a Range header names.

        Raises:
            UpstreamError: there is no such object (404).
        """
        headers = {"Range": part} if part else {}
        return self.s3("GET", f"/{bucket}/{quote(key)}", b"", **headers)

    def copy_object(self, bucket: str, key: str, to_bucket: str, to_key: str) -> None:
        """Copies an object."""
        self.s3("PUT", f"/{to_bucket}/{quote(to_key)}", X_Amz_Copy_Source=f"/{bucket}/{quote(key)}")

    def delete_object(self, bucket: str, key: str) -> None:
        """Deletes an object."""
        self.s3("DELETE", f"/{bucket}/{quote(key)}")

    def buckets(self) -> list[str]:
        """The names of all buckets."""
        return [name.text or "" for name in parse(self.s3("GET", "/")).iter(f"{S3}Name")]

    def list_objects(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        """The objects whose keys begin with a prefix, in their order; all of them, or the first `limit` ≤ 1000."""
        found: list[StoredObject] = []
        token = ""
        while True:
            query = f"list-type=2&prefix={quote(prefix, safe='')}&max-keys={limit or 1000}"
            page = parse(self.s3("GET", f"/{bucket}?{query}{token}"))
            for each in page.iter(f"{S3}Contents"):
                modified = datetime.fromisoformat(each.findtext(f"{S3}LastModified", "").replace("Z", "+00:00"))
                size = int(each.findtext(f"{S3}Size", "0"))
                found.append(StoredObject(each.findtext(f"{S3}Key", ""), size, int(modified.timestamp() * 1000)))
            following = page.findtext(f"{S3}NextContinuationToken")
            if limit is not None or not following:
                return found
            token = f"&continuation-token={quote(following, safe='')}"

    def put_object(self, bucket: str, key: str, content: bytes) -> None:
        """Writes an object.

        Raises:
            UpstreamError: there is no such bucket (404).
        """
        self.s3("PUT", f"/{bucket}/{quote(key)}", content)

    def reset(self) -> None:
        """Empties all of moto."""
        self.request("moto_api", "us-east-1", "POST", "/moto-api/reset")
