"""moto, called within this process, for S3, CloudWatch Logs, EventBridge, IAM and all other services."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET  # of moto, on this machine  # nosec B405

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["StoredObject", "Upstream", "UpstreamError"]


#: XML namespace of S3 responses.
S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class StoredObject:
    """An object in S3, with its size in bytes and its modification time in milliseconds since the epoch."""

    key: str
    size: int
    modified: int


class UpstreamError(Exception):
    """moto returned an error. `status` is the HTTP status, `code` the body with AWS's error code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status
        self.code = text


def parse(answer: bytes) -> ET.Element:
    """Parse an XML response, which is trusted because moto creates it in this process."""
    return ET.fromstring(answer)  # noqa: S314 - of moto, on this machine  # nosec B314


class Upstream:
    """moto's unmodified WSGI application, called without sockets."""

    def __init__(self) -> None:
        try:
            from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        except ImportError as error:
            raise ImportError("the local AWS needs moto: pip install 'airflow-batchemr[local]'") from error

        def create(service: Any) -> Any:
            if service is None:
                raise NotImplementedError("moto has no such service")
            return create_backend_app(service)

        self.app = DomainDispatcherApplication(create)
        self._policies = threading.Lock()
        self._policies_loaded = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Call the WSGI application.

        Raises:
            NotImplementedError: moto does not have the operation.
        """
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer

    def request(
        self, service: str, region: str, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        """Send one request, like a client that signs its requests.

        Returns:
            HTTP status and body.
        """
        from werkzeug.test import Client

        credential = f"local/20200101/{region}/{service}/aws4_request"
        scope = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
        # The host name tells moto whether the S3 bucket is in the path or in the host.
        sent = {"Host": f"{service}.{region}.amazonaws.com" if service != "s3" else "localhost", "Authorization": scope}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        answer = Client(self.app).open(path, method=method, data=body, headers=sent)
        return answer.status_code, answer.get_data()

    def json(self, service: str, region: str, target: str, params: dict[str, Any]) -> dict[str, Any]:
        """Call an operation of a service with AWS's JSON protocol.

        Raises:
            UpstreamError: moto returned an error.
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
        """Send one request to S3.

        Returns:
            The body of the response.

        Raises:
            UpstreamError: moto returned an error.
        """
        status, content = self.request("s3", "us-east-1", method, path, body, **headers)
        if status >= 300:
            raise UpstreamError(status, content.decode(errors="replace"))
        return content

    def get_object(self, bucket: str, key: str, part: str | None = None) -> bytes:
        """Return the content of an object, or the part selected by a Range header.

        Raises:
            UpstreamError: The object does not exist (404).
        """
        headers = {"Range": part} if part else {}
        return self.s3("GET", f"/{bucket}/{quote(key)}", b"", **headers)

    def copy_object(self, bucket: str, key: str, to_bucket: str, to_key: str) -> None:
        """Copy an object."""
        self.s3("PUT", f"/{to_bucket}/{quote(to_key)}", X_Amz_Copy_Source=f"/{bucket}/{quote(key)}")

    def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object."""
        self.s3("DELETE", f"/{bucket}/{quote(key)}")

    def buckets(self) -> list[str]:
        """Return the names of all buckets."""
        return [name.text or "" for name in parse(self.s3("GET", "/")).iter(f"{S3}Name")]

    def list_objects(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        """Return the objects whose keys start with a prefix, in order: all of them, or the first `limit` ≤ 1000."""
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
        """Write an object.

        Raises:
            UpstreamError: The bucket does not exist (404).
        """
        self.s3("PUT", f"/{bucket}/{quote(key)}", content)

    def load_managed_policies(self) -> None:
        """Add AWS's managed policies to IAM before its first use. They take half a second, so `reset` drops them."""
        from moto.core.config import default_user_config
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.iam.models import iam_backends

        with self._policies:
            if not self._policies_loaded:
                default_user_config["iam"]["load_aws_managed_policies"] = True
                iam_backends[DEFAULT_ACCOUNT_ID]["aws"].reset()
                default_user_config["iam"]["load_aws_managed_policies"] = False
                self._policies_loaded = True

    def reset(self) -> None:
        """Reset the state of moto."""
        with self._policies:
            self._policies_loaded = False
        self.request("moto_api", "us-east-1", "POST", "/moto-api/reset")
