"""`[batchemr] s3_put_args`: arguments of every PutObject of this package, for buckets that require encryption."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Variable with the setting, for programs in containers and on clusters that write objects below the state URI.
PUT_ARGS = "BATCHEMR_S3_PUT_ARGS"
#: Arguments that do not change what the ledger reads back, and when. SSE-C would need its key for each read, too; the
#: others are about the content and its condition, which the ledger sets itself, or cannot be the same for all objects.
ALLOWED = (
    "ServerSideEncryption",
    "SSEKMSKeyId",
    "SSEKMSEncryptionContext",
    "BucketKeyEnabled",
    "ACL",
    "GrantFullControl",
    "GrantRead",
    "GrantReadACP",
    "GrantWriteACP",
    "ExpectedBucketOwner",
    "StorageClass",
    "Tagging",
)
#: Storage classes whose objects have to be restored before they can be read.
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


def parse(text: str | None) -> dict[str, Any]:
    """Return the arguments of the setting; none if it is not set.

    Raises:
        InvalidRequest: it is not a JSON object, or contains an argument that cannot be set, or an invalid value.
    """
    if not text:
        return {}
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise _invalid(f"it is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise _invalid(f"expected a JSON object such as {_EXAMPLE}, not {text}")
    if unknown := [name for name in arguments if name not in ALLOWED]:
        raise _invalid(f"{', '.join(unknown)} cannot be set; these arguments of PutObject can: {', '.join(ALLOWED)}")
    try:
        check_request("s3", "PutObject", {"Bucket": "bucket", "Key": "key", **arguments})
    except InvalidRequest as error:
        raise _invalid(str(error)) from None
    if arguments.get("StorageClass") in _ARCHIVES:
        raise _invalid(f"StorageClass {arguments['StorageClass']}: its objects cannot be read without a restore")
    keys = [name for name in ("SSEKMSKeyId", "SSEKMSEncryptionContext") if name in arguments]
    if keys and not str(arguments.get("ServerSideEncryption")).startswith("aws:kms"):
        raise _invalid(f'{keys[0]} requires "ServerSideEncryption": "aws:kms" or "aws:kms:dsse"')
    return arguments


def variables(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variable with the arguments, if there are any."""
    return {PUT_ARGS: json.dumps(dict(arguments))} if arguments else {}


_EXAMPLE = '{"ServerSideEncryption": "aws:kms"}'


def _invalid(problem: str) -> InvalidRequest:
    return InvalidRequest(f"[batchemr] s3_put_args: {problem}")
