"""Answers that lack what AWS documents become errors that show them: AWS's models do not require these members."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from types import SimpleNamespace

import boto3
import pytest
from botocore.stub import Stubber

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.results import collect
from airflow_batchemr.aws.batch.runnable import explain
from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.job_run_targets import Eks
from airflow_batchemr.aws.emr.poll import EmrPoller
from airflow_batchemr.aws.errors import UnexpectedAnswer, Unknown
from airflow_batchemr.aws.logs import LogFollower, tail
from airflow_batchemr.aws.outage import passing, settling
from airflow_batchemr.aws.poller import Poller
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import HandleJob

ROLE = "arn:aws:iam::123456789012:role/runs"
JOB = {"jobId": "j-1", "jobName": "x", "jobQueue": "q", "startedAt": 0, "jobDefinition": "d"}
ARRAY = HandleJob(job_id="j-1", name="x", indices=IndexSet.parse("3,17,42"))


def answering(service, *answers):
    """Clients whose calls get these answers: (operation, answer)."""
    client = boto3.client(
        service, region_name="us-east-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="x",
        aws_secret_access_key="x",
    )  # fmt: skip
    stub = Stubber(client)
    for operation, answer in answers:
        stub.add_response(operation, answer)
    stub.activate()
    return Clients(lambda *_: client)


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
@pytest.mark.parametrize(
    "properties", [{}, {"arrayProperties": {}}, {"arrayProperties": {"size": 2}}, {"arrayProperties": {"index": 1}}]
)
def test_an_array_without_its_size_is_not_taken_for_a_single_job(status, properties):
    """Otherwise all its indices would be done, or the first one would have failed."""
    with pytest.raises(UnexpectedAnswer, match=r'DescribeJobs: .* an array size of \d instead of 3: \{"jobId": "j-1"'):
        collect(Clients(None), ARRAY, {**JOB, "status": status, **properties})


def test_a_single_job_that_is_described_as_an_array_is_an_error():
    """Its one index would be that of a child."""
    one = HandleJob(job_id="j-1", name="x", indices=IndexSet.of([4]))
    with pytest.raises(UnexpectedAnswer, match="an array size of 10 instead of 1"):
        collect(Clients(None), one, {**JOB, "status": "SUCCEEDED", "arrayProperties": {"size": 10}})


def test_a_failed_child_without_its_index_is_an_error():
    """It is unknown which index has failed."""
    parent = {**JOB, "status": "FAILED", "arrayProperties": {"size": 3, "statusSummary": {"SUCCEEDED": 2, "FAILED": 1}}}
    child = {"jobId": "j-1:1", "jobName": "x", "status": "FAILED"}
    clients = answering("batch", ("list_jobs", {"jobSummaryList": [child]}))
    with pytest.raises(UnexpectedAnswer, match=r'ListJobs: .* a child without its index: \{"jobId": "j-1:1"'):
        collect(clients, ARRAY, parent)


def test_the_index_of_a_failed_child_does_not_depend_on_its_description():
    """DescribeJobs may leave the index out; the child's position in the list decides."""
    parent = {**JOB, "status": "FAILED", "arrayProperties": {"size": 3, "statusSummary": {"SUCCEEDED": 2, "FAILED": 1}}}
    child = {"jobId": "j-1:1", "jobName": "x", "status": "FAILED"}
    described = [{**JOB, "jobId": f"j-1:{n}", "status": "FAILED" if n == 1 else "SUCCEEDED"} for n in range(3)]
    clients = answering(
        "batch",
        ("list_jobs", {"jobSummaryList": [{**child, "arrayProperties": {"index": 1}}]}),
        ("describe_jobs", {"jobs": described}),
    )
    ended = collect(clients, ARRAY, parent)
    assert ([17], "3,42") == ([failure.index for failure in ended.failures], str(ended.succeeded))


def run_job_flow(answer):
    request = {"Name": "x", "Instances": {}}
    return clusters.create(answering("emr", ("run_job_flow", answer)), request, lambda _: None)


def add_steps(answer):
    config = {"Name": "x", "HadoopJarStep": {"Jar": "x"}}
    return steps.add(
        answering("emr", ("add_job_flow_steps", answer)),
        {"JobFlowId": "j-1", "Steps": [config, config]},
        lambda _: None,
    )


def start_on_eks(answer):
    return Eks("vc", ROLE, "emr-7.5.0").start(answering("emr-containers", ("start_job_run", answer)), EKS_REQUEST)


EKS_REQUEST = {"virtualClusterId": "vc", "clientToken": "t"}


@pytest.mark.parametrize(
    ("start", "answer", "shown"),
    [
        (run_job_flow, {}, "RunJobFlow: AWS's answer has no JobFlowId: {}"),
        (add_steps, {}, "AddJobFlowSteps: AWS's answer has no StepIds: {}"),
        (add_steps, {"StepIds": ["s-1"]}, '1 ids for 2 steps: {"StepIds": ["s-1"]}'),
        (start_on_eks, {"name": "x"}, 'StartJobRun: AWS\'s answer has no id: {"name": "x"}'),
    ],
)
def test_a_start_without_an_id_may_have_been_carried_out(start, answer, shown):
    """It is `Unknown`, so the work is searched for by its name, and it is not started twice."""
    with pytest.raises(UnexpectedAnswer) as caught:
        start(answer)
    assert shown in str(caught.value)
    assert isinstance(caught.value, Unknown)


@pytest.mark.parametrize(
    ("service", "operation", "answer", "call", "shown"),
    [
        ("batch", "describe_jobs", {}, lambda c: jobs.describe(c, ["x"]), "DescribeJobs: .* no jobs: {}"),
        ("batch", "describe_job_queues", {}, jobs.queue_names, "DescribeJobQueues: .* no jobQueues"),
        ("batch", "describe_job_queues", {}, lambda c: jobs.check_queue(c, "q"), "DescribeJobQueues: .* no jobQueues"),
        ("emr", "describe_cluster", {}, lambda c: clusters.describe(c, "j-1"), "DescribeCluster: .* no Cluster"),
        ("emr", "list_clusters", {}, lambda c: list(clusters.listed(c)), "ListClusters: .* no Clusters"),
        ("emr", "list_steps", {}, lambda c: list(steps.listed(c, "j-1")), "ListSteps: .* no Steps"),
        ("emr", "list_steps", {}, lambda c: steps.states(c, "j-1", ["s-1"]), "ListSteps: .* no Steps"),
        ("emr", "list_steps", {"Steps": [{}]}, lambda c: steps.find(c, "j-1", {}), "ListSteps: .* no Id"),
        ("emr", "list_steps", {"Steps": [{"Id": "s"}]}, lambda c: steps.find(c, "j-1", {}), "ListSteps: .* no Status"),
        (
            "emr",
            "list_steps",
            {"Steps": [{"Id": "s", "Status": {}}]},
            lambda c: steps.find(c, "j-1", {}),
            "ListSteps: .* no State",
        ),
        ("emr", "list_clusters", {"Clusters": [{"Id": "j"}]}, lambda c: EmrPoller(c)._listed({"j"}), "no Status"),
        (
            "emr",
            "describe_cluster",
            {"Cluster": {"Id": "j-1", "Status": {}}},
            lambda c: clusters.is_alive(c, "j-1"),
            "no State",
        ),
        ("emr", "describe_cluster", {}, lambda c: EmrPoller(c)._look(["j-1"]), "DescribeCluster: .* no Cluster"),
        ("emr-containers", "describe_job_run", {}, lambda c: Eks("vc", ROLE).describe(c, "r"), "no jobRun"),
        ("emr-containers", "list_job_runs", {}, lambda c: Eks("vc", ROLE).listed(c), "ListJobRuns: .* no jobRuns"),
        (
            "emr-containers",
            "describe_job_run",
            {"jobRun": {"id": "r"}},
            lambda c: Eks("vc", ROLE).describe(c, "r"),
            'no state: {"id": "r"}',
        ),
    ],
)
def test_an_answer_without_its_content_is_an_error_that_shows_it(service, operation, answer, call, shown):
    """Not a KeyError, and not nothing: an empty list would mean that no such work exists."""
    with pytest.raises(UnexpectedAnswer, match=shown) as caught:
        call(answering(service, (operation, answer)))
    assert not passing(caught.value)


@pytest.mark.parametrize(
    ("jobs_", "lacking"),
    [
        ([{"jobId": "j-1", "jobName": "x"}], "status"),
        ([{"jobName": "x", "status": "RUNNING"}], "jobId"),
        (None, "jobs"),
    ],
)
def test_jobs_without_the_members_of_the_model_are_an_error_that_shows_them(jobs_, lacking):
    """Servers that are not AWS's may leave out what AWS's model requires. The wait and the engine read the same."""
    answer = {} if jobs_ is None else {"jobs": jobs_}
    with pytest.raises(UnexpectedAnswer, match=f"DescribeJobs: AWS's answer has no {lacking}: "):
        jobs.described(answer)


def test_entries_of_lists_without_the_members_of_the_model_are_an_error_that_shows_them():
    """A job without a name would not be found by its name, and would be submitted again."""
    listed = SimpleNamespace(batch=SimpleNamespace(list_jobs=lambda **_: {"jobSummaryList": [{"jobId": "j-1"}]}))
    with pytest.raises(UnexpectedAnswer, match=r'ListJobs: AWS\'s answer has no jobName: \{"jobId": "j-1"\}'):
        jobs.find(listed, "q", "x")


def test_an_unexpected_answer_about_running_work_is_tolerated_for_minutes():
    """As the wait does: a proxy may have cut it. Work that runs needs a task that watches it."""
    assert settling(UnexpectedAnswer("batch:DescribeJobs: AWS's answer has no jobs: {}"))
    assert not settling(Unknown("x"))


QUEUE = {
    "jobQueueName": "q",
    "jobQueueArn": "arn:q",
    "state": "ENABLED",
    "priority": 1,
    "computeEnvironmentOrder": [],
}


def test_missing_members_do_not_break_what_is_only_shown():
    """The last lines of a log, and why a job stays RUNNABLE, are best effort."""
    assert [] == tail(answering("logs", ("get_log_events", {})), "group", "stream")
    assert [""] == tail(answering("logs", ("get_log_events", {"events": [{}]})), "group", "stream")
    runnable = {**JOB, "status": "RUNNABLE"}
    clients = answering(
        "batch",
        ("describe_jobs", {"jobs": [runnable]}),
        ("describe_job_queues", {"jobQueues": [QUEUE]}),
        ("describe_compute_environments", {}),
        ("get_job_queue_snapshot", {"frontOfQueue": {"jobs": [{}]}}),
    )
    assert "at least 1 jobs are ahead of it in its queue" in explain(clients, "j-1")


def test_a_log_event_without_its_stream_is_left_out():
    """The others of the page are kept."""
    event = {"eventId": "1", "logStreamName": "s", "timestamp": int(time.time() * 1000), "message": "hello"}
    follower = LogFollower(answering("logs", ("filter_log_events", {"events": [{"message": "?"}, event]})))
    assert ["hello"] == follower.look_again(follower.id_of("group", "s"))


def test_a_long_answer_is_shortened():
    """The message stays readable."""
    with pytest.raises(UnexpectedAnswer) as caught:
        Eks("vc", ROLE).describe(answering("emr-containers", ("describe_job_run", LONG)), "r")
    assert len(str(caught.value)) < 700


def test_a_wait_fails_if_answers_stay_unreadable():
    """Whatever member is missing."""

    def describe(ids):
        return {id_: {}["status"] for id_ in ids}

    async def wait():
        poller = Poller(describe, shortest=0.01, longest=0.05, patience=0.1)
        async with aclosing(poller.watch(["x"], lambda _: None)) as looks:
            async for _ in looks:
                pass

    with pytest.raises(UnexpectedAnswer, match="KeyError: 'status'"):
        asyncio.run(asyncio.wait_for(wait(), 10))


LONG = {"jobRun": {"id": "r", "stateDetails": "x" * 5_000}}


def test_a_wait_fails_if_answers_stay_unexpected():
    """Polling forever would show nothing but warnings. The first one says how long the calls are repeated."""
    warned = []

    def describe(ids):
        raise UnexpectedAnswer("batch:DescribeJobs: AWS's answer has no jobs: {}")

    async def wait():
        poller = Poller(describe, shortest=0.01, longest=0.05, patience=0.1)
        async with aclosing(poller.watch(["x"], warned.append)) as looks:
            async for _ in looks:
                pass

    with pytest.raises(UnexpectedAnswer, match="no jobs"):
        asyncio.run(asyncio.wait_for(wait(), 10))
    (warning,) = warned
    assert warning.startswith("batch:DescribeJobs: AWS's answer has no jobs: {}. Retrying for ")
