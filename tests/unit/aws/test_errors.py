"""Classification of failed calls, and retries."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    ReadTimeoutError,
)

from airflow_batchemr.aws.errors import (
    Expired,
    InvalidRequest,
    NotAllowed,
    NotFound,
    NotOffered,
    Refused,
    Throttled,
    UnexpectedAnswer,
    Unknown,
    classify,
)
from airflow_batchemr.aws.outage import passing
from airflow_batchemr.aws.retry import call_again, call_once


def answer(code, status=400):
    return ClientError(
        {"Error": {"Code": code, "Message": "said no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "SubmitJob"
    )


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (answer("TooManyRequestsException", 429), Throttled),
        (answer("SlowDown", 503), Throttled),
        (answer("ThrottlingException"), Throttled),
        (answer("ExpiredTokenException"), Expired),
        (answer("AccessDeniedException", 403), NotAllowed),
        (answer("UnrecognizedClientException", 403), NotAllowed),
        (answer("ClientException"), InvalidRequest),
        (answer("ServerException", 500), Unknown),
        (answer("ServiceUnavailable", 503), Unknown),
        (answer("NotImplemented", 501), NotOffered),
        (answer("501", 501), NotOffered),
        (answer("UnknownOperationException"), NotOffered),
        (answer("UnknownOperationException", 404), NotOffered),
        (answer("InvalidAction"), NotOffered),
        (answer("404", 404), NotOffered),
        (answer("405", 405), NotOffered),
        (answer("", 404), NotOffered),
        (answer("NoSuchKey", 404), InvalidRequest),
        (answer("ResourceNotFoundException", 404), NotFound),
        (ConnectTimeoutError(endpoint_url="http://aws"), Throttled),
        (ReadTimeoutError(endpoint_url="http://aws"), Unknown),
        (NoCredentialsError(), NotAllowed),
        (ProfileNotFound(profile="analytics"), NotAllowed),
        (ConnectionResetError(), Unknown),
        (ValueError("a fault of ours"), Unknown),
        (KeyError("status"), UnexpectedAnswer),
        (TypeError("'NoneType' object is not iterable"), UnexpectedAnswer),
    ],
)
def test_an_error_is_classified_by_the_effect_of_the_call(error, meaning):
    """Refused, certainly not executed, or unknown."""
    assert meaning is type(classify(error, "batch:SubmitJob"))


def test_an_object_that_does_not_exist_is_not_an_operation_that_is_not_offered():
    """The answer to HeadObject has no body, so the code is the status."""
    missing = ClientError(
        {"Error": {"Code": "404", "Message": "Not Found"}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "HeadObject"
    )
    found = classify(missing, "s3:GetObject")
    assert (NotFound, "s3:GetObject: refused by AWS (404): Not Found") == (type(found), str(found))


def test_an_operation_that_the_endpoint_does_not_offer_is_refused_and_no_outage():
    """Repeating the call for hours does not help; the message says what to check."""
    error = answer("NotImplemented", 501)
    assert not passing(error)
    refused = classify(error, "batch:TerminateJobs")
    assert isinstance(refused, Refused)
    assert "batch:TerminateJobs: this endpoint does not offer the operation (501 NotImplemented): said no" in str(
        refused
    )
    assert "Check the region and the endpoint URL" in str(refused)


def test_a_denied_call_names_its_iam_action():
    """The message contains the missing action."""
    assert "needs the IAM action batch:SubmitJob" in str(
        classify(answer("AccessDeniedException", 403), "batch:SubmitJob")
    )


@pytest.mark.parametrize(
    ("call", "message", "action"),
    [
        (
            "s3:GetObject",
            "User: arn:aws:iam::111122223333:user/a is not authorized to perform: kms:Decrypt on resource: arn:…",
            "kms:Decrypt",
        ),
        (
            "s3:GetObject",
            (
                "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or "
                "you are not allowed to access."
            ),
            "kms:Decrypt",
        ),
        (
            "elasticmapreduce:RunJobFlow",
            "User: arn:aws:iam::111122223333:user/a is not authorized to perform: iam:PassRole on resource: arn:…",
            "iam:PassRole",
        ),
    ],
)
def test_a_denied_call_names_the_action_that_the_service_names(call, message, action):
    """A call may need other actions than its own: allowing its own would not help."""
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, "GetObject")
    assert f"needs the IAM action {action} on this resource" in str(classify(denied, call))


def test_a_key_that_cannot_be_used_is_named():
    """Data may be encrypted with a key that is disabled."""
    disabled = ClientError({"Error": {"Code": "KMS.DisabledException", "Message": "arn:… is disabled."}}, "GetObject")
    found = classify(disabled, "s3:GetObject")
    assert isinstance(found, InvalidRequest)
    assert "the KMS key of the object cannot be used (KMS.DisabledException): arn:… is disabled. Reading" in str(found)


def test_a_denied_role_is_named_instead_of_the_call_that_needed_it():
    """Botocore assumes the role when it makes the first call."""
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, "AssumeRole")
    assert "needs the IAM action sts:AssumeRole" in str(classify(denied, "batch:SubmitJob"))


@pytest.mark.parametrize(
    "error", [NoRegionError(), ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, "ListJobs")]
)
def test_the_message_of_aws_ends_with_one_period(error):
    """Our advice follows as a separate sentence."""
    assert ".." not in str(classify(error))


class Call:
    """Fails as configured, then succeeds. Counts its calls."""

    def __init__(self, *errors):
        self.errors, self.made = list(errors), 0

    def __call__(self):
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_a_call_without_a_token_is_repeated_if_it_was_not_executed():
    """It succeeds after two throttling errors and one connection error, with a pause after each."""
    call, pauses = (
        Call(answer("TooManyRequestsException", 429), ConnectTimeoutError(endpoint_url="x"), answer("SlowDown")),
        [],
    )
    assert "done" == call_once(call, "batch:SubmitJob", sleep=pauses.append)
    assert (4, 3) == (call.made, len(pauses))
    assert all(0 < pause <= 2 for pause in pauses)


@pytest.mark.parametrize("error", [answer("ServerException", 500), ReadTimeoutError(endpoint_url="x")])
def test_a_call_without_a_token_is_not_repeated_after_a_lost_response(error):
    """It may have been executed, so the caller has to check."""
    call = Call(error)
    with pytest.raises(Unknown):
        call_once(call, "batch:SubmitJob", sleep=lambda _: None)
    assert 1 == call.made


def test_a_throttled_call_is_repeated_eight_times():
    """The error then says that the call was throttled and not executed."""
    call = Call(*[answer("TooManyRequestsException", 429)] * 20)
    with pytest.raises(Throttled):
        call_once(call, "batch:SubmitJob", sleep=lambda _: None)
    assert 9 == call.made


def test_other_calls_raise_the_classified_error():
    """Every boto3 error becomes one of our errors."""
    with pytest.raises(InvalidRequest, match="batch:DescribeJobs: refused by AWS"):
        call_again(Call(answer("ClientException")), "batch:DescribeJobs")
