"""Durations and sizes as people write them, as the whole numbers that AWS and Airflow take."""

from __future__ import annotations

import math
import re

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(sec|s|min|m|h|d|w)\s*", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

MEBIBYTE = 1024**2

#: No duration that AWS or Airflow takes is longer than this (10 years, in seconds).
MAX_SECONDS = 315_360_000
#: No size that AWS takes is larger than this (1 PiB, in bytes).
MAX_BYTES = 1024**5


def seconds(value: str | float) -> int:
    """A duration in whole seconds.

    Args:
        value: seconds as a number, or text: ``90s``, ``15m``, ``2h``, ``1h30m``, ``1d``, ``1w``.

    Raises:
        ValueError: not a duration, negative, a fraction of a second, or above ten years.
    """
    if isinstance(value, bool):
        raise ValueError(f"expected a duration like 90s, 15m or 2h, not {str(value).lower()}")  # noqa: TRY004 - a value
    total = _seconds_of_text(value) if isinstance(value, str) else float(value)
    if not math.isfinite(total) or total < 0 or total > MAX_SECONDS:
        raise ValueError(f"a duration must lie between 0 and 10 years, not {value}")
    if total != int(total):
        raise ValueError(f"a duration must be whole seconds, not {value}")
    return int(total)


def _seconds_of_text(text: str) -> float:
    if re.fullmatch(r"\s*\d{1,12}\s*", text):
        return float(text)
    total, at = 0.0, 0
    while at < len(text):
        part = _DURATION.match(text, at)
        if not part:
            raise ValueError(f"expected a duration like 90s, 15m or 2h, not {text!r}")
        total += float(part[1]) * _SECONDS[part[2].lower()]
        at = part.end()
    if not at:
        raise ValueError("expected a duration like 90s, 15m or 2h, not an empty text")
    return total


def bytes_(value: str | float) -> int:
    """A size in bytes.

    Args:
        value: bytes as a number, or text: ``8GiB``, ``512MiB``, ``8G`` (binary, as Docker and the JVM read it),
            ``8GB`` (decimal, 10^9).

    Raises:
        ValueError: not a size, negative, a fraction of a byte, or above 1 PiB.
    """
    if isinstance(value, bool):
        raise ValueError(f"expected a size like 8GiB or 512MiB, not {str(value).lower()}")  # noqa: TRY004 - a value
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if not match or (match[3] and not match[2]):
            raise ValueError(f"expected a size like 8GiB or 512MiB, not {value!r}")
        base = 1000 if match[4] and not match[3] else 1024
        total = float(match[1]) * base ** _POWER[match[2].lower()]
    else:
        total = float(value)
    if not math.isfinite(total) or total < 0 or total > MAX_BYTES:
        raise ValueError(f"a size must lie between 0 and 1 PiB, not {value}")
    if total != int(total):
        raise ValueError(f"a size must be whole bytes, not {value}")
    return int(total)


def mebibytes(value: str | float) -> int:
    """A size in MiB, the unit of AWS Batch and of Spark.

    Args:
        value: MiB as a number, or text: ``8GiB``, ``512MiB``, ``8g``.

    Raises:
        ValueError: not a size, or not a whole number of MiB (``8GB`` is 7629.4 MiB: ``8GiB`` was meant).
    """
    if isinstance(value, str) and not re.fullmatch(r"\s*\d{1,12}\s*", value):
        size = bytes_(value)
    else:
        size = bytes_(float(value) * MEBIBYTE if not isinstance(value, bool) else value)
    if size % MEBIBYTE:
        binary = re.sub(r"([kmgt])b", lambda unit: f"{unit[1].upper()}iB", str(value), flags=re.IGNORECASE)
        raise ValueError(f"{value} is {size / MEBIBYTE:.1f} MiB, and AWS takes whole MiB; {binary} was meant?")
    return size // MEBIBYTE
