"""`attempts` and `retry_on` as Batch's retry strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What is retried where the job says nothing: only a host that AWS took away, which says nothing about the program.
DEFAULT_RETRY_ON = ("spot",)
DEFAULT_ATTEMPTS = 3
#: AWS: up to five rules in evaluateOnExit, 1 to 10 attempts.
MAX_RULES, MAX_ATTEMPTS = 5, 10
_RULES = {
    "spot": {"onStatusReason": "Host EC2*", "action": "RETRY"},
    "oom": {"onReason": "OutOfMemory*", "action": "RETRY"},
    "pull": {"onReason": "CannotPullContainer*", "action": "RETRY"},
}
#: What no rule matches is retried by Batch; this one, at the end, says no.
_REST = {"onReason": "*", "action": "EXIT"}


def retry_strategy(attempts: int | None, retry_on: Sequence[str] | None) -> dict[str, Any]:
    """The retryStrategy of a job.

    Args:
        attempts: tries of an index, 1..10; 3 if not given, of which only what `retry_on` names makes use.
        retry_on: `spot` (the host was reclaimed), `oom` (killed for its memory), `pull` (the image could not be
            fetched), `exit:75` (that exit code; `exit:1*` and `exit:*` are patterns), `any`. `[spot]` if not given.

    Raises:
        InvalidRequest: names the field and the limit.
    """
    tries = DEFAULT_ATTEMPTS if attempts is None else attempts
    if not 1 <= tries <= MAX_ATTEMPTS:
        raise InvalidRequest(f"attempts: AWS Batch takes 1 to {MAX_ATTEMPTS}, not {tries}")
    names = list(DEFAULT_RETRY_ON if retry_on is None else retry_on)
    if tries == 1 or "any" in names:
        return {"attempts": tries}
    rules = [_rule(name) for name in names]
    if len(rules) + 1 > MAX_RULES:
        raise InvalidRequest(
            f"retry_on: AWS Batch takes {MAX_RULES} rules, one of which says that the rest is not retried; "
            f"{len(rules)} names are {len(rules) + 1 - MAX_RULES} too many. Codes may share a pattern: exit:7*"
        )
    return {"attempts": tries, "evaluateOnExit": [*rules, dict(_REST)]}


def _rule(name: str) -> dict[str, str]:
    if name in _RULES:
        return dict(_RULES[name])
    kind, _, code = name.partition(":")
    if kind == "exit" and code and code.rstrip("*").isdigit() | (code == "*") and code.count("*") <= 1:
        return {"onExitCode": code, "action": "RETRY"}
    raise InvalidRequest(f"retry_on: {name!r} is none of spot, oom, pull, any, or exit:CODE such as exit:75 or exit:1*")
