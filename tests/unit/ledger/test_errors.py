"""What is wrong with the state URI or what is under it is said so that a person can act."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

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

FOLDER = "_batchemr/nightly/2026-11-20T000000Z/score/"


@pytest.mark.parametrize("uri", [None, "", "  "])
def test_no_state_uri_says_where_to_give_it(s3, uri):
    """In the file, or in Airflow's configuration."""
    with pytest.raises(StateUriMissingError, match="AIRFLOW__BATCHEMR__STATE"):
        Ledger(s3, uri)


@pytest.mark.parametrize("uri", ["data/_batchemr", "gs://data", "s3:/data", "s3://", "s3://Data/x", "s3://data/a//b"])
def test_what_is_no_place_in_s3_is_refused(s3, uri):
    """The error shows the URI as it was given."""
    with pytest.raises(StateUriInvalidError, match=uri.replace(".", "[.]")):
        Ledger(s3, uri)


def test_a_bucket_that_does_not_exist_is_named(s3):
    """With the command that makes it."""
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
    """By its IAM action and the resource; it is not worth a retry."""
    job = Ledger(s3, "s3://data/_batchemr").job("d", "r", "j")
    s3.refuse[operation] = ("AccessDenied", 403)
    with pytest.raises(NotAllowedError) as caught:
        getattr(job, call)("x", *([b""] if call == "put_document" else []))
    assert denied == (caught.value.action, caught.value.resource)
    assert "the IAM action {} on {} is missing".format(*denied) in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (NoCredentialsError(), (CredentialsError, False)),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), (LedgerUnavailableError, True)),
    ],
)
def test_what_never_reaches_s3_is_told_apart(s3, job, monkeypatch, raised, told):
    """No credentials is for a person, no connection for a retry."""

    def list_objects_v2(**_):
        raise raised

    monkeypatch.setattr(s3, "list_objects_v2", list_objects_v2)
    with pytest.raises(LedgerError) as caught:
        job.read()
    assert told == (type(caught.value), caught.value.retryable)


def test_a_failing_s3_may_work_later(s3, job):
    """What botocore's own retries could not mend is worth a retry of the task."""
    s3.refuse["ListObjectsV2"] = ("InternalError", 500)
    with pytest.raises(LedgerUnavailableError, match="InternalError") as caught:
        job.read()
    assert caught.value.retryable


@pytest.mark.parametrize("text", [b"", b"{}", b"not json", b'{"submission": "x", "size": 3}', b"[]", b"\xff"])
def test_an_object_that_was_mangled_is_named(s3, job, text):
    """With the command that removes it, and no traceback of a library's inside."""
    s3.put_object(Bucket="data", Key=f"{FOLDER}success.json", Body=text, ContentType="")
    with pytest.raises(LedgerCorruptError) as caught:
        job.read()
    assert f"aws s3 rm s3://data/{FOLDER}success.json" in str(caught.value)


def test_a_bad_index_set_in_a_record_is_named(s3, job):
    """The text of a set is checked as it is read."""
    body = b'{"kind": "batch", "outcome": "failed", "indices": "0-9", "succeeded": "9-0", "rerun_token": null}'
    s3.put_object(Bucket="data", Key=f"{FOLDER}submissions/0001/result.json", Body=body, ContentType="")
    with pytest.raises(LedgerCorruptError, match="succeeded"):
        job.read()


@pytest.mark.parametrize("fields", [b'"submission": 1, "size": 3, "rerun_token": null', b'"other": 1'])
def test_a_record_of_a_later_version_is_not_guessed_at(s3, job, fields):
    """Its meaning may have changed, or its form."""
    body = b'{"schema_version": 99, ' + fields + b"}"
    s3.put_object(Bucket="data", Key=f"{FOLDER}success.json", Body=body, ContentType="")
    with pytest.raises(LedgerTooNewError, match="upgrade"):
        job.read()


def test_fields_that_were_added_later_are_passed_over(s3, job):
    """Within a schema version, records may grow."""
    body = b'{"submission": 1, "size": 3, "rerun_token": null, "schema_version": 1, "new": 1}'
    s3.put_object(Bucket="data", Key=f"{FOLDER}success.json", Body=body, ContentType="")
    assert job.read().marker.size == 3


@pytest.mark.parametrize(("code", "retryable"), [("ExpiredToken", True), ("InvalidAccessKeyId", False)])
def test_credentials_that_have_run_out_may_be_there_anew(s3, job, code, retryable):
    """A retry opens the connection again; a key that AWS does not know is for a person."""
    s3.refuse["ListObjectsV2"] = (code, 400)
    with pytest.raises(CredentialsError) as caught:
        job.read()
    assert retryable == caught.value.retryable
