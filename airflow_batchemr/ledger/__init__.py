"""The ledger: S3 objects that record the submissions and successes of each job (intents, handles, results, markers)."""

from __future__ import annotations

from airflow_batchemr.core.lease import CLAIM_LEASE
from airflow_batchemr.ledger.errors import (
    BucketMissingError,
    ConditionalWritesError,
    CredentialsError,
    DocumentDiffersError,
    KeyUnusableError,
    LedgerCorruptError,
    LedgerError,
    LedgerRefusedError,
    LedgerTooNewError,
    LedgerUnavailableError,
    NameInvalidError,
    NotAllowedError,
    ReadLimitError,
    StateUriInvalidError,
    StateUriMissingError,
    TooManyKeysError,
)
from airflow_batchemr.ledger.job import JobLedger
from airflow_batchemr.ledger.ledger import Ledger
from airflow_batchemr.ledger.records import Failure, Handle, HandleJob, Intent, Marker, Request, Result, StopRequest
from airflow_batchemr.ledger.state import LedgerState, Submission

__all__ = [
    "CLAIM_LEASE",
    "BucketMissingError",
    "ConditionalWritesError",
    "CredentialsError",
    "DocumentDiffersError",
    "Failure",
    "Handle",
    "HandleJob",
    "Intent",
    "JobLedger",
    "KeyUnusableError",
    "Ledger",
    "LedgerCorruptError",
    "LedgerError",
    "LedgerRefusedError",
    "LedgerState",
    "LedgerTooNewError",
    "LedgerUnavailableError",
    "Marker",
    "NameInvalidError",
    "NotAllowedError",
    "ReadLimitError",
    "Request",
    "Result",
    "StateUriInvalidError",
    "StateUriMissingError",
    "StopRequest",
    "Submission",
    "TooManyKeysError",
]
