"""`[batchemr] s3_put_args`: which arguments of PutObject a user may set."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.session import get_session

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.s3_put_args import ALLOWED, parse
from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.provider_info import get_provider_info

MEMBERS = get_session().get_service_model("s3").operation_model("PutObject").input_shape.members


def test_no_setting_means_no_arguments():
    """The bucket's own defaults apply."""
    assert parse(None) == parse("") == {}


def test_the_arguments_are_returned_as_they_are():
    """With the types of JSON."""
    text = '{"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/data", "BucketKeyEnabled": true}'
    assert parse(text) == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/data", "BucketKeyEnabled": True}


def test_the_arguments_that_can_be_set_exist():
    """In botocore's model of PutObject."""
    assert set(ALLOWED) <= set(MEMBERS)


@pytest.mark.parametrize("name", ALLOWED)
def test_the_arguments_that_can_be_set_are_documented(name):
    """In Airflow's configuration reference and on the page about operations."""
    option = get_provider_info()["config"]["batchemr"]["options"]["s3_put_args"]
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    assert name in option["description"]
    assert f"`{name}`" in page


@pytest.mark.parametrize("name", sorted(set(MEMBERS) - set(ALLOWED)))
def test_all_other_arguments_are_rejected(name):
    """They would change content, key or condition, or need a counterpart for each read."""
    with pytest.raises(InvalidRequest, match=rf"^\[batchemr\] s3_put_args: {name} cannot be set; these .*SSEKMSKeyId"):
        parse(json.dumps({name: "x"}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ServerSideEncryption=aws:kms", "it is not JSON"),
        ('["aws:kms"]', "expected a JSON object such as"),
        ('{"ServerSideEncryption": "kms"}', "ServerSideEncryption: expected one of AES256, "),
        ('{"BucketKeyEnabled": "yes"}', "BucketKeyEnabled"),
        ('{"ACL": "bucket-owner"}', "ACL: expected one of private, "),
        ('{"StorageClass": "DEEP_ARCHIVE"}', "StorageClass DEEP_ARCHIVE: its objects cannot be read without a restore"),
        ('{"SSEKMSKeyId": "alias/data"}', 'SSEKMSKeyId requires "ServerSideEncryption": "aws:kms"'),
        ('{"ServerSideEncryption": "AES256", "SSEKMSEncryptionContext": "e30="}', "SSEKMSEncryptionContext requires"),
    ],
)
def test_an_invalid_setting_is_rejected(text, problem):
    """Before any call; S3 would reject the first claim of each task."""
    with pytest.raises(InvalidRequest) as caught:
        parse(text)
    assert str(caught.value).startswith("[batchemr] s3_put_args: ")
    assert problem in str(caught.value)


def test_clients_of_the_same_connection_keep_the_arguments():
    """Forecasts, pages and pollers make such clients."""
    clients = Clients(lambda *_: SimpleNamespace(), put_args={"ACL": "private"})
    assert clients.prepared(lambda _: None).put_args == {"ACL": "private"}
    assert clients.with_config(None).put_args == {"ACL": "private"}
