"""retryStrategy.evaluateOnExit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["again"]


def again(rules: Iterable[Mapping[str, str]], status_reason: str, reason: str | None, exit_code: int | None) -> bool:
    """Whether a failed attempt is tried again: the first rule whose conditions all hold decides; none holds: yes.

    A condition is the whole text, in either case, or the beginning of one where it ends with `*`.
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
