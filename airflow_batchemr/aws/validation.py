"""Requests: merging the user's raw AWS arguments, and checking against botocore's own service models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from airflow_batchemr.aws.errors import InvalidRequest

if TYPE_CHECKING:
    from botocore.model import Shape

#: The models have Java's patterns, which write characters above U+FFFF as two surrogates.
_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010ffff"
#: Enums whose values are not case-sensitive (AWS Batch, EvaluateOnExit).
_CASELESS = frozenset({"RetryAction"})


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `above` into `below`: mappings are merged recursively, all other values (including lists) are replaced.

    None removes a value: AWS's requests have no nulls.
    """
    merged = dict(below)
    for name, value in above.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            under = merged.get(name)
            merged[name] = deep_merge(under if isinstance(under, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def check_request(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Check a request against botocore's model: unknown names, missing ones, types, enums, lengths, and patterns.

    Raises:
        InvalidRequest: names every field that is wrong.
    """
    shape = _model(service).operation_model(operation).input_shape
    if shape is None:
        return
    report = ParamValidator().validate(request, shape)
    problems = [report.generate_report()] if report.has_errors() else _limit_problems(request, shape, "")
    if problems:
        raise InvalidRequest(f"{operation}: {'; '.join(' '.join(problem.split()) for problem in problems)}")


def _limit_problems(value: Any, shape: Shape, path: str) -> list[str]:
    """Check enums, lengths and patterns, which botocore leaves to the service: it would refuse them after a claim."""
    limits, members = shape.metadata, getattr(shape, "members", {})
    if isinstance(value, dict):
        inner = [(f"{path}.{name}" if path else name, part, members.get(name)) for name, part in value.items()]
        if shape.type_name == "map":
            inner = [(where, part, shape.value) for where, part, _ in inner]  # type: ignore[attr-defined]
        return [problem for where, part, kind in inner if kind for problem in _limit_problems(part, kind, where)]
    if isinstance(value, list):
        member = shape.member  # type: ignore[attr-defined]
        return [p for number, part in enumerate(value) for p in _limit_problems(part, member, f"{path}[{number}]")]
    if not isinstance(value, str):
        return []
    allowed, most, pattern = limits.get("enum"), limits.get("max"), limits.get("pattern")
    if allowed and value not in allowed and not (shape.name in _CASELESS and value.upper() in allowed):
        return [f"{path}: {value!r} is none of {', '.join(allowed)}"]
    if most is not None and len(value) > most:
        return [f"{path}: at most {most:,} characters, not {len(value):,}"]
    if pattern and not re.fullmatch(pattern.replace(*_SURROGATES), value, re.DOTALL):
        return [f"{path}: {value[:60]!r} does not match {pattern}"]
    return []


@lru_cache(maxsize=4)
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)
