"""An in-memory S3 with conditional writes, a clock and faults."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from threading import RLock
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from airflow_batchemr.ledger import Intent, Ledger


class MemoryS3:
    """The S3 calls of the ledger, atomic, with a clock that the test sets."""

    def __init__(self):
        self.meta = SimpleNamespace(endpoint_url="https://s3.eu-west-1.amazonaws.com")
        self.objects = {}
        self.clock = datetime(2026, 11, 20, tzinfo=timezone.utc)
        self.requests = Counter()
        self.lock = RLock()
        self.page_size = 1000
        self.refuse = {}  # operation -> (code, HTTP status): fails with this error
        self.lose_answer = set()  # operations that take effect but lose their response, so that botocore repeats them

    def tick(self, seconds):
        self.clock += timedelta(seconds=seconds)

    def put_object(self, *, Bucket, Key, Body, ContentType, IfNoneMatch=None, IfMatch=None):  # noqa: N803
        with self.lock:
            self._begin("PutObject", Bucket)
            if "PutObject" in self.lose_answer:
                self.lose_answer.discard("PutObject")
                self.put_object(Bucket=Bucket, Key=Key, Body=Body, ContentType=ContentType, IfNoneMatch=IfNoneMatch)
            if IfNoneMatch == "*" and Key in self.objects:
                raise error("PreconditionFailed", 412, "PutObject")
            if IfMatch is not None and Key not in self.objects:
                raise error("NoSuchKey", 404, "PutObject")
            if IfMatch is not None and self.objects[Key][1] != IfMatch:
                raise error("PreconditionFailed", 412, "PutObject")
            etag = '"' + hashlib.sha256(Body).hexdigest() + '"'
            self.objects[Key] = (Body, etag, self.clock.replace(microsecond=0))
            return self._answer(ETag=etag)

    def get_object(self, *, Bucket, Key):  # noqa: N803
        with self.lock:
            self._begin("GetObject", Bucket)
            if Key not in self.objects:
                raise error("NoSuchKey", 404, "GetObject")
            body, etag, modified = self.objects[Key]
            return self._answer(Body=io.BytesIO(body), ETag=etag, LastModified=modified)

    def delete_object(self, *, Bucket, Key, IfMatch):  # noqa: N803
        with self.lock:
            self._begin("DeleteObject", Bucket)
            if Key in self.objects and self.objects[Key][1] != IfMatch:
                raise error("PreconditionFailed", 412, "DeleteObject")
            self.objects.pop(Key, None)
            return self._answer()

    def list_objects_v2(self, *, Bucket, Prefix, Delimiter=None, ContinuationToken=""):  # noqa: N803
        with self.lock:
            self._begin("ListObjectsV2", Bucket)
            keys = sorted(key for key in self.objects if key.startswith(Prefix))
            if Delimiter:
                rests = [key[len(Prefix) :].split("/") for key in keys]
                folders = sorted({rest[0] for rest in rests if len(rest) > 1})
                return self._answer(CommonPrefixes=[{"Prefix": f"{Prefix}{folder}/"} for folder in folders])
            later = [key for key in keys if key > ContinuationToken]
            page = later[: self.page_size]
            return self._answer(
                Contents=[{"Key": key, "LastModified": self.objects[key][2]} for key in page],
                IsTruncated=len(later) > len(page),
                NextContinuationToken=page[-1] if page else "",
            )

    def _begin(self, operation, bucket):
        self.requests[operation] += 1
        if bucket != "data":
            raise error("NoSuchBucket", 404, operation)
        if operation in self.refuse:
            codes = self.refuse[operation]
            code, status = codes.pop(0) if isinstance(codes, list) else codes
            if codes == []:
                del self.refuse[operation]
            raise error(code, status, operation)

    def _answer(self, **members):
        date = format_datetime(self.clock, usegmt=True)
        return {**members, "ResponseMetadata": {"HTTPHeaders": {"date": date}, "HTTPStatusCode": 200}}


def error(code, status, operation):
    response = {"Error": {"Code": code, "Message": "said S3"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


@pytest.fixture(scope="session")
def new_s3():
    """A function that creates an empty in-memory S3 with the bucket `data`."""
    return MemoryS3


@pytest.fixture
def s3(new_s3):
    """An empty in-memory S3 with the bucket `data`."""
    return new_s3()


@pytest.fixture
def ledger(s3):
    """A ledger under s3://data/_batchemr."""
    return Ledger(s3, "s3://data/_batchemr")


@pytest.fixture
def job(ledger):
    """The ledger of a job without records."""
    return ledger.job("nightly", "2026-11-20T000000Z", "score")


@pytest.fixture(scope="session")
def new_intent():
    """A function that creates an intent for the indices 0-9, each with its own writer."""

    def make(indices="0-9", **fields):
        fields = {"name": "x", "requests": [], "rerun_token": None, "kind": "batch", **fields}
        return Intent(indices=indices, dag_id="nightly", run_key="2026-11-20T000000Z", job="score", **fields)

    return make
