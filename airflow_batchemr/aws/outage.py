"""An AWS that cannot be reached: which failures pass by themselves, and how long to wait for them."""

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

from airflow_batchemr.aws.errors import AwsError, Expired, NotAllowed, Throttled, Unknown, classify
from airflow_batchemr.ledger.errors import CredentialsError, LedgerError, NotAllowedError

#: Seconds to the first new look, and at most between two of the later ones, each about twice as long as the one before.
FIRST, MOST = 15.0, 300.0
#: Seconds after which it is given up: a night's outage of a region is over by then, or a person has to look.
PATIENCE = 6 * 3600.0
#: What a call to AWS raises; the last two where clients are made, as by a role that is assumed.
FAILURES = (AwsError, LedgerError, BotoCoreError, ClientError)
_UNREACHED = (botocore.exceptions.ConnectionError, HTTPClientError, CredentialRetrievalError, MetadataRetrievalError)


def passing(error: Exception) -> bool:
    """Whether one of `FAILURES` may be over later without anybody mending anything.

    Throttling, 5xx, lost connections and credentials that have run out are; what AWS refuses is not. Nor is data that
    has not come yet, which is no outage: that is for Airflow's own retries.
    """
    if isinstance(error, LedgerError):
        return error.retryable
    if isinstance(error, BotoCoreError) and not isinstance(error, _UNREACHED):  # a profile that is not there, …
        return False
    return isinstance(classify(error), Throttled | Unknown)


def stale(error: Exception) -> bool:
    """Whether credentials may be what is wrong: those that have run out, or a key that was exchanged."""
    if isinstance(error, LedgerError):
        return isinstance(error, CredentialsError | NotAllowedError)
    return isinstance(classify(error), Expired | NotAllowed)


def pause(looks: int, *, first: float = FIRST, most: float = MOST) -> float:
    """Seconds to wait after so many looks in vain; shortened at random, so that many tasks do not come back at once."""
    return float(min(most, first * 2 ** min(looks, 20)) * random.uniform(0.75, 1.0))  # noqa: S311 - jitter
