"""Whoever writes the data of an array decides how many rows and objects there are. A worker stays within bounds."""

from __future__ import annotations

import boto3
import pytest
from botocore.response import StreamingBody

from airflow_batchemr.aws.batch import data_arrays
from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.errors import InvalidRequest


@pytest.fixture
def upload(local_aws):
    client = boto3.client("s3")
    client.create_bucket(Bucket="data")
    return lambda key, body=b"": client.put_object(Bucket="data", Key=key, Body=body)


@pytest.fixture
def clients(upload):
    clients = boto3_clients()
    assert "s3" == clients.s3.meta.service_model.service_name
    return clients


def test_a_file_of_rows_that_is_too_large_is_not_read(upload, clients, monkeypatch):
    """Its size is known before its content."""
    monkeypatch.setattr(data_arrays, "MAX_ROWS_BYTES", 1_000_000)
    monkeypatch.setattr(StreamingBody, "read", lambda *_: pytest.fail("the object was read"))
    upload("rows.txt", b"x" * 1_000_001)
    with pytest.raises(InvalidRequest, match="has more than 1,000,000 bytes"):
        data_arrays._rows(clients, "s3://data/rows.txt")


def test_millions_of_rows_are_not_held(upload, clients, monkeypatch):
    """Empty lines are no rows, and of the others only one more is read than a job can have."""
    upload("empty.txt", b"\n" * 1_000_000 + b"a\r\nb")
    assert ["a", "b"] == data_arrays._rows(clients, "s3://data/empty.txt").values
    monkeypatch.setattr(data_arrays, "MAX_INDICES", 1_000)
    upload("many.txt", b"x\n" * 100_000)
    assert 1_001 == len(data_arrays._rows(clients, "s3://data/many.txt").values)


def test_too_many_objects_are_not_listed(upload, clients, monkeypatch):
    """The listing ends there."""
    for number in range(12):
        upload(f"in/{number}")
    monkeypatch.setattr(data_arrays, "MAX_OBJECTS", 10)
    with pytest.raises(InvalidRequest, match="array: there are more than 10 objects under s3://data/in/"):
        data_arrays._listed(clients, "s3://data/in/", "")
    monkeypatch.setattr(data_arrays, "MAX_OBJECTS", 12)
    assert 12 == len(data_arrays._listed(clients, "s3://data/in/", ""))
