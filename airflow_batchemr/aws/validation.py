"""Requests: merging the user's raw AWS arguments, and checking against botocore's own service models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from airflow_batchemr.aws.errors import InvalidRequest

if TYPE_CHECKING:
    from botocore.model import Shape


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `above` into `below`: mappings are merged recursively, all other values (including lists) are replaced."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = deep_merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def check_request(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Check a request against botocore's model: unknown names, missing ones, types, and values of enums.

    Raises:
        InvalidRequest: names every field that is wrong.
    """
    shape = _model(service).operation_model(operation).input_shape
    if shape is None:
        return
    report = ParamValidator().validate(request, shape)
    problems = [report.generate_report()] if report.has_errors() else _enum_problems(request, shape, "")
    if problems:
        raise InvalidRequest(f"{operation}: {'; '.join(' '.join(problem.split()) for problem in problems)}")


def _enum_problems(value: Any, shape: Shape, path: str) -> list[str]:
    """Check enums, which botocore leaves to the service: the service would refuse them only after a claim."""
    if shape.type_name == "structure" and isinstance(value, dict):
        members = shape.members  # type: ignore[attr-defined]
        return [
            problem
            for name, part in value.items()
            if name in members
            for problem in _enum_problems(part, members[name], f"{path}.{name}" if path else name)
        ]
    if shape.type_name == "list" and isinstance(value, list):
        member = shape.member  # type: ignore[attr-defined]
        return [p for number, part in enumerate(value) for p in _enum_problems(part, member, f"{path}[{number}]")]
    allowed = getattr(shape, "enum", None)
    if shape.type_name == "string" and allowed and value not in allowed:
        return [f"{path}: {value!r} is none of {', '.join(allowed)}"]
    return []


@lru_cache(maxsize=4)
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)
