"""botocore's documented example responses, as bytes, through the code that reads such responses."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from airflow_batchemr.aws.batch import children, jobs
from airflow_batchemr.aws.batch.data_arrays import _listed
from airflow_batchemr.aws.batch.definitions import definition_request, ensure_definition
from airflow_batchemr.aws.batch.options import batch_options
from airflow_batchemr.aws.batch.progress import JobSummary, summary_of
from airflow_batchemr.aws.batch.results import collect
from airflow_batchemr.aws.batch.runnable import explain
from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import HandleJob
from airflow_batchemr.ledger.store import Store
from tests.wire import problems

EXAMPLES = botocore.loaders.Loader().load_service_model("batch", "examples-1")["examples"]
S3 = botocore.loaders.Loader().load_service_model("s3", "examples-1")["examples"]
OUTPUTS = [(operation, example.get("output", {})) for operation, all_ in EXAMPLES.items() for example in all_]
JOB = "24fa2d7a-64c4-49d2-8b47-f8da4fbde8e9"


class Body:
    def __init__(self, content):
        self._content = content

    def stream(self, **_):
        yield self._content

    def read(self, _=None):
        return self._content


class Example:
    """An account in which each operation of Batch has the response of its last example, and nothing else exists.

    Attributes:
        asked: Operation and parameters of each call.
    """

    def __init__(self, **answers):
        self.asked = []
        self.answers = {operation: all_[-1].get("output", {}) for operation, all_ in EXAMPLES.items()} | answers
        session = boto3.Session("key", "secret", region_name="us-east-1")

        def make(service, config):
            client = session.client(service, config=config)
            client.meta.events.register("before-send", self._answer)
            return client

        self.clients = Clients(make)

    def _answer(self, request, **_):
        operation = self._operation(urlsplit(request.url).path)
        headers = {"Content-Type": "application/json"}
        if operation is None:
            headers["x-amzn-ErrorType"] = "UnknownOperationException"
            return AWSResponse(request.url, 404, headers, Body(b"{}"))
        self.asked.append((operation, json.loads(request.body or b"{}")))
        return AWSResponse(request.url, 200, headers, Body(json.dumps(self.answers[operation]).encode()))

    def _operation(self, path):
        return next((each for each in self.answers if path == f"/v1/{each.lower()}"), None)


@pytest.mark.parametrize(("operation", "output"), OUTPUTS, ids=[operation for operation, _ in OUTPUTS])
def test_the_check_of_responses_accepts_the_examples(operation, output):
    """So what it rejects is not AWS's."""
    headers = {"content-type": "application/json"}
    assert [] == problems("batch", operation, 200, headers, json.dumps(output).encode())


def test_describe_jobs_is_a_success_of_the_index():
    """The example has an ended job without attempts, tags and a log stream."""
    account = Example()
    described = jobs.describe(account.clients, [JOB])
    assert [("DescribeJobs", EXAMPLES["DescribeJobs"][0]["input"])] == account.asked
    job = described[JOB]
    assert "SUCCEEDED" == jobs.states([job])
    assert JobSummary(JOB, "example", "SUCCEEDED", None, (), None, "/aws/batch/job", None, 1480460782010) == summary_of(
        job
    )
    ended = collect(account.clients, HandleJob(job_id=JOB, name="example", indices=IndexSet.of([7])), job)
    assert (IndexSet.of([7]), []) == (ended.succeeded, ended.failures)


def test_list_jobs_has_ids_and_names_only():
    """The example's summaries have no status and no time: such a job has not ended."""
    account = Example()
    assert [("68f0c163-fbd4-44e6-9fd1-25b14a434786", "example")] == [
        (job["jobId"], job["jobName"]) for job in jobs.find(account.clients, "HighPriority", "exa")
    ]
    assert 5 == len(list(jobs.living(account.clients, "HighPriority")))
    settled = children.settle(account.clients, "exa", [], stopped=True)
    assert ["68f0c163-fbd4-44e6-9fd1-25b14a434786"] == settled.running == settled.unwanted


def test_describe_job_queues_finds_an_enabled_queue():
    """By name, and in the list of all queues."""
    account = Example()
    jobs.check_queue(account.clients, "HighPriority")
    assert [("DescribeJobQueues", EXAMPLES["DescribeJobQueues"][0]["input"])] == account.asked
    assert ["HighPriority"] == jobs.queue_names(account.clients)


def test_describe_job_definitions_finds_the_revision():
    """The ARN is what SubmitJob gets."""
    account = Example()
    options = batch_options({"queue": "HighPriority", "definition": "sleep60", "command": "true"})
    found = ensure_definition(account.clients, options)
    assert ("arn:aws:batch:us-east-1:012345678910:job-definition/sleep60:1", 1) == (
        found["jobDefinitionArn"],
        found["revision"],
    )


def test_register_job_definition_returns_the_arn():
    """It is called if there is no definition for the image."""
    account = Example(DescribeJobDefinitions={"jobDefinitions": []})
    options = batch_options({"queue": "HighPriority", "image": "busybox", "command": "true"})
    found = ensure_definition(account.clients, options)
    assert found == {
        **definition_request(options),
        "jobDefinitionArn": "arn:aws:batch:us-east-1:012345678910:job-definition/sleep30:1",
        "revision": 1,
    }


def test_submit_and_terminate_job_send_the_example():
    """SubmitJob returns the id; TerminateJob returns nothing."""
    account = Example()
    (example,) = EXAMPLES["SubmitJob"]
    assert "876da822-4198-45f2-a252-6cea32512ea8" == jobs.submit(account.clients, example["input"])
    (example,) = EXAMPLES["TerminateJob"]
    jobs.terminate(account.clients, [example["input"]["jobId"]], "Terminating job.")
    assert [
        ("SubmitJob", EXAMPLES["SubmitJob"][0]["input"]),
        ("TerminateJob", {**example["input"], "reason": "airflow-batchemr: Terminating job."}),
    ] == account.asked


def test_describe_compute_environments_explains_why_a_job_waits():
    """The environment of the example has room for the job of the example, and not if it may have no vCPUs."""
    account = Example()
    assert ["AWS reports no problem: the queue may be full, or have no capacity at the moment"] == explain(
        account.clients, JOB
    )
    (environment,) = EXAMPLES["DescribeComputeEnvironments"][0]["output"]["computeEnvironments"]
    assert ("DescribeComputeEnvironments", {"computeEnvironments": [
        "arn:aws:batch:us-east-1:012345678910:compute-environment/C4OnDemand"
    ]}) in account.asked  # fmt: skip
    none = {**environment, "computeResources": {**environment["computeResources"], "maxvCpus": 0}}
    account = Example(DescribeComputeEnvironments={"computeEnvironments": [none]})
    assert [
        "the compute environment P2OnDemand may have 0 vCPUs (maxvCpus)",
        "the job requests 1 vCPUs, more than any of its compute environments may have (P2OnDemand: 0)",
    ] == explain(account.clients, JOB)


def test_a_job_is_found_in_the_snapshot_of_its_queue_without_its_arn():
    """JobDetail does not require an ARN, and the example has none."""
    arn = f"arn:aws:batch:us-east-1:012345678910:job/{JOB}"
    front = {"jobs": [{"jobArn": arn + "0"}, {"jobArn": f"{arn}:3"}], "lastUpdatedAt": 1}
    assert ["it is number 2 in its queue"] == explain(Example(GetJobQueueSnapshot={"frontOfQueue": front}).clients, JOB)


def test_list_objects_has_keys_and_sizes():
    """The example of S3 is the first of two pages. Its numbers are texts, which the protocol has as numbers."""
    client = boto3.client("s3", "us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")
    (example,) = S3["ListObjectsV2"]
    page = {**example["output"], "KeyCount": 2, "MaxKeys": 2}
    bucket = {"Bucket": "amzn-s3-demo-bucket", "Prefix": ""}
    with Stubber(client) as stub:
        stub.add_response("list_objects_v2", page, bucket)
        stub.add_response("list_objects_v2", {}, {**bucket, "ContinuationToken": page["NextContinuationToken"]})
        found = _listed(Clients(lambda *_: client), "s3://amzn-s3-demo-bucket/", "")
    assert {"s3://amzn-s3-demo-bucket/happyface.jpg": 11, "s3://amzn-s3-demo-bucket/test.jpg": 4192256} == found


def test_the_ledger_reads_and_writes_objects_as_in_the_examples():
    """Members of GetObject and PutObject are HTTP headers."""
    client = boto3.client("s3", "us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")
    examples = {"GET": S3["GetObject"][0]["output"], "PUT": S3["PutObject"][0]["output"]}
    names = {"ETag": "ETag", "LastModified": "Last-Modified", "VersionId": "x-amz-version-id"}

    def answer(request, **_):
        headers = {names[member]: value for member, value in examples[request.method].items() if member in names}
        return AWSResponse(request.url, 200, headers, Body(b"{}" if request.method == "GET" else b""))

    client.meta.events.register("before-send", answer)
    store = Store(client, "s3://examplebucket/state")
    found = store.get("HappyFace.jpg")
    assert (b"{}", examples["GET"]["ETag"]) == (found.body, found.etag)
    assert datetime(2016, 12, 15, 1, 19, 41, tzinfo=timezone.utc) == found.last_modified
    assert store.create("objectkey", b"")


def test_an_operation_without_an_example_is_unknown():
    """The code of an unknown operation is in a header, and the status is 404."""
    with pytest.raises(ClientError) as caught:
        Example().clients.batch.list_service_jobs(jobQueue="HighPriority")
    assert "UnknownOperationException" == caught.value.response["Error"]["Code"]
