"""Outages of AWS: which failures are temporary, and how long to wait between tries."""

from __future__ import annotations

import random

import botocore.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
)

from airflow_batchemr.aws.errors import AwsError, Expired, NotAllowed, Throttled, UnexpectedAnswer, Unknown, classify
from airflow_batchemr.ledger.errors import (
    BucketMissingError,
    CredentialsError,
    KeyUnusableError,
    LedgerError,
    NotAllowedError,
)

#: What calls to AWS raise; the last two when clients are created, such as by assuming a role.
FAILURES = (AwsError, LedgerError, BotoCoreError, ClientError)
_UNREACHED = (botocore.exceptions.ConnectionError, HTTPClientError, CredentialRetrievalError, MetadataRetrievalError)


def passing(error: Exception) -> bool:
    """Whether one of `FAILURES` is temporary.

    Throttling, 5xx, lost connections and expired credentials are; refused calls, operations that the endpoint does not
    offer and unexpected answers are not. Neither is data that has not arrived yet, which is no outage: Airflow's
    retries handle it.
    """
    if isinstance(error, LedgerError):
        return error.retryable
    if isinstance(error, BotoCoreError) and not isinstance(error, _UNREACHED):  # a profile that does not exist, …
        return False
    kind = classify(error)
    return isinstance(kind, Throttled | Unknown) and kind.transient


def settling(error: Exception) -> bool:
    """Whether the failure may last only minutes: a refusal after a change of IAM, or an answer that a proxy has cut."""
    if isinstance(error, LedgerError):
        return isinstance(error, NotAllowedError | CredentialsError | BucketMissingError | KeyUnusableError)
    return isinstance(error, AwsError | ClientError) and isinstance(classify(error), NotAllowed | UnexpectedAnswer)


def stale(error: Exception) -> bool:
    """Whether the cause may be expired credentials, or a key that was replaced."""
    if isinstance(error, LedgerError):
        return isinstance(error, CredentialsError | NotAllowedError)
    return isinstance(classify(error), Expired | NotAllowed)


def pause(looks: int, *, first: float, longest: float) -> float:
    """Seconds to wait after a number of failed tries, with jitter so that many tasks spread their calls."""
    return float(min(longest, first * 2 ** min(looks, 20)) * random.uniform(0.75, 1.0))  # noqa: S311 - jitter
