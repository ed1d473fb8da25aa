"""Checks of requests, and pages of lists, for both services."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.utils import parse_timestamp

from airflow_batchemr.local.emr.releases import RELEASES
from airflow_batchemr.local.protocol import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

__all__ = ["between", "check_release", "invalid", "page", "spark_defaults"]

#: Default page size.
PAGE = 50
Item = TypeVar("Item")


def invalid(message: str) -> AwsError:
    """Return a ValidationException."""
    return AwsError("ValidationException", message)


def check_release(label: str, pattern: str = r"(emr-\d+\.\d+\.\d+)") -> None:
    """Check a release label.

    Args:
        label: Requested label.
        pattern: Pattern of the service's labels. Its group is the label of EMR on EC2.

    Raises:
        AwsError: There is no such release.
    """
    match = re.fullmatch(pattern, label)
    if match is None or match[1] not in RELEASES:
        raise invalid(f"Release label {label} is not supported")


def spark_defaults(overrides: Mapping[str, Any]) -> dict[str, str]:
    """Return the Spark properties of `configurationOverrides`."""
    return {
        name: value
        for entry in overrides.get("applicationConfiguration", [])
        if entry["classification"] == "spark-defaults"
        for name, value in entry.get("properties", {}).items()
    }


def between(params: Mapping[str, Any], after: str, before: str) -> Callable[[datetime], bool]:
    """Return whether a time is between two optional members of a request."""
    start, end = (parse_timestamp(params[name]) if name in params else None for name in (after, before))
    return lambda when: (start is None or when >= start) and (end is None or when <= end)


def page(found: Sequence[Item], numbers: Sequence[int], params: Mapping[str, Any]) -> tuple[list[Item], dict[str, str]]:
    """Return a page of a list, and the `nextToken` if there are more entries.

    Args:
        found: All entries, newest first.
        numbers: A descending number for each entry, which does not change when entries are added or removed.
        params: Request.

    Raises:
        AwsError: `nextToken` or `maxResults` is invalid.
    """
    token, limit = params.get("nextToken"), params.get("maxResults", PAGE)
    if token is not None and not token.isdecimal():
        raise invalid("nextToken is not valid")
    if limit < 1:
        raise invalid(f"maxResults must be at least 1, not {limit}")
    rest = [each for each, number in zip(found, numbers, strict=True) if token is None or number < int(token)]
    left = [number for number in numbers if token is None or number < int(token)]
    more = {"nextToken": str(left[limit - 1])} if len(rest) > limit else {}
    return rest[:limit], more
