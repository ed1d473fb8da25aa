"""Release labels of EMR, and what clusters of a release can do."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"(emr-(\d+)\.(\d+)(?:\.\d+)?)")


def base(label: str) -> str:
    """The release that a label stands for: EMR on EKS has labels like emr-7.5.0-latest and emr-7.5.0-20250101."""
    found = _NUMBERS.match(label)
    return found[1] if found else label


def ends_itself(label: str) -> bool:
    """Whether clusters of the release take an idle-timeout policy: emr-5.30.0 and later, emr-6.1.0 and later."""
    numbers = _numbers(label)
    return numbers is None or numbers >= (6, 1) or (5, 30) <= numbers < (6, 0)


def runs_docker(label: str) -> bool:
    """Whether YARN runs containers: emr-6.0.0 and later."""
    numbers = _numbers(label)
    return numbers is None or numbers >= (6, 0)


def _numbers(label: str) -> tuple[int, int] | None:
    found = _NUMBERS.match(label)
    return (int(found[2]), int(found[3])) if found else None
