"""A check of each response that the local AWS sends, as the bytes on the wire, against botocore's service models."""

from __future__ import annotations

import json
from typing import Any

from airflow_batchemr.local.constraints import mismatches, violations
from airflow_batchemr.local.gate import BROKEN, Gate
from airflow_batchemr.local.protocol import AwsError, load

MODELS = {"elasticmapreduce": "emr"}
#: Errors of all operations, which the models do not have. Source: "Common Errors" in the API references.
COMMON = {
    "AccessDeniedException": {400, 403},
    "InternalFailure": {500},
    "SerializationException": {400},
    "ThrottlingException": {400, 429},
    "TooManyRequestsException": {429},
    "UnknownOperationException": {400, 404},
    "UnrecognizedClientException": {400, 403},
}


def watch(monkeypatch) -> list[str]:
    """Check all responses of Batch, EMR, EMR Serverless and EMR on EKS from now on; return where problems are added.

    Also successful ones of moto's services with the protocol `json`, such as CloudWatch Logs, EventBridge and Secrets
    Manager. Those of its services with XML have no names that botocore does not know, because it ignores them.
    """
    found: list[str] = []
    ours, motos, refusal = Gate._ours, Gate._moto, Gate._refusal

    def checked(gate, environ, start_response, scope):
        try:
            body, sent = _sent(ours, gate, environ, start_response, scope)
        except ConnectionAbortedError:  # planned
            raise
        except Exception as error:
            found.append(f"{scope.service}: {error!r}")
            raise
        try:
            target = {"X-Amz-Target": environ.get("HTTP_X_AMZ_TARGET", "")}
            path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
            api = gate._apis[scope.service]
            operation = api.read(environ["REQUEST_METHOD"], path, query, target, scope.region).operation
        except AwsError:
            operation = None
        service = MODELS.get(scope.service, scope.service)
        try:
            wrong = problems(service, operation, body=body, **sent)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # not the JSON of the protocol
            wrong = [f"{sent} {body!r:.300}: {error!r}"]
        found.extend(f"{service} {operation}: {text}" for text in wrong)
        return [body]

    def moto_checked(gate, environ, start_response, scope):
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if not operation:
            return motos(gate, environ, start_response, scope)
        body, sent = _sent(motos, gate, environ, start_response, scope)
        if sent["status"] == 200:
            shape = load(scope.service).operation_model(operation).output_shape
            content = json.loads(body or b"{}")
            wrong = () if shape is None else list(mismatches(shape, content)) or list(violations(shape, content))
            found.extend(f"moto's {scope.service} {operation}: {text}" for text in wrong)
        return [body]

    def checked_refusal(gate, scope):
        reply = refusal(gate, scope)
        if scope is not None and scope.service in gate._apis:
            service, headers = MODELS.get(scope.service, scope.service), {k.lower(): v for k, v in reply.headers}
            found.extend(f"{service}: {text}" for text in problems(service, None, reply.status, headers, reply.body))
        return reply

    monkeypatch.setattr(Gate, "_refusal", checked_refusal)
    monkeypatch.setattr(Gate, "_ours", checked)
    monkeypatch.setattr(Gate, "_moto", moto_checked)
    return found


def _sent(serve, gate, environ, start_response, scope) -> tuple[bytes, dict[str, Any]]:
    sent: dict[str, Any] = {}

    def note(status, headers):
        sent.update(status=int(status.split()[0]), headers={name.lower(): value for name, value in headers})
        return start_response(status, headers)

    return b"".join(serve(gate, environ, note, scope)), sent


def problems(service: str, operation: str | None, status: int, headers: dict[str, str], body: bytes) -> list[str]:
    """Return where a response is not one of this operation. Without an operation, it must be a common error."""
    model = load(service)
    json_rpc = model.metadata["protocol"] == "json"
    kind = f"application/x-amz-json-{model.metadata['jsonVersion']}" if json_rpc else "application/json"
    found = [] if headers["content-type"] == kind else [f"the content type is {headers['content-type']}"]
    content = json.loads(body)
    if status != 200:
        return found + _error_problems(service, operation, status, headers.get("x-amzn-errortype"), content)
    shape = model.operation_model(operation).output_shape if operation else None
    if shape is None:
        return found + ([] if content == {} else [f"there is no output, but {content}"])
    return found + (list(mismatches(shape, content)) or list(violations(shape, content)))


def _error_problems(
    service: str, operation: str | None, status: int, header: str | None, content: dict[str, Any]
) -> list[str]:
    model = load(service)
    code = content.pop("__type", None) if model.metadata["protocol"] == "json" else header
    if BROKEN in str(content):
        return [str(content)]
    errors = model.operation_model(operation).error_shapes if operation else []
    shape = next((each for each in errors if each.name == code), None)
    if shape is not None and shape.members:
        wanted = shape.metadata.get("error", {}).get("httpStatusCode", status)
        wrong = [] if wanted == status else [f"the status of {code} is {status}"]
        return wrong + [f"{code}: {text}" for text in [*mismatches(shape, content), *violations(shape, content)]]
    # EMR's model has no ValidationException and no message of InternalServerError
    others = {**COMMON, "ValidationException": {400}} if service == "emr" else COMMON
    if shape is None and status not in others.get(code, ()):
        return [f"{code} ({status}) is no error of the operation: {content}"]
    return [] if content.keys() == {"message"} else [f"{code} has {sorted(content)}"]
