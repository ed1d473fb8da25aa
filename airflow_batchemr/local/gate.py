"""The WSGI application: checks the access key, counts and routes requests, and injects faults."""

from __future__ import annotations

import hmac
import json
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from airflow_batchemr.local import wire
from airflow_batchemr.local.faults import SLOW
from airflow_batchemr.local.protocol import Api, AwsError, Call, Reply
from airflow_batchemr.local.spark.gateway import PREFIX, Gateway, home

if TYPE_CHECKING:
    from airflow_batchemr.local.faults import Faults
    from airflow_batchemr.local.logs import Logs
    from airflow_batchemr.local.upstream import Upstream

__all__ = ["Gate"]

log = logging.getLogger(__name__)
Environ = dict[str, Any]
Start = Callable[..., Any]
#: Number of locks for writes. Writes of one object exclude each other; writes of different objects mostly do not.
LOCKS = 64
#: Code and status of throttling, by service.
THROTTLED = {
    "batch": ("TooManyRequestsException", 429),
    "elasticmapreduce": ("ThrottlingException", 400),
    "emr-serverless": ("ThrottlingException", 429),
    "emr-containers": ("ThrottlingException", 429),
    "s3": ("SlowDown", 503),
}
#: Beginning of the message of a failure that is a fault of the local AWS.
BROKEN = "the local AWS failed"
#: The response to a request without the access key.
REFUSAL = AwsError(
    "UnrecognizedClientException",
    "The security token included in the request is invalid: it is not the access key of this server",
    403,
)
#: Operations that issue access keys, which are accepted from then on.
ISSUING = ("AssumeRole", "GetSessionToken", "CreateAccessKey")
ISSUED = re.compile(rb"<AccessKeyId>([^<]+)</AccessKeyId>")
#: Services with XML responses that are likely to be used.
QUERY_SERVICES = ("sts", "iam", "sns", "ec2", "cloudformation", "autoscaling", "monitoring")
DENIED = {"s3": ("AccessDenied", 403)}
#: Code and status for an operation that the service does not have. Source: "Common Errors" in the API references.
UNSERVED = {"s3": ("NotImplemented", 501), **dict.fromkeys(QUERY_SERVICES, ("InvalidAction", 400))}


class Gate:
    """Handles all HTTP requests."""

    def __init__(
        self,
        *,
        key: str,
        upstream: Upstream,
        apis: Mapping[str, Api],
        logs: Logs,
        faults: Faults,
        rules_made: Callable[[], None],
    ) -> None:
        self._keys = {key}
        self._upstream = upstream
        self._apis = apis
        self._logs = logs
        self._faults = faults
        self._rules_made = rules_made
        self._gateway = Gateway(key, upstream)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._write_locks = [threading.Lock() for _ in range(LOCKS)]

    def requests(self) -> Counter[str]:
        """Return the calls by operation since the last reset."""
        with self._lock:
            return Counter(self._counts)

    def reset_requests(self) -> None:
        """Reset the counts to zero."""
        with self._lock:
            self._counts.clear()

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """WSGI."""
        scope = wire.scope(environ)
        if not _addressed(environ):
            return _send(self._refusal(scope), start_response)
        given = scope.key if scope is not None else environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        # Browsers send these headers with requests of scripts and forms; AWS clients do not.
        if scope is None and environ.get("PATH_INFO", "").startswith(PREFIX):
            # Hadoop's client cannot sign, so its paths start with the key.
            given = environ["PATH_INFO"][len(PREFIX) :].partition("/")[0]
        from_browser = "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ
        asked_home = None if from_browser else home(environ)
        if asked_home is not None:
            return _send(asked_home, start_response)
        if from_browser or not any(hmac.compare_digest(given.encode(), key.encode()) for key in self._keys):
            return _send(self._refusal(scope), start_response)
        if environ.get("PATH_INFO", "").startswith("/_local/"):
            return _send(self._local(environ), start_response)
        if scope is None and environ.get("PATH_INFO", "").startswith(PREFIX):
            return _send(self._gateway.answer(environ), start_response)
        if scope is None:
            return _send(_error("", REFUSAL), start_response)
        if scope.service in self._apis:
            return self._ours(environ, start_response, scope)
        return self._moto(environ, start_response, scope)

    def _refusal(self, scope: wire.Scope | None) -> Reply:
        if scope is not None and scope.service in self._apis:
            return self._apis[scope.service].error(REFUSAL)
        return _error(scope.service if scope else "", REFUSAL)

    # Batch and EMR, EMR Serverless, EMR on EKS

    def _ours(self, environ: Environ, start_response: Start, scope: wire.Scope) -> Iterable[bytes]:
        api = self._apis[scope.service]
        content = wire.body(environ)
        headers = {"X-Amz-Target": environ.get("HTTP_X_AMZ_TARGET", "")}
        path, query = environ.get("PATH_INFO", "/"), environ.get("QUERY_STRING", "")
        try:
            call = api.read(environ["REQUEST_METHOD"], path, query, headers, scope.region)
            self._count(call.operation)
            fault = self._faults.take(call.operation)
            self._before(fault, environ, scope.service, api.failure(call.operation))
            reply = self._run(api, call, content)
            self._after(fault, environ, api.failure(call.operation))
        except AwsError as error:
            reply = api.error(error)
        return _send(reply, start_response)

    @staticmethod
    def _run(api: Api, call: Call, content: bytes) -> Reply:
        try:
            return api.run(api.fill(call, content))
        except AwsError:
            raise
        except Exception as error:
            log.exception("%s in %s", BROKEN, call.operation)
            message = f"{BROKEN}: {type(error).__name__}: {error}"
            raise AwsError(api.failure(call.operation), message, 500) from error

    # moto

    def _moto(self, environ: Environ, start_response: Start, scope: wire.Scope) -> Iterable[bytes]:
        operation = wire.operation(environ, scope.service)
        self._count(operation)
        fault = self._faults.take(operation)
        failed = "InternalError" if scope.service == "s3" else "InternalFailure"
        try:
            self._before(fault, environ, scope.service, failed)
        except AwsError as error:
            return _send(_error(scope.service, error), start_response)
        if scope.service == "logs":
            self._flush_logs(operation, environ)
        elif scope.service == "iam":
            self._upstream.load_managed_policies()
        elif operation == "PutRule":
            self._rules_made()
        writes = scope.service == "s3" and environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
        serve = self._write if writes else self._read
        if fault in ("drop", "error_after"):
            b"".join(serve(environ, _discard))
            try:
                self._after(fault, environ, failed)
            except AwsError as error:
                return _send(_error(scope.service, error), start_response)
        if operation in ISSUING or fault == "slow":
            content = b"".join(serve(environ, start_response))
            self._keys |= {found.decode() for found in ISSUED.findall(content)} if operation in ISSUING else set()
            self._after(fault, environ, failed)
            return [content]
        return serve(environ, start_response)

    def _read(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        unserved = wire.unserved(environ)
        if not unserved:
            try:
                return self._without_nulls(environ, start_response)
            except NotImplementedError as error:
                unserved = str(error)
        return _send(_unserved(environ, unserved), start_response)

    def _without_nulls(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """Call moto. Where it sends null, such as a `nextToken` of CloudWatch Logs, AWS leaves the member out."""
        if "HTTP_X_AMZ_TARGET" not in environ:
            return self._upstream(environ, start_response)
        sent: list[Any] = []
        body = b"".join(self._upstream(environ, lambda *given: sent.extend(given)))
        if b"null" in body:
            body = json.dumps(json.loads(body, object_hook=_given)).encode()
        headers = [each for each in sent[1] if each[0].lower() != "content-length"]
        start_response(sent[0], [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _write(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """Write under a lock, because moto checks the condition of a write and writes without one."""
        if wire.conditional(environ):
            # Read the body first, because a slow client must not hold the lock
            wire.body(environ)
        for header in self._faults.ignored_headers:
            environ.pop(f"HTTP_{header.upper().replace('-', '_')}", None)
        lock = self._write_locks[hash(environ.get("PATH_INFO")) % LOCKS]
        with lock:
            return [b"".join(self._read(environ, start_response))]

    def _flush_logs(self, operation: str, environ: Environ) -> None:
        if operation in ("CreateLogGroup", "CreateLogStream", "PutLogEvents"):
            return
        try:
            content = json.loads(wire.body(environ) or b"{}")
        except ValueError:
            content = {}
        self._logs.flush(content.get("logStreamName"))

    # Counts and faults

    def _count(self, operation: str) -> None:
        with self._lock:
            self._counts[operation] += 1

    @staticmethod
    def _before(fault: str | None, environ: Environ, service: str, failed: str) -> None:
        if fault == "throttle":
            code, status = THROTTLED.get(service, ("ThrottlingException", 400))
            raise AwsError(code, "Too Many Requests", status)
        if fault == "error":
            raise AwsError(failed, "an internal error, as planned", 500)
        if fault == "refuse":
            code, status = DENIED.get(service, ("AccessDeniedException", 403))
            raise AwsError(code, "User: arn:aws:iam::123456789012:user/local is not authorized, as planned", status)
        if fault == "drop_before":
            _hang_up(environ)

    @staticmethod
    def _after(fault: str | None, environ: Environ, failed: str) -> None:
        if fault == "slow":
            time.sleep(SLOW)
        if fault == "drop":
            _hang_up(environ)
        if fault == "error_after":
            raise AwsError(failed, "an internal error after the call was carried out, as planned", 500)

    # For other processes

    def _local(self, environ: Environ) -> Reply:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/_local/requests":
            counts = self.requests()
            if method == "DELETE":
                self.reset_requests()
            return _json(200, dict(counts))
        if path == "/_local/faults" and method == "GET":
            return _json(200, self._faults.planned())
        if path == "/_local/faults" and method == "DELETE":
            self._faults.clear()
            return _json(200, [])
        if path == "/_local/faults" and method == "POST":
            try:
                wanted = json.loads(wire.body(environ))
                self._faults.by_name(wanted.pop("fault"), wanted)
            except (ValueError, KeyError, AttributeError) as error:
                return _json(400, {"error": f'expected {{"fault": name, parameters…}}: {error}'})
            return _json(200, self._faults.planned())
        return _json(404, {"error": f"no operation for {method} {path}"})


def _addressed(environ: Environ) -> bool:
    """Return whether the Host header names this machine and port: a page that rebinds its own host name does not.

    S3 clients put the bucket in front of `localhost`, which is always this machine (RFC 6761, section 6.3).
    """
    host, _, port = environ.get("HTTP_HOST", "").lower().partition(":")
    ours = host in {"127.0.0.1", "localhost"} or host.endswith(".localhost")
    return ours and (port or "80") == environ["SERVER_PORT"]  # clients leave out the default port


def _hang_up(environ: Environ) -> None:
    """Close the connection without a response."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("closed, as planned")


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _discard(*_: Any) -> Callable[[bytes], None]:
    return lambda _data: None


def _error(service: str, error: AwsError) -> Reply:
    """Return an error in the protocol of a service of moto."""
    if service == "s3":
        return _xml(error, "<Error><Code>{code}</Code><Message>{message}</Message></Error>")
    if service in QUERY_SERVICES:
        return _xml(
            error, "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        )
    body = {"__type": error.code, "message": error.message}
    headers = (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", error.code))
    return Reply(error.status, json.dumps(body).encode(), headers)


def _unserved(environ: Environ, message: str) -> Reply:
    """Return the error of a service of moto for an operation that it does not have."""
    scope = wire.scope(environ)
    service = scope.service if scope is not None else ""
    code, status = UNSERVED.get(service, ("UnknownOperationException", 400 if "HTTP_X_AMZ_TARGET" in environ else 404))
    return _error(service, AwsError(code, f"not served by the local AWS: {message}", status))


def _xml(error: AwsError, form: str) -> Reply:
    text = form.format(code=escape(error.code), message=escape(error.message))
    return Reply(error.status, text.encode(), (("Content-Type", "application/xml"),))


def _json(status: int, content: Any) -> Reply:
    return Reply(status, json.dumps(content).encode(), (("Content-Type", "application/json"),))


def _send(reply: Reply, start_response: Start) -> Iterable[bytes]:
    status = f"{reply.status} {HTTPStatus(reply.status).phrase}"
    start_response(status, [*reply.headers, ("Content-Length", str(len(reply.body)))])
    return [reply.body]
