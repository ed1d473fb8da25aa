"""The name of one run of a pipeline, the same for ever."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone

MAX_LENGTH = 120
"""Longest run key, so that it fits into S3 keys, file names and tags with room for more."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*\Z")
# What `run_key` makes itself: dates, and names with a digest at their end. A name of the user's must not look so.
_MADE = re.compile(r"(\d{4,}-\d\d-\d\dT\d{6}(\.\d{6})?Z|.*-[0-9a-f]{10})\Z", re.DOTALL)


def run_key(logical_date: datetime | None, partition_key: str | None, run_id: str) -> str:
    """Name a run by its logical date, else its partition key, else its run_id.

    A date becomes ``2026-11-20T000000Z`` (UTC; with microseconds where it has any). Other names stay as they are where
    they are safe in S3 keys, URIs, file names and shell words; else what is not safe becomes ``-`` and a digest of the
    whole follows, so that different names stay different.

    Raises:
        ValueError: the date has no time zone, or nothing names the run.
    """
    if logical_date is not None:
        if logical_date.tzinfo is None:
            raise ValueError(f"logical date {logical_date.isoformat()} has no time zone")
        moment = logical_date.astimezone(timezone.utc)
        fraction = f".{moment.microsecond:06d}" if moment.microsecond else ""
        return f"{moment:%Y-%m-%dT%H%M%S}{fraction}Z"
    if partition_key:
        return _safe("partition", partition_key)
    if not run_id:
        raise ValueError("a run has a logical date, a partition key or a run_id; this one has none of them")
    return _safe("run", run_id)


def _safe(kind: str, name: str) -> str:
    if len(name) <= MAX_LENGTH and _SAFE.match(name) and not _MADE.match(name):
        return name
    digest = hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:10]
    readable = re.sub(r"[^A-Za-z0-9_.=]+", "-", name).strip("-.=") or kind
    return f"{readable[: MAX_LENGTH - 11]}-{digest}"
