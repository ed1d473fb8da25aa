"""Errors of the state URI and the ledger. Each message says what is wrong and how to fix it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.core.foreign_text import clean, clean_line

if TYPE_CHECKING:
    from collections.abc import Mapping

HOW_TO_CONFIGURE = (
    "set `state: s3://bucket/prefix` in the pipeline file (or its `defaults`), "
    "or [batchemr] state in Airflow's configuration (AIRFLOW__BATCHEMR__STATE)"
)

MAX_NAME = 900
"""Maximum length of a quoted Dag id, run key or job, in bytes. S3 allows 1,024 for a whole key."""

# Characters of foreign text that an error shows
_SHOWN = 300
# IAM actions of S3 operations whose names differ
_ACTIONS = {"ListObjectsV2": "s3:ListBucket", "HeadBucket": "s3:ListBucket", "HeadObject": "s3:GetObject"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"}
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidClientTokenId",
}
_EXPIRED = {"ExpiredToken", "TokenRefreshRequired"}
# What S3 calls on the key with which an object is encrypted (user guide, "Using server-side encryption with AWS KMS")
_KEY_ACTIONS = {"PutObject": "kms:GenerateDataKey", "GetObject": "kms:Decrypt"}
# AWS KMS's answer, passed on by S3, if the key is not allowed: its message names the action, or only the key
_KEY_DENIED = re.compile(r"not authorized to perform: (kms:\w+)|The ciphertext refers to a customer master key")
_KEY_ARN = re.compile(r"arn:[\w-]+:kms:[\w:/-]+")
_KEY_NEEDS = "Writing encrypted objects needs kms:GenerateDataKey, and reading them kms:Decrypt"
# 4xx errors of S3 after which the same call may succeed later
_TRANSIENT = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "KMS.ThrottlingException",
}


class LedgerError(Exception):
    """The ledger cannot be read or written. The message says how to fix it, and is safe to display."""

    retryable = False
    """Whether a later retry may succeed without any fix."""

    def __init__(self, message: str = "") -> None:
        super().__init__(clean(message))


class StateUriMissingError(LedgerError):
    """No state URI is configured."""

    def __init__(self) -> None:
        super().__init__(f"no state URI is configured, so the ledger has no location: {HOW_TO_CONFIGURE}")


class StateUriInvalidError(LedgerError):
    """The state URI is not a valid S3 URI."""

    def __init__(self, uri: str, problem: str) -> None:
        super().__init__(f"state URI {uri!r}: {problem}; {HOW_TO_CONFIGURE}")


class BucketMissingError(LedgerError):
    """The bucket of the state URI does not exist."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            f"the state bucket {bucket!r} does not exist: create it (`aws s3 mb s3://{bucket}`), "
            f"or {HOW_TO_CONFIGURE}; also check the account and region of the connection"
        )


class NotAllowedError(LedgerError):
    """The credentials lack a permission that the ledger needs."""

    def __init__(self, action: str, resource: str, reason: str) -> None:
        self.action = action
        self.resource = resource
        needs = (
            "The ledger needs s3:PutObject, s3:GetObject and s3:DeleteObject on the objects below the state URI, and "
            "s3:ListBucket on its bucket"
        )
        if action.startswith("kms:"):
            needs = f"{_KEY_NEEDS}, both in the policy of the role and in the policy of the key"
        elif action == "s3:PutObject":
            needs += ". If the bucket requires encryption or an ACL, set [batchemr] s3_put_args"
        super().__init__(f"missing permission: allow {action} on {resource}. {needs}. AWS error: {reason}")


class CredentialsError(LedgerError):
    """Credentials are missing or invalid. A retry may succeed if they have only expired."""

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        self.retryable = expired
        super().__init__(
            f"no usable AWS credentials for the ledger: check the Airflow connection (aws_conn_id). AWS error: {reason}"
        )


class LedgerCorruptError(LedgerError):
    """An object of the ledger has invalid content."""

    def __init__(self, uri: str, problem: str) -> None:
        self.uri = uri
        problem = clean_line(problem[:_SHOWN])
        super().__init__(
            f"{uri} is not a valid ledger record ({problem}). If it was edited by hand, restore its content; otherwise "
            f"remove it (`aws s3 rm {uri}`), and the work that it records as done runs again"
        )


class DocumentDiffersError(LedgerError):
    """An object that AWS is to run or read exists with another content."""

    def __init__(self, uri: str) -> None:
        super().__init__(
            f"{uri} exists with another content than this job writes there, so somebody else has written or changed "
            "it. It would run as code or be read as input, so nothing was submitted. Check who may write below the "
            f"state URI, then remove it (`aws s3 rm {uri}`): the next try writes it again"
        )


class LedgerTooNewError(LedgerError):
    """An object of the ledger was written by a newer version of this package."""

    def __init__(self, uri: str, version: int) -> None:
        super().__init__(f"{uri} has schema version {version}, written by a newer version of airflow-batchemr: upgrade")


class TooManyKeysError(LedgerError):
    """A folder of the ledger has more objects than this package writes."""

    def __init__(self, uri: str, most: int) -> None:
        super().__init__(
            f"{uri} has more than {most:,} objects, which is more than airflow-batchemr reads in one folder: remove "
            f"what does not belong there (`aws s3 ls {uri}` lists it)"
        )


class NameInvalidError(LedgerError):
    """A Dag id, run key or job cannot be part of a key in S3."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{clean_line(name[:_SHOWN])!r} cannot be a Dag id, run key or job in the ledger: it must be valid text "
            f"of 1 to {MAX_NAME} bytes when it is quoted for S3"
        )


class ReadLimitError(LedgerError):
    """A reader with a limit, such as a page, has read as much as it may."""

    def __init__(self, uri: str, limit: str) -> None:
        super().__init__(f"{uri} was not read: {limit}")


class LedgerUnavailableError(LedgerError):
    """S3 cannot be reached, or still fails after botocore's retries."""

    retryable = True

    def __init__(self, operation: str, uri: str, reason: str) -> None:
        super().__init__(f"S3 {operation} on {uri} failed; a later retry may succeed: {reason}")


class LedgerRefusedError(LedgerError):
    """S3 rejected a call; repeating it does not help."""

    def __init__(self, operation: str, uri: str, reason: str) -> None:
        super().__init__(
            f"S3 {operation} on {uri} was rejected: {reason}. Check the state URI, the region, policy and encryption "
            "of its bucket, and the Airflow connection (aws_conn_id)"
        )


class ConditionalWritesError(LedgerError):
    """The S3-compatible store ignores or rejects the conditions of PutObject."""

    def __init__(self, what: str, endpoint: str, uri: str) -> None:
        super().__init__(
            f"the S3 store at {endpoint} does not honor {what} (checked with {uri}). Two tasks could start the same "
            "work, so nothing is submitted. Use a state URI on AWS S3, or on a store that supports conditional writes"
        )


class KeyUnusableError(LedgerError):
    """The KMS key of the bucket or of `[batchemr] s3_put_args` is disabled, does not exist, or cannot encrypt."""

    def __init__(self, operation: str, uri: str, action: str, reason: str) -> None:
        super().__init__(
            f"S3 {operation} on {uri} failed because {action} was rejected: {reason}. Enable the KMS key, or give "
            f"another one by SSEKMSKeyId in [batchemr] s3_put_args or in the bucket's default encryption. {_KEY_NEEDS}"
        )


def from_client_error(
    response: Mapping[str, object], operation: str, bucket: str, key: str, owner: str | None = None
) -> LedgerError:
    """Convert the `ClientError.response` of an S3 call to a LedgerError; `owner` is its `ExpectedBucketOwner`."""
    error = response.get("Error")
    code, message = ("", "") if not isinstance(error, dict) else (str(error.get("Code")), str(error.get("Message")))
    reason = f"{code}: {message}"
    if code == "NoSuchBucket":
        return BucketMissingError(bucket)
    key_action = _KEY_ACTIONS.get(operation, "kms:Decrypt")
    if (denied := _KEY_DENIED.search(message)) or code.startswith("KMS.AccessDenied"):
        named = _KEY_ARN.search(message)
        return NotAllowedError((denied and denied[1]) or key_action, named[0] if named else "the KMS key", reason)
    if code.startswith("KMS.") and code not in _TRANSIENT:
        return KeyUnusableError(operation, f"s3://{bucket}/{key}", key_action, reason)
    if code in _DENIED:
        if owner is not None:
            reason += f" (also the answer if {bucket} does not belong to account {owner}, its ExpectedBucketOwner)"
        action = _ACTIONS.get(operation, f"s3:{operation}")
        resource = f"arn:aws:s3:::{bucket}" if action == "s3:ListBucket" else f"arn:aws:s3:::{bucket}/{key}"
        return NotAllowedError(action, resource, reason)
    if code in _CREDENTIALS:
        return CredentialsError(reason, expired=code in _EXPIRED)
    metadata = response.get("ResponseMetadata")
    status = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    rejected = isinstance(status, int) and (300 <= status < 500 or status == 501) and status != 429
    kind = LedgerRefusedError if rejected and code not in _TRANSIENT else LedgerUnavailableError
    return kind(operation, f"s3://{bucket}/{key}", reason)
