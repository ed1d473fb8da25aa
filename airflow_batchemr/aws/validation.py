"""Requests: merging the user's raw AWS arguments, and checking against botocore's own service models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.core.service_models import wrong_in_request


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

    botocore itself leaves enums, lengths and patterns to the service, which would refuse them only after a claim.

    Raises:
        InvalidRequest: names every field that is wrong.
    """
    problems = []
    for wrong in wrong_in_request(service, operation, request):
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in wrong.keys)
        shown = wrong.message.startswith(("expected", "must")) and isinstance(wrong.value, str | int | float)
        got = f", not {str(wrong.value)[:60]!r}" if shown else ""
        problems.append(f"{path}: {wrong.message}{got}".lstrip(".: "))
    if problems:
        raise InvalidRequest(f"{operation}: {'; '.join(problems)}")
