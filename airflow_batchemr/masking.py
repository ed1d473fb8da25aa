"""Airflow's rules about secrets, applied to text from AWS that Airflow itself does not mask."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow.sdk._shared.secrets_masker import should_hide_value_for_key
from airflow.sdk.log import mask_secret

from airflow_batchemr.core.secret_values import secret_values
from airflow_batchemr.ledger import Submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_batchemr.ledger import JobLedger


@lru_cache(maxsize=4096)
def secret_name(name: str) -> bool:
    """Return whether Airflow masks values with this name; see `[core] sensitive_var_conn_names`."""
    return bool(should_hide_value_for_key(name))  # type: ignore[no-untyped-call]


def known_secrets(submissions: Sequence[Submission]) -> frozenset[str]:
    """Return the secret values in the requests of submissions, and in AWS's descriptions of what has ended."""
    intents = [one.intent for one in submissions if one.intent is not None]
    results = [one.result for one in submissions if one.result is not None]
    requests = [one.request for intent in intents for one in intent.requests]
    return secret_values([requests, *([one.details, one.steps] for one in results)], secret_name)


def recorded_secrets(ledger: JobLedger, numbers: Iterable[int]) -> frozenset[str]:
    """Return the secret values in the requests of these submissions: 1 GetObject each. Blocking.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return known_secrets([Submission(number, None, intent=ledger.intent(number)) for number in numbers])


def submission_secrets(ledger: JobLedger, submissions: Sequence[Submission]) -> frozenset[str]:
    """Return the secret values of submissions, as `known_secrets`. Requests that have not been read are read now.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    unread = [one.number for one in submissions if one.intent is None]
    return known_secrets(submissions) | recorded_secrets(ledger, unread)


def connection_secrets(connection: Any) -> frozenset[str]:
    """Return the password of a connection, and the secret values in its extra."""
    named = {"password": connection.password or "", "extra": connection.extra_dejson}
    return secret_values(named, secret_name)


def mask(secrets: Iterable[str]) -> None:
    """Mask the values in everything that this task logs."""
    if values := sorted(secrets):
        mask_secret([*values])
