"""AWS's JSON protocols, based on botocore's service models: parse and check requests, check and write responses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.loaders
import botocore.model
import botocore.validate

from airflow_batchemr.local.constraints import mismatches, violations

__all__ = ["Api", "AwsError", "Call", "Reply"]


class AwsError(Exception):
    """An error response of AWS: code, message, HTTP status, and other members of the error's structure."""

    def __init__(self, code: str, message: str, status: int = 400, members: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}


@dataclass(frozen=True)
class Reply:
    """An HTTP response."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Call:
    """A request: name of the operation, and its parameters as in the model, except that timestamps are numbers."""

    operation: str
    params: dict[str, Any] = field(default_factory=dict)
    region: str = "us-east-1"


Operation = Callable[[Call], Mapping[str, Any]]


class Api:
    """A service: parses a request according to the model, calls the function of the operation, and writes the response.

    Args:
        service: Botocore's name of the service.
        operations: Functions by operation name.
        invalid: Error code of the service for invalid parameters.
    """

    def __init__(self, service: str, operations: Mapping[str, Operation], invalid: str) -> None:
        self.model = load(service)
        self.operations = operations
        self.invalid = invalid
        self.json_rpc = self.model.metadata["protocol"] == "json"
        self._routes = [] if self.json_rpc else list(_routes(self.model))

    def read(self, method: str, path: str, query: str, headers: Mapping[str, str], region: str) -> Call:
        """Return the operation of a request with the parameters in its URL. `fill` adds those in the body.

        Raises:
            AwsError: No operation of this service has that name, or that method and path.
        """
        if self.json_rpc:
            name = headers.get("X-Amz-Target", "").rpartition(".")[2]
            if name in self.model.operation_names:
                return Call(name, {}, region)
            raise self._unknown(f"no operation {name!r}")
        for route_method, pattern, name in self._routes:
            match = pattern.fullmatch(path)
            if method == route_method and match:
                operation = self.model.operation_model(name)
                params = {**_path_params(operation, match), **_query_params(operation, query)}
                return Call(name, params, region)
        raise self._unknown(f"no operation for {method} {path}")

    def _unknown(self, message: str) -> AwsError:
        # The status is that of the protocols' specification for rest-json, and what AWS's JSON services answer
        return AwsError("UnknownOperationException", message, 400 if self.json_rpc else 404)

    def fill(self, call: Call, body: bytes) -> Call:
        """Return the call with the parameters in the body, checked against the model.

        Raises:
            AwsError: The body is not a JSON object, or does not match the operation's input.
        """
        try:
            content = json.loads(body) if body.strip() else {}
        except ValueError as error:
            raise AwsError("SerializationException", f"the body is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise AwsError("SerializationException", "the body is no JSON object")
        params = {**content, **call.params}
        shape = self.model.operation_model(call.operation).input_shape
        if shape is not None:
            report = botocore.validate.ParamValidator().validate(params, shape)
            if report.has_errors():
                raise AwsError(self.invalid, f"Error executing request, Exception : {report.generate_report()}")
            # AWS accepts empty tags, which the amazon provider's BatchOperator sends by default
            given = {name: value for name, value in params.items() if name != "tags" or value}
            if found := list(violations(shape, given)):
                detected = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
                raise AwsError(self.invalid, f"{detected}: {'; '.join(found)}")
        return Call(call.operation, params, call.region)

    def run(self, call: Call) -> Reply:
        """Execute the call.

        Raises:
            AwsError: The local AWS does not serve the operation: the error is that for one that AWS does not have.
        """
        function = self.operations.get(call.operation)
        if function is None:
            raise self._unknown(f"{call.operation} is not served by the local AWS")
        return self.answer(call.operation, function(call))

    def answer(self, operation: str, result: Mapping[str, Any]) -> Reply:
        """Write a response, checked against the model to find mistakes of the local AWS.

        Raises:
            TypeError: The response does not match the operation's output.
        """
        body = json.dumps(result, default=_plain).encode()
        if problems := self.problems(operation, json.loads(body)):
            raise TypeError(f"the local AWS's answer to {operation} is invalid: {'; '.join(problems[:10])}")
        return Reply(200, body, (("Content-Type", self._content_type()),))

    def problems(self, operation: str, content: Any) -> list[str]:
        """Return where the parsed JSON of a successful response does not match the operation's output."""
        shape = self.model.operation_model(operation).output_shape
        if shape is None:
            return [] if content == {} else [f"{operation} has no output"]
        return list(mismatches(shape, content)) or list(violations(shape, content))

    def failure(self, operation: str) -> str:
        """Return the code of an internal failure of an operation."""
        errors = self.model.operation_model(operation).error_shapes
        return next((each.name for each in errors if each.name.startswith(("Internal", "Server"))), "InternalFailure")

    def error(self, error: AwsError) -> Reply:
        """Return an error in the protocol of the service.

        The code is in a header (rest-json) or in the body (json). An error of the model has its name of the message.
        """
        shape = next((each for each in self.model.error_shapes if each.name == error.code), None)
        name = "Message" if "Message" in getattr(shape, "members", ()) else "message"
        # Modeled messages have at most 1024 characters
        body = {name: error.message[:1024], **error.members}
        headers = [("Content-Type", self._content_type())]
        if self.json_rpc:
            body = {"__type": error.code, **body}
        else:
            headers.append(("x-amzn-ErrorType", error.code))
        return Reply(error.status, json.dumps(body).encode(), tuple(headers))

    def _content_type(self) -> str:
        return f"application/x-amz-json-{self.model.metadata['jsonVersion']}" if self.json_rpc else "application/json"


@lru_cache
def load(service: str) -> botocore.model.ServiceModel:
    """Return botocore's model of a service."""
    model = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(model, service)


def _routes(model: botocore.model.ServiceModel) -> list[tuple[str, re.Pattern[str], str]]:
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        # Only ARNs contain slashes, which arrive decoded
        pattern = re.sub(
            r"\\{(\w+)\\}",
            lambda found: f"(?P<{found[1]}>{'.+' if found[1].endswith('Arn') else '[^/]+'})",
            re.escape(http["requestUri"]),
        )
        routes.append((http["method"], re.compile(pattern), name))
    return routes


def _path_params(operation: botocore.model.OperationModel, match: re.Match[str]) -> dict[str, Any]:
    """Return the input members that are part of the path."""
    given = {key: unquote(value) for key, value in match.groupdict().items()}
    shape = operation.input_shape
    members = shape.members if shape is not None else {}
    return {
        name: given[member.serialization.get("name", name)]
        for name, member in members.items()
        if member.serialization.get("location") == "uri"
    }


def _query_params(operation: botocore.model.OperationModel, query: str) -> dict[str, Any]:
    """Return the input members that are part of the query string."""
    given = parse_qs(query)
    params: dict[str, Any] = {}
    shape = operation.input_shape
    for name, member in (shape.members if shape is not None else {}).items():
        if member.serialization.get("location") == "querystring":
            values = given.get(member.serialization.get("name", name))
            if values:
                params[name] = values if member.type_name == "list" else _converted(member.type_name, values[0])
    return params


def _converted(kind: str, value: str) -> Any:
    """Convert a value of the query string to its type; an invalid one is left for the check against the model."""
    if kind in ("integer", "long") and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


def _plain(value: Any) -> Any:
    """Convert times to seconds since the epoch, as both protocols do; everything else is JSON already."""
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"{value!r} is not JSON")
