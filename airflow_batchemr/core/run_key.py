"""Run key: the permanent name of one run of a pipeline."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone

MAX_LENGTH = 120
"""Maximum length of a run key in characters, so that it fits into S3 keys, file names and tags together with others."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*\Z")
# Forms that `run_key` generates: dates, and names that end in a digest. Names that look like these are not used as is.
_GENERATED = re.compile(r"(\d{4,}-\d\d-\d\dT\d{6}(\.\d{6})?Z|.*-[0-9a-f]{10})\Z", re.DOTALL)


def run_key(logical_date: datetime | None, partition_key: str | None, run_id: str) -> str:
    """Return the run key: derived from the logical date, else from the partition key, else from the run_id.

    A date becomes ``2026-11-20T000000Z`` in UTC, with microseconds if it has any. Other names are used unchanged if
    they are safe in S3 keys, URIs, file names and shell commands. Otherwise, unsafe characters become ``-`` and a
    digest of the whole name is appended, so that different names have different run keys.

    Raises:
        ValueError: The date has no time zone, or all three are missing.
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
        raise ValueError("the run has neither a logical date nor a partition key nor a run_id")
    return _safe("run", run_id)


def _safe(kind: str, name: str) -> str:
    if len(name) <= MAX_LENGTH and _SAFE.match(name) and not _GENERATED.match(name):
        return name
    digest = hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:10]
    readable = re.sub(r"[^A-Za-z0-9_.=]+", "-", name).strip("-.=") or kind
    return f"{readable[: MAX_LENGTH - 11]}-{digest}"
