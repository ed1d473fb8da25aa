"""Errors of the state URI and the ledger say what is wrong and how to fix it."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from airflow_batchemr.aws.outage import settling
from airflow_batchemr.ledger import (
    BucketMissingError,
    CredentialsError,
    Ledger,
    LedgerCorruptError,
    LedgerError,
    LedgerTooNewError,
    LedgerUnavailableError,
    NotAllowedError,
    StateUriInvalidError,
    StateUriMissingError,
)
from airflow_batchemr.ledger.errors import from_client_error

FOLDER = "_batchemr/nightly/2026-11-20T000000Z/score/"


@pytest.mark.parametrize("uri", [None, "", "  "])
def test_a_missing_state_uri_says_where_to_set_it(s3, uri):
    """In the file or in Airflow's configuration."""
    with pytest.raises(StateUriMissingError, match="AIRFLOW__BATCHEMR__STATE"):
        Ledger(s3, uri)


@pytest.mark.parametrize("uri", ["data/_batchemr", "gs://data", "s3:/data", "s3://", "s3://Data/x", "s3://data/a//b"])
def test_an_invalid_state_uri_is_rejected(s3, uri):
    """The error shows the URI."""
    with pytest.raises(StateUriInvalidError, match=uri.replace(".", "[.]")):
        Ledger(s3, uri)


def test_a_missing_bucket_is_named(s3):
    """With the command that creates it."""
    with pytest.raises(BucketMissingError, match="aws s3 mb s3://nobody"):
        Ledger(s3, "s3://nobody/x").job("d", "r", "j").read()


@pytest.mark.parametrize(
    ("operation", "call", "denied"),
    [
        ("PutObject", "put_document", ("s3:PutObject", "arn:aws:s3:::data/_batchemr/d/r/_files/j/x")),
        ("ListObjectsV2", "documents", ("s3:ListBucket", "arn:aws:s3:::data")),
        ("GetObject", "get_document", ("s3:GetObject", "arn:aws:s3:::data/_batchemr/d/r/_files/j/x")),
    ],
)
def test_a_missing_permission_is_named(s3, operation, call, denied):
    """With IAM action and resource; a retry does not help."""
    job = Ledger(s3, "s3://data/_batchemr").job("d", "r", "j")
    s3.refuse[operation] = ("AccessDenied", 403)
    with pytest.raises(NotAllowedError) as caught:
        getattr(job, call)("x", *([b""] if call == "put_document" else []))
    assert denied == (caught.value.action, caught.value.resource)
    assert "missing permission: allow {} on {}".format(*denied) in str(caught.value)
    assert not caught.value.retryable


KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
DENIED = "User: arn:aws:sts::111122223333:assumed-role/airflow/x is not authorized to perform: "


@pytest.mark.parametrize(
    ("operation", "message", "allow"),
    [
        (
            "PutObject",
            (
                f"{DENIED}kms:GenerateDataKey on resource: {KEY} because no identity-based policy allows the "
                "kms:GenerateDataKey action"
            ),
            f"allow kms:GenerateDataKey on {KEY}. ",
        ),
        (
            "PutObject",
            (
                f"{DENIED}kms:GenerateDataKey on this resource because the resource does not exist in this Region, no "
                "resource-based policies allow access, or a resource-based policy explicitly denies access"
            ),
            "allow kms:GenerateDataKey on the KMS key. ",
        ),
        (
            "GetObject",
            f"{DENIED}kms:Decrypt on resource: {KEY} with an explicit deny in a resource-based policy",
            f"allow kms:Decrypt on {KEY}. ",
        ),
        (
            "GetObject",
            (
                "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or "
                "you are not allowed to access."
            ),
            "allow kms:Decrypt on the KMS key. ",
        ),
    ],
)
def test_a_missing_permission_of_the_key_is_named(operation, message, allow):
    """Not that of S3, which would not help. Both policies and both actions are named."""
    found = failed(operation, "AccessDenied", message, 403)
    assert isinstance(found, NotAllowedError)
    assert f"missing permission: {allow}" in str(found)
    assert "s3:PutObject" not in str(found)
    assert "needs kms:GenerateDataKey, and reading them kms:Decrypt, both in the policy of the role and" in str(found)


@pytest.mark.parametrize(
    ("operation", "code", "message", "action"),
    [
        ("PutObject", "KMS.DisabledException", f"{KEY} is disabled.", "kms:GenerateDataKey"),
        ("PutObject", "KMS.NotFoundException", "Invalid keyId alias/none", "kms:GenerateDataKey"),
        ("GetObject", "KMS.KMSInvalidStateException", f"{KEY} is pending deletion.", "kms:Decrypt"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(operation, code, message, action):
    """A retry does not help, but work that was submitted is not given up at once."""
    found = failed(operation, code, message, 400)
    assert f"because {action} was rejected: {code}: {message}" in str(found)
    assert "Enable the KMS key, or give another one by SSEKMSKeyId in [batchemr] s3_put_args" in str(found)
    assert (found.retryable, settling(found)) == (False, True)


def test_throttling_by_kms_is_an_outage():
    """KMS documents the code ThrottlingException with the status 400, like a request that it rejects."""
    found = failed("PutObject", "ThrottlingException", "You have exceeded the rate at which you may call KMS.", 400)
    assert (type(found), found.retryable) == (LedgerUnavailableError, True)


def test_a_denied_put_names_the_setting_for_buckets_that_require_encryption():
    """S3 answers AccessDenied if the bucket's policy rejects a put without encryption."""
    assert "If the bucket requires encryption or an ACL, set [batchemr] s3_put_args" in str(
        failed("PutObject", "AccessDenied", "Access Denied", 403)
    )


def test_a_denied_call_names_the_expected_owner():
    """S3's answer is the same as for a missing permission."""
    found = failed("GetObject", "AccessDenied", "Access Denied", 403, "111122223333")
    assert "data does not belong to account 111122223333, its ExpectedBucketOwner" in str(found)


def failed(operation, code, message, status, owner=None):
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return from_client_error(answer, operation, "data", "k", owner)


@pytest.mark.parametrize("code", ["OperationAborted", "ConditionalRequestConflict", "SlowDown"])
@pytest.mark.parametrize(("operation", "call"), [("ListObjectsV2", "documents"), ("GetObject", "get_document")])
def test_a_conflict_of_a_read_is_an_outage(s3, operation, call, code):
    """Another operation on the bucket or the key is in progress: a later retry succeeds."""
    job = Ledger(s3, "s3://data/_batchemr").job("d", "r", "j")
    s3.refuse[operation] = (code, 503 if code == "SlowDown" else 409)
    with pytest.raises(LedgerUnavailableError, match=f"S3 {operation} on s3://data/.*{code}") as caught:
        getattr(job, call)("x")
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (NoCredentialsError(), (CredentialsError, False)),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), (LedgerUnavailableError, True)),
    ],
)
def test_only_connection_errors_are_retryable(s3, job, monkeypatch, raised, expected):
    """Missing credentials have to be fixed by the user."""

    def list_objects_v2(**_):
        raise raised

    monkeypatch.setattr(s3, "list_objects_v2", list_objects_v2)
    with pytest.raises(LedgerError) as caught:
        job.read()
    assert expected == (type(caught.value), caught.value.retryable)


def test_an_internal_error_of_s3_is_retryable(s3, job):
    """It may be gone by the time the task is retried."""
    s3.refuse["ListObjectsV2"] = ("InternalError", 500)
    with pytest.raises(LedgerUnavailableError, match="InternalError") as caught:
        job.read()
    assert caught.value.retryable


@pytest.mark.parametrize("text", [b"", b"{}", b"not json", b'{"submission": "x", "size": 3}', b"[]", b"\xff"])
def test_an_invalid_record_is_named(s3, job, text):
    """With the command that removes it, and not with the internal error of a library."""
    s3.put_object(Bucket="data", Key=f"{FOLDER}success.json", Body=text, ContentType="")
    with pytest.raises(LedgerCorruptError) as caught:
        job.read()
    assert f"aws s3 rm s3://data/{FOLDER}success.json" in str(caught.value)


def test_an_invalid_index_set_in_a_record_is_named(s3, job):
    """The text of a set is validated when it is read."""
    body = b'{"kind": "batch", "outcome": "failed", "indices": "0-9", "succeeded": "9-0", "rerun_token": null}'
    s3.put_object(Bucket="data", Key=f"{FOLDER}submissions/0001/result.json", Body=body, ContentType="")
    with pytest.raises(LedgerCorruptError, match="succeeded"):
        job.read()


@pytest.mark.parametrize("fields", [b'"submission": 1, "size": 3, "rerun_token": null', b'"other": 1'])
def test_a_record_of_a_newer_schema_version_is_rejected(s3, job, fields):
    """Its meaning or its format may have changed."""
    body = b'{"schema_version": 99, ' + fields + b"}"
    s3.put_object(Bucket="data", Key=f"{FOLDER}success.json", Body=body, ContentType="")
    with pytest.raises(LedgerTooNewError, match="upgrade"):
        job.read()


def test_unknown_fields_are_ignored(s3, job):
    """Fields may be added within a schema version."""
    body = b'{"submission": 1, "size": 3, "rerun_token": null, "schema_version": 1, "new": 1}'
    s3.put_object(Bucket="data", Key=f"{FOLDER}success.json", Body=body, ContentType="")
    assert job.read().marker.size == 3


@pytest.mark.parametrize(("code", "retryable"), [("ExpiredToken", True), ("InvalidAccessKeyId", False)])
def test_expired_credentials_are_retryable(s3, job, code, retryable):
    """A retry reads the connection again; an unknown access key has to be fixed by the user."""
    s3.refuse["ListObjectsV2"] = (code, 400)
    with pytest.raises(CredentialsError) as caught:
        job.read()
    assert retryable == caught.value.retryable
