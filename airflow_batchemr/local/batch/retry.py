"""Implementation of retryStrategy.evaluateOnExit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["again"]


def again(rules: Iterable[Mapping[str, str]], status_reason: str, reason: str | None, exit_code: int | None) -> bool:
    """Return whether a failed attempt is retried. The first matching rule decides; without a match, it is retried.

    All conditions of a rule must match. A condition is a case-insensitive text, or a prefix if it ends with `*`.
    """
    given = {
        "onStatusReason": status_reason,
        "onReason": reason or "",
        "onExitCode": "" if exit_code is None else str(exit_code),
    }
    for rule in rules:
        conditions = {key: pattern for key, pattern in rule.items() if key in given}
        if conditions and all(_matches(pattern, given[key]) for key, pattern in conditions.items()):
            return rule["action"].upper() == "RETRY"
    return True


def _matches(pattern: str, text: str) -> bool:
    pattern, text = pattern.lower(), text.lower()
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
