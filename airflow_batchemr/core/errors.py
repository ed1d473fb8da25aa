"""Errors of AWS calls, classified by whether the call was carried out: no, rejected, or unknown."""

from __future__ import annotations

from airflow_batchemr.core.foreign_text import clean


class AwsError(Exception):
    """A failed call to AWS. The message names the call, the reason and the remedy, and is safe to display."""

    #: Whether the call was certainly not carried out, so that it is safe to send it again.
    not_carried_out = False
    #: Whether a later retry may succeed.
    transient = False

    def __init__(self, message: str = "") -> None:
        super().__init__(clean(message))


class Refused(AwsError):  # noqa: N818 - named after the outcome of the call
    """AWS rejected the request; sending it again does not help."""

    not_carried_out = True


class NotAllowed(Refused):
    """The caller lacks a permission or has no valid credentials."""


class InvalidRequest(Refused):
    """The request is invalid. Detected by AWS, or by this package before the call."""


class NotFound(InvalidRequest):
    """The service itself says that there is no such resource."""


class NotOffered(Refused):
    """The endpoint does not know the operation."""


class Throttled(AwsError):  # noqa: N818 - as above
    """Too many calls, or no connection. The call was not carried out; a later retry may succeed."""

    not_carried_out = True
    transient = True


class Expired(Throttled):
    """The credentials have expired. The call was not carried out; a client with new credentials may succeed."""


class Unknown(AwsError):  # noqa: N818 - as above
    """The response was lost or was a 5xx. The call may have been carried out."""

    transient = True


class UnexpectedAnswer(Unknown):
    """The response lacks what AWS documents: the endpoint may not be AWS's. A write call may have been carried out."""

    transient = False
