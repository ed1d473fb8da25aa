"""Service, operation and credentials of a request, from its headers and URL."""

from __future__ import annotations

import io

import pytest

from airflow_batchemr.local import wire

SIGNED = "AWS4-HMAC-SHA256 Credential=LKIA1/20261120/eu-west-1/batch/aws4_request, SignedHeaders=host, Signature=0"


def environ(method="GET", path="/", query="", **more):
    return {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO(), **more}


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/", "", "ListBuckets"),
        ("PUT", "/data", "", "CreateBucket"),
        ("PUT", "/data/", "", "CreateBucket"),
        ("HEAD", "/data", "", "HeadBucket"),
        ("GET", "/data", "list-type=2&prefix=a", "ListObjectsV2"),
        ("GET", "/data", "prefix=a", "ListObjects"),
        ("POST", "/data", "delete", "DeleteObjects"),
        ("GET", "/data/a/b", "", "GetObject"),
        ("HEAD", "/data/a/b", "", "HeadObject"),
        ("PUT", "/data/a/b", "", "PutObject"),
        ("DELETE", "/data/a/b", "", "DeleteObject"),
        ("POST", "/data/a", "uploads", "CreateMultipartUpload"),
        ("PUT", "/data/a", "partNumber=1&uploadId=x", "UploadPart"),
        ("POST", "/data/a", "uploadId=x", "CompleteMultipartUpload"),
        ("DELETE", "/data/a", "uploadId=x", "AbortMultipartUpload"),
    ],
)
def test_method_path_and_query_select_an_s3_operation(method, path, query, expected):
    """The names are those of AWS."""
    assert expected == wire.operation(environ(method, path, query), "s3")


def test_a_put_with_a_copy_source_is_a_copy():
    """The header is x-amz-copy-source."""
    assert wire.s3_operation(environ("PUT", "/data/a", HTTP_X_AMZ_COPY_SOURCE="/data/b")) == "CopyObject"


def test_the_target_header_selects_the_operation():
    """For services with AWS's JSON protocol."""
    found = wire.operation(environ("POST", HTTP_X_AMZ_TARGET="Logs_20140328.GetLogEvents"), "logs")
    assert found == "GetLogEvents"


def test_a_form_selects_the_operation_and_can_be_read_again():
    """For services with AWS's query protocol."""
    form = b"Action=AssumeRole&Version=2011-06-15"
    asked = environ("POST", CONTENT_TYPE="application/x-www-form-urlencoded", CONTENT_LENGTH=str(len(form)))
    asked["wsgi.input"] = io.BytesIO(form)
    assert wire.operation(asked, "sts") == "AssumeRole"
    assert asked["wsgi.input"].read() == form


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"HTTP_AUTHORIZATION": SIGNED}, wire.Scope("LKIA1", "eu-west-1", "batch")),
        (
            {"QUERY_STRING": "X-Amz-Credential=LKIA2%2F20261120%2Fus-east-1%2Fs3%2Faws4_request&x=1"},
            wire.Scope("LKIA2", "us-east-1", "s3"),
        ),
        ({"HTTP_AUTHORIZATION": "Basic eA=="}, None),
        ({}, None),
    ],
)
def test_the_scope_is_in_the_header_or_a_presigned_url(asked, expected):
    """Other requests have no scope."""
    assert expected == wire.scope(environ(**asked) | asked)
