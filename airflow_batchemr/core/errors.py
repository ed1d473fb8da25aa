"""What a call to AWS that failed means: not carried out, refused, or unknown."""

from __future__ import annotations


class AwsError(Exception):
    """A call to AWS that did not succeed. The text says which call, why, and what to do."""

    #: Whether the call was certainly not carried out, so that it may be sent again.
    not_carried_out = False
    #: Whether trying again later can help.
    transient = False


class Refused(AwsError):  # noqa: N818 - what the answer means, in the words of the design
    """AWS understood the request and said no: sending it again changes nothing."""

    not_carried_out = True


class NotAllowed(Refused):
    """The caller lacks a permission, or has no (valid) credentials."""


class InvalidRequest(Refused):
    """The request is not one AWS accepts. Found by us before the call, or by AWS."""


class NotFound(InvalidRequest):
    """The service itself says that there is no such resource."""


class Throttled(AwsError):  # noqa: N818 - as above
    """Too many calls, or no connection: surely not carried out, worth another try later."""

    not_carried_out = True
    transient = True


class Expired(Throttled):
    """The credentials have run out: not carried out; a client with fresh ones may succeed."""


class Unknown(AwsError):  # noqa: N818 - as above
    """The answer was lost or was a 5xx: the call may have been carried out."""

    transient = True
