"""Parse human-readable durations and sizes into the integers that AWS and Airflow expect."""

from __future__ import annotations

import math
import re

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(sec|s|min|m|h|d|w)\s*", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

MEBIBYTE = 1024**2

#: Maximum duration in seconds (10 years); AWS and Airflow accept none that is longer.
MAX_SECONDS = 315_360_000
#: Maximum size in bytes (1 PiB); AWS accepts none that is larger.
MAX_BYTES = 1024**5


def seconds(value: str | float) -> int:
    """Return a duration in whole seconds.

    Args:
        value: Seconds as a number, or text such as ``90s``, ``15m``, ``2h``, ``1h30m``, ``1d`` or ``1w``.

    Raises:
        ValueError: The value is not a duration, is negative, is not whole seconds, or exceeds ten years.
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
    total, position = 0.0, 0
    while position < len(text):
        part = _DURATION.match(text, position)
        if not part:
            raise ValueError(f"expected a duration like 90s, 15m or 2h, not {text!r}")
        total += float(part[1]) * _SECONDS[part[2].lower()]
        position = part.end()
    if not position:
        raise ValueError("expected a duration like 90s, 15m or 2h, not an empty text")
    return total


def bytes_(value: str | float) -> int:
    """Return a size in bytes.

    Args:
        value: Bytes as a number, or text such as ``8GiB``, ``512MiB``, ``8G`` (binary, as in Docker and the JVM) or
            ``8GB`` (decimal, 8·10^9).

    Raises:
        ValueError: The value is not a size, is negative, is not whole bytes, or exceeds 1 PiB.
    """
    if isinstance(value, bool):
        raise ValueError(f"expected a size like 8GiB or 512MiB, not {str(value).lower()}")  # noqa: TRY004 - a value
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
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
    """Return a size in MiB, the unit of AWS Batch and Spark.

    Args:
        value: MiB as a number, or text such as ``8GiB``, ``512MiB`` or ``8g``.

    Raises:
        ValueError: The value is not a size, or not a whole number of MiB (``8GB`` is 7629.4 MiB; write ``8GiB``).
    """
    if isinstance(value, str) and not re.fullmatch(r"\s*\d{1,12}\s*", value):
        size = bytes_(value)
    else:
        size = bytes_(float(value) * MEBIBYTE if not isinstance(value, bool) else value)
    if size % MEBIBYTE:
        binary = re.sub(r"([kmgt])b", lambda unit: f"{unit[1].upper()}iB", str(value), flags=re.IGNORECASE)
        raise ValueError(f"{value} is {size / MEBIBYTE:.1f} MiB, but AWS requires whole MiB; did you mean {binary}?")
    return size // MEBIBYTE
