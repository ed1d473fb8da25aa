"""`attempts` and `retry_on` as Batch's retry strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

#: By default only the loss of the host is retried, which is no fault of the program.
DEFAULT_RETRY_ON = ("spot",)
DEFAULT_ATTEMPTS = 3
_RULES = {
    "spot": {"onStatusReason": "Host EC2*", "action": "RETRY"},
    "oom": {"onReason": "OutOfMemory*", "action": "RETRY"},
    "pull": {"onReason": "CannotPullContainer*", "action": "RETRY"},
}
#: Batch retries what matches no rule, so the last rule matches everything else.
_REST = {"onReason": "*", "action": "EXIT"}


def retry_strategy(attempts: int | None, retry_on: Sequence[str] | None) -> dict[str, Any]:
    """Build the retryStrategy of a SubmitJob.

    Args:
        attempts: attempts of an index, 1 to 10; 3 if None.
        retry_on: causes of another attempt, as the `Batch` model accepts them: `spot`, `oom`, `pull`, `exit:75`,
            `exit:1*`; `[spot]` if None.
    """
    tries = DEFAULT_ATTEMPTS if attempts is None else attempts
    if tries == 1:
        return {"attempts": tries}
    rules = [_rule(cause) for cause in (DEFAULT_RETRY_ON if retry_on is None else retry_on)]
    return {"attempts": tries, "evaluateOnExit": [*rules, dict(_REST)]}


def _rule(cause: str) -> dict[str, str]:
    if cause in _RULES:
        return dict(_RULES[cause])
    return {"onExitCode": cause.removeprefix("exit:"), "action": "RETRY"}
