"""EMR release labels and the features of clusters with a release."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"(emr-(\d+)\.(\d+)(?:\.\d+)?)")


def base(label: str) -> str:
    """Return the release of a label. EMR on EKS has labels such as emr-7.5.0-latest and emr-7.5.0-20250101."""
    found = _NUMBERS.match(label)
    return found[1] if found else label


def supports_idle_timeout(label: str) -> bool:
    """Return whether the release supports an auto-termination policy: emr-5.30.0 and later, emr-6.1.0 and later."""
    numbers = _numbers(label)
    return numbers is None or numbers >= (6, 1) or (5, 30) <= numbers < (6, 0)


def is_before(label: str, major: int, minor: int) -> bool:
    """Return whether the release is older than another one; False if the label has no numbers."""
    numbers = _numbers(label)
    return numbers is not None and numbers < (major, minor)


def supports_docker(label: str) -> bool:
    """Return whether YARN of the release can run Docker containers: emr-6.0.0 and later."""
    numbers = _numbers(label)
    return numbers is None or numbers >= (6, 0)


def _numbers(label: str) -> tuple[int, int] | None:
    found = _NUMBERS.match(label)
    return (int(found[2]), int(found[3])) if found else None
