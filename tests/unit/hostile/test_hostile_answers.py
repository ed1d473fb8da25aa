"""Whatever an endpoint answers instead of AWS, a reader of answers gets a value or an AwsError."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timezone

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batchemr.aws.answers import check_answers
from airflow_batchemr.aws.batch import children, jobs
from airflow_batchemr.aws.batch.progress import summary_of
from airflow_batchemr.aws.batch.remote import BatchRemote
from airflow_batchemr.aws.batch.results import collect
from airflow_batchemr.aws.batch.runnable import explain
from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.job_run import JobRunRemote
from airflow_batchemr.aws.emr.job_run_targets import Eks, Serverless
from airflow_batchemr.aws.emr.remote import EmrRemote
from airflow_batchemr.aws.errors import AwsError, UnexpectedAnswer, member
from airflow_batchemr.aws.rate import Rate
from airflow_batchemr.cli.inventory import batch_jobs, duplicate_steps, emr_clusters, instance_hours, job_runs
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.history import job_history_of
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.ownership import ForeignWorkError
from airflow_batchemr.engine.unrecorded import RemoteStatus
from airflow_batchemr.ledger import Handle, HandleJob, Intent, Request, Submission
from airflow_batchemr.ledger.state import LedgerState
from tests.unit.hostile.bounds import bounded

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
WHO = JobIdentity("s3://data/_batchemr", "nightly", "k", "score", run_id="r", task_id="score")
TEXTS = [
    "", "j-1", "s-1", "x", "FAILED", "SUCCEEDED", "RUNNING", "COMPLETED", "WAITING", "TERMINATED", "batchemr:dag_id",
    "\x1b]0;x\x07", "\u202e\u2066", "\0", "../..", "9" * 400, "1:x", "a" * 100_000, "ALL_STEPS_COMPLETED", "0:", "VCPU",
]  # fmt: skip
NUMBERS = [0, 1, 2, 3, -1, 137, 10**12, 2**63 - 1, -(2**63)]
WRONG = [None, True, "x", 1, 1.5, [], {}, [None], {"a": 1}, 2**70, float("nan")]
#: Ids and names that readers look for.
IDS = {"jobId": ["j-1"], "Id": ["j-1", "s-1"], "id": ["j-1"], "jobRunId": ["j-1"], "jobName": ["x"], "Name": ["x", "y"]}
#: Members that are left out less often, because readers require them.
NEEDED = {
    "jobs", "jobSummaryList", "jobQueues", "jobId", "jobName", "status", "Cluster", "Clusters", "Steps", "Id", "Status",
    "State", "jobRun", "jobRuns", "id", "state", "jobRunId", "arn", "name", "arrayProperties", "size", "index", "tags",
    "Tags", "jobQueueArn", "jobQueueName", "applications", "virtualClusters", "Instances", "computeEnvironments",
}  # fmt: skip


#: Name and tags of the submission's work, without which it is refused.
NAME, TAGS = WHO.submission_name(1), WHO.tags(1)
OURS = {
    "JobDetail": {"jobName": NAME, "tags": TAGS},
    "JobRun": {"name": NAME, "tags": TAGS},
    "Cluster": {"Name": NAME, "Tags": [{"Key": key, "Value": value} for key, value in TAGS.items()]},
    "StepSummary": {"Name": f"x [{NAME}-s0000]"},
}


class Endpoint:
    """Random answers that have AWS's form, except that members are missing and, if `wrong`, some have another type."""

    def __init__(self):
        self.clients = Clients(self.client)
        self.seed(0, wrong=False)

    def seed(self, seed, *, wrong):
        """Begin another sequence of answers; returns the clients, which take long to make."""
        self.random = random.Random(seed)
        self.wrong = 0.02 if wrong else 0.0
        return self.clients

    def client(self, service, _config=None):
        client = boto3.client(
            service, region_name="us-east-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="x",
            aws_secret_access_key="x",
        )  # fmt: skip
        client.meta.events.register("before-call", self.answer)
        check_answers(client)
        return client

    def answer(self, model, **_):
        parsed = self.make(model.output_shape, 0) if model.output_shape is not None else {}
        if isinstance(parsed, dict):
            for name in ("nextToken", "NextToken", "Marker"):
                parsed.pop(name, None)
        return AWSResponse("http://127.0.0.1:9", 200, {}, None), parsed

    def make(self, shape, depth, name=None):
        draw = self.random
        if depth and draw.random() < self.wrong:
            return draw.choice(WRONG)
        kind = shape.type_name
        if kind == "structure":
            chance = 0.6 if depth < 4 else 0.25
            made = {
                name: self.make(member, depth + 1, name)
                for name, member in shape.members.items()
                if draw.random() < (0.93 if name in NEEDED else chance if depth < 7 else 0)
            }
            return made | (OURS.get(shape.name, {}) if draw.random() < 0.9 else {})
        if kind == "list":
            return [self.make(shape.member, depth + 1) for _ in range(draw.choice([0, 1, 1, 2]))]
        if kind == "map":
            return {draw.choice(TEXTS): self.make(shape.value, depth + 1) for _ in range(draw.choice([0, 1, 2]))}
        if kind == "timestamp":
            return draw.choice(
                [NOW, datetime(1, 1, 1, tzinfo=timezone.utc), datetime(9999, 12, 31, tzinfo=timezone.utc)]
            )
        if kind == "boolean":
            return draw.random() < 0.5
        if kind in {"integer", "long"}:
            return draw.choice(NUMBERS)
        if kind in {"float", "double"}:
            return draw.choice([0.0, 1.5, -1e300])
        if name in IDS and draw.random() < 0.8:
            return draw.choice(IDS[name])
        if shape.enum and draw.random() < 0.8:
            return draw.choice(shape.enum)
        return draw.choice(TEXTS)


def submission(kind, indices, request, handle, **details):
    wanted = IndexSet.parse(indices)
    intent = Intent(
        kind=kind, name="x", requests=[Request(name="x", indices=wanted, request=request)], indices=wanted,
        rerun_token=None, dag_id="nightly", run_key="k", job="score", details=details, written_at=NOW,
    )  # fmt: skip
    return Submission(1, NOW, intent=intent, handle=Handle(kind=kind, **handle))


JOB = {"jobs": [HandleJob(job_id="j-1", name="x", indices="0")]}
ARRAY = {"jobs": [HandleJob(job_id="j-1", name="x", indices="3,17")]}
SUBMISSIONS = {
    "a job": submission("batch", "0", {"jobQueue": "q"}, JOB),
    "an array": submission("batch", "3,17", {"jobQueue": "q"}, ARRAY),
    "a driver": submission("batch", "3,17", {"jobQueue": "q"}, ARRAY, wait_for_children=True),
    "a cluster": submission("emr", "0", {}, {"cluster_id": "j-1"}),
    "a cluster with steps": submission(
        "emr", "0-1", {"Steps": [{"Name": "x"}, {"Name": "y"}]}, {"cluster_id": "j-1", "step_ids": {0: "s-1"}}
    ),
    "steps": submission(
        "steps", "0", {"Steps": [{"Name": "x"}]}, {"cluster_id": "j-1", "step_ids": {0: "s-1"}}, cluster_id="j-1"
    ),
    "a run of EMR Serverless": submission("emr_serverless", "0", {}, JOB, where="a"),
    "a run of EMR on EKS": submission("emr_eks", "0", {}, JOB, where="a"),
}


def remote_of(kind, clients, ledger):
    if kind == "batch":
        return BatchRemote(clients, ledger, WHO)
    return (EmrRemote if kind in {"emr", "steps"} else JobRunRemote)(clients, ledger, WHO)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(clusters, "RATE", Rate(per_second=1e9, burst=10**9))


FUZZED = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**32)
ENDPOINT = Endpoint()


@pytest.mark.parametrize("one", SUBMISSIONS.values(), ids=SUBMISSIONS)
@FUZZED
@given(seed=SEEDS, wrong=st.booleans())
def test_a_submission_is_observed_or_an_error(ledger, one, seed, wrong):
    """What a try, a page or `history` learns from AWS about open work; a result is one that can be recorded."""
    clients = ENDPOINT.seed(seed, wrong=wrong)
    score = ledger.job("nightly", "k", "score")
    remote = remote_of(one.kind, clients, score)
    with bounded(memory=60_000_000, lines=3_000_000):
        try:
            remote.find(one)
            observation = remote.observe(one)
            ending = remote.result(one, observation) if observation.status != "running" else None
        except (AwsError, ForeignWorkError):
            return
    if ending is not None:
        type(ending.result).model_validate_json(ending.result.model_dump_json())
        state = LedgerState([1], [one], None, None, 1, NOW)
        ended = Submission(1, NOW, one.intent, one.handle, ending.result)
        assert job_history_of("score", state, sightings={1: RemoteStatus(ended, "ended")}).submissions


READERS = {
    "describe jobs": lambda clients: [summary_of(job) for job in jobs.describe(clients, ["j-1"]).values()],
    "find jobs": lambda clients: jobs.find(clients, "q", "x"),
    "list children": lambda clients: list(jobs.children(clients, "j-1", "FAILED")),
    "list living jobs": lambda clients: list(jobs.living(clients, "q")),
    "list queues": jobs.queue_names,
    "check a queue": lambda clients: jobs.check_queue(clients, "q"),
    "find children": lambda clients: children.find(clients, "x"),
    "explain": lambda clients: explain(clients, "j-1"),
    "describe a cluster": lambda clients: clusters.is_alive(clients, "j-1"),
    "find clusters": lambda clients: clusters.find(clients, "x", NOW),
    "find steps": lambda clients: steps.find(clients, "j-1", {0: "x"}),
    "describe steps": lambda clients: steps.states(clients, "j-1", ["s-1"]),
    "describe a run of EMR Serverless": lambda clients: Serverless("a", "r").describe(clients, "x"),
    "describe a run of EMR on EKS": lambda clients: Eks("a", "r").describe(clients, "x"),
    "find runs of EMR Serverless": lambda clients: Serverless("a", "r").find(clients, "x", NOW),
    "find runs of EMR on EKS": lambda clients: Eks("a", "r").find(clients, "x", NOW),
    "release of an application": lambda clients: Serverless("a", "r").release_label(clients),
    "orphaned jobs": batch_jobs,
    "orphaned clusters": lambda clients: [
        (instance_hours(clients, one), list(duplicate_steps(clients, one)), one.age, one.submission)
        for one in emr_clusters(clients)
    ],
    "orphaned runs of EMR Serverless": lambda clients: job_runs(clients, Serverless),
    "orphaned runs of EMR on EKS": lambda clients: job_runs(clients, Eks),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@FUZZED
@given(seed=SEEDS, wrong=st.booleans())
def test_an_answer_is_read_or_an_error(read, seed, wrong):
    """Each call on its own."""
    clients = ENDPOINT.seed(seed, wrong=wrong)
    with bounded(memory=60_000_000, lines=3_000_000):
        try:
            value = read(clients)
            if isinstance(value, Iterator):
                list(value)
        except AwsError:
            return


def test_a_wrong_type_is_an_error_that_names_its_place():
    """The parsers of botocore leave values of JSON as they are."""
    client = Endpoint().client("batch")
    client.meta.events.register_first(
        "before-call",
        lambda **_: (
            AWSResponse("http://127.0.0.1:9", 200, {}, None),
            {"jobs": [{"jobId": "j", "attempts": "x" * 10_000}]},
        ),
    )
    with pytest.raises(
        UnexpectedAnswer, match=r"batch:DescribeJobs: .* a wrong type at \.jobs\[\]\.attempts"
    ) as caught:
        client.describe_jobs(jobs=["j"])
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("answer", [None, [], "x", {}, {"Id": None}, {"Id": ""}])
def test_an_id_that_is_missing_or_empty_is_an_error(answer):
    """An empty one could be neither recorded nor looked up."""
    with pytest.raises(UnexpectedAnswer, match="elasticmapreduce:DescribeCluster: AWS's answer has no Id"):
        member(answer, "Id", "elasticmapreduce:DescribeCluster")


@pytest.mark.parametrize("index", [-1, 2, 10**12])
def test_a_child_outside_its_array_is_an_error(monkeypatch, index):
    """A negative index counted from the end: another index would have failed."""
    child = {"jobId": "j-1:0", "jobName": "x", "status": "FAILED", "arrayProperties": {"index": index}}
    monkeypatch.setattr(jobs, "children", lambda *_: [child])
    parent = {"jobId": "j-1", "jobName": "x", "status": "FAILED", "arrayProperties": {"size": 2}}
    with pytest.raises(UnexpectedAnswer, match=f"a child with index {index} in an array of size 2"):
        collect(Clients(None), ARRAY["jobs"][0], parent)
