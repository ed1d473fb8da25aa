"""Classification of failed AWS calls: not carried out, refused, or unknown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectTimeoutError,
    EndpointConnectionError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    InvalidRegionError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    SSOError,
    UnknownCredentialError,
    UnknownRegionError,
)

from airflow_batchemr.core.errors import (
    AwsError,
    Expired,
    InvalidRequest,
    NotAllowed,
    NotFound,
    NotOffered,
    Refused,
    Throttled,
    UnexpectedAnswer,
    Unknown,
)

__all__ = [
    "AwsError",
    "Expired",
    "InvalidRequest",
    "NotAllowed",
    "NotFound",
    "NotOffered",
    "Refused",
    "Throttled",
    "UnexpectedAnswer",
    "Unknown",
    "classify",
    "member",
]

#: Codes of calls that AWS throttled; they were not carried out.
THROTTLING = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMS.ThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
#: Codes of expired credentials; fresh ones may work.
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId"})
#: Codes of calls that the caller may not make.
DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "NotAuthorized",
        "UnauthorizedAccess",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
    }
)
#: Codes of internal failures, which some operations return with status 400.
INTERNAL = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
#: Codes of operations that the endpoint does not know, with any status.
UNKNOWN_OPERATION = frozenset(
    {"InvalidAction", "NotImplemented", "NotImplementedException", "UnknownOperation", "UnknownOperationException"}
)
#: Maximum length of an unexpected answer in an error message, in characters.
SHOWN = 500
#: EMR's message for a cluster or step that does not exist; its code, InvalidRequestException, has other meanings, too.
_NO_SUCH_ID = re.compile(r"\bid '?[\w-]+'? is not valid")
#: The action in the message of a refused call, and S3's message for an object whose KMS key the caller may not use.
_NEEDED = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
_UNREADABLE = "The ciphertext refers to a customer master key"
#: Failures before the request was sent: nothing was carried out.
NOT_CONNECTED = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
#: Failures of the local configuration.
MISCONFIGURED = (
    ConfigNotFound,
    ConfigParseError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    InvalidRegionError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    UnknownCredentialError,
    UnknownRegionError,
)
#: Calls that botocore and the amazon provider make by themselves to get credentials, before any other call.
CREDENTIAL_CALLS = frozenset(
    {"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "GetFederationToken", "GetSessionToken"}
)


def classify(error: Exception, call: str = "") -> AwsError:
    """Classify the error of a failed call.

    Args:
        error: what boto3 raised; an `AwsError` is returned unchanged.
        call: the call as IAM names it (`batch:SubmitJob`); taken from the error if it names its operation.

    Returns:
        A `Refused` (`NotAllowed`, `InvalidRequest`), `Throttled` (`Expired`) or `Unknown`, to be raised `from` the
        error. An error that is not AWS's becomes `Unknown`, since the call may have been carried out; of what reads an
        answer, `UnexpectedAnswer`.
    """
    if isinstance(error, AwsError):
        return error
    if isinstance(error, ClientError):
        return _classify_answer(error, call)
    if isinstance(error, ParamValidationError):
        return InvalidRequest(f"{call or 'request'}: {error}")
    if isinstance(error, MISCONFIGURED):
        return NotAllowed(
            f"{call or 'AWS call'}: {str(error).rstrip('.')}. Set credentials and a region in the Airflow connection "
            "(aws_conn_id), or an AWS profile, role or AWS_DEFAULT_REGION on this machine."
        )
    if isinstance(error, NOT_CONNECTED):
        return Throttled(f"{call or 'AWS call'}: no connection to AWS: {error}")
    if isinstance(error, BotoCoreError | OSError):
        return Unknown(f"{call or 'AWS call'}: the answer was lost: {error}")
    text = f"{call or 'AWS call'}: {type(error).__name__}: {error}"
    if isinstance(error, LookupError | TypeError | AttributeError):
        return UnexpectedAnswer(f"{text}. AWS's answer may not have the documented form")
    return Unknown(text)


def _classify_answer(error: ClientError, call: str) -> AwsError:
    answer: dict[str, Any] = dict(error.response)
    code = str(answer.get("Error", {}).get("Code", ""))
    message = str(answer.get("Error", {}).get("Message", "")) or str(error)
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    name = call or str(error.operation_name)
    if error.operation_name in CREDENTIAL_CALLS:
        name = f"sts:{error.operation_name}"
    if code in THROTTLING or status == 429:
        return Throttled(f"{name}: throttled by AWS ({code}): {message}")
    if code in EXPIRED:
        return Expired(f"{name}: the credentials have expired ({code}): {message}")
    if code in DENIED or code.startswith("KMS.AccessDenied") or status in {401, 403}:
        # The call may need another action, such as kms:Decrypt to read an object, or iam:PassRole
        needed = _NEEDED.search(message)
        action = needed[1] if needed else "kms:Decrypt" if _UNREADABLE in message else name
        return NotAllowed(
            f"{name}: not allowed ({code}): {message.rstrip('.')}. The identity behind the Airflow connection needs "
            f"the IAM action {action} on this resource."
        )
    if code.startswith("KMS."):
        return InvalidRequest(
            f"{name}: the KMS key of the object cannot be used ({code}): {message.rstrip('.')}. Reading needs an "
            "enabled key and the IAM action kms:Decrypt on it."
        )
    if code == "ResourceNotFoundException" or (code == "InvalidRequestException" and _NO_SUCH_ID.search(message)):
        return NotFound(f"{name}: refused by AWS ({code}): {message}")
    if status == 404 and str(error.operation_name).startswith("Head"):  # its answers have no body, so no code
        return NotFound(f"{name}: refused by AWS ({code}): {message}")
    # Every error of AWS has a code; botocore fills in the status of a page that the service did not write
    if status == 501 or code in UNKNOWN_OPERATION or (status in {404, 405} and code in {"", str(status)}):
        return NotOffered(
            f"{name}: this endpoint does not offer the operation ({status} {code}): {message.rstrip('.')}. Check the "
            "region and the endpoint URL"
        )
    if status >= 500 or status == 408 or code in INTERNAL:
        return Unknown(f"{name}: AWS answered {status} ({code}): {message}")
    return InvalidRequest(f"{name}: refused by AWS ({code}): {message}")


def member(answer: Any, name: str, call: str) -> Any:
    """A member of an answer that AWS documents but does not guarantee in its model.

    Args:
        answer: as boto3 gives it, or a part of it.
        name: of the member.
        call: the call as IAM names it, for the error.

    Raises:
        UnexpectedAnswer: it is missing or empty text; the message shows the answer.
    """
    if not isinstance(answer, Mapping) or answer.get(name) in (None, ""):
        raise unexpected(call, f"no {name}", answer)
    return answer[name]


def unexpected(call: str, what: str, answer: Any) -> UnexpectedAnswer:
    """The error for an answer that has, for example, `no jobId`."""
    shown = (
        {key: value for key, value in answer.items() if key != "ResponseMetadata"}
        if isinstance(answer, Mapping)
        else answer
    )
    text = json.dumps(shown, default=str)
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return UnexpectedAnswer(f"{call}: AWS's answer has {what}: {text}. Check the endpoint URL, if one is set")
