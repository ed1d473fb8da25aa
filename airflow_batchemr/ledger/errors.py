"""What can be wrong with the state URI and the objects under it, told to the person who can mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOW_TO_CONFIGURE = (
    "give `state: s3://bucket/prefix` in the pipeline file (or its `defaults`), "
    "or [batchemr] state in Airflow's configuration (AIRFLOW__BATCHEMR__STATE)"
)

# The IAM action that allows an S3 operation, where its name differs from the operation's
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
# What S3 answers with a 4xx although the same call may do later
_PASSING = {"BadDigest", "IncompleteBody", "RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling"}


class LedgerError(Exception):
    """Anything that keeps the ledger from being read or written; the text says what to do about it."""

    retryable = False
    """Whether trying again later, without anybody mending anything, can help."""


class StateUriMissingError(LedgerError):
    """No state URI is configured."""

    def __init__(self) -> None:
        super().__init__(f"no state URI is configured, so there is no place for the ledger: {HOW_TO_CONFIGURE}")


class StateUriInvalidError(LedgerError):
    """The state URI is not the URI of a place in S3."""

    def __init__(self, uri: str, problem: str) -> None:
        super().__init__(f"state URI {uri!r}: {problem}; {HOW_TO_CONFIGURE}")


class BucketMissingError(LedgerError):
    """The bucket of the state URI does not exist."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            f"the state bucket {bucket!r} does not exist: create it (`aws s3 mb s3://{bucket}`), "
            f"or {HOW_TO_CONFIGURE}; look also at the account and region of the connection"
        )


class NotAllowedError(LedgerError):
    """The credentials may not do what the ledger needs."""

    def __init__(self, action: str, resource: str, said: str) -> None:
        self.action = action
        self.resource = resource
        super().__init__(
            f"not allowed: the IAM action {action} on {resource} is missing. The ledger needs s3:PutObject, "
            f"s3:GetObject and s3:DeleteObject on the objects under the state URI, and s3:ListBucket on its bucket. "
            f"AWS said: {said}"
        )


class CredentialsError(LedgerError):
    """There are no credentials, or AWS does not take them. Those that have run out may be there anew for a retry."""

    def __init__(self, said: str, *, expired: bool = False) -> None:
        self.retryable = expired
        super().__init__(
            f"no usable AWS credentials for the ledger: look at the Airflow connection (aws_conn_id). AWS said: {said}"
        )


class LedgerCorruptError(LedgerError):
    """An object of the ledger cannot be read as what its name says."""

    def __init__(self, uri: str, problem: str) -> None:
        self.uri = uri
        super().__init__(
            f"{uri} is not a record of this ledger ({problem}). Was it edited by hand? Put the right text back, "
            f"or remove it (`aws s3 rm {uri}`): what it recorded as done then runs again"
        )


class LedgerTooNewError(LedgerError):
    """An object of the ledger was written by a later version of this package."""

    def __init__(self, uri: str, version: int) -> None:
        super().__init__(f"{uri} has schema version {version}, written by a later version of airflow-batchemr: upgrade")


class LedgerUnavailableError(LedgerError):
    """S3 could not be reached, or went on failing after botocore's own retries."""

    retryable = True

    def __init__(self, operation: str, uri: str, said: str) -> None:
        super().__init__(f"S3 {operation} on {uri} failed and may work later: {said}")


class LedgerRefusedError(LedgerError):
    """S3 has understood a call and said no: the same call later would be refused, too."""

    def __init__(self, operation: str, uri: str, said: str) -> None:
        super().__init__(
            f"S3 {operation} on {uri} was refused: {said}. Look at the state URI, at its bucket's region, policy and "
            "encryption, and at the Airflow connection (aws_conn_id)"
        )


def from_client_error(response: Mapping[str, object], operation: str, bucket: str, key: str) -> LedgerError:
    """Turn botocore's `ClientError.response` of an S3 call into the error that says what to do."""
    error = response.get("Error")
    code, message = ("", "") if not isinstance(error, dict) else (str(error.get("Code")), str(error.get("Message")))
    said = f"{code}: {message}"
    if code == "NoSuchBucket":
        return BucketMissingError(bucket)
    if code in _DENIED:
        action = _ACTIONS.get(operation, f"s3:{operation}")
        resource = f"arn:aws:s3:::{bucket}" if action == "s3:ListBucket" else f"arn:aws:s3:::{bucket}/{key}"
        return NotAllowedError(action, resource, said)
    if code in _CREDENTIALS:
        return CredentialsError(said, expired=code in _EXPIRED)
    metadata = response.get("ResponseMetadata")
    status = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    refused = isinstance(status, int) and (300 <= status < 500 or status == 501) and status != 429
    kind = LedgerRefusedError if refused and code not in _PASSING else LedgerUnavailableError
    return kind(operation, f"s3://{bucket}/{key}", said)
