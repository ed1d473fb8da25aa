"""The ledger over HTTP, with the S3 of the local AWS."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from airflow_batchemr.aws.batch.array_work import ArrayWork
from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import closed, decide
from airflow_batchemr.ledger import (
    BucketMissingError,
    Handle,
    HandleJob,
    Intent,
    Ledger,
    LedgerUnavailableError,
    Marker,
    NotAllowedError,
    Result,
)

STATE = "s3://data/_batchemr"


@pytest.fixture
def ledger(local_aws):
    """A ledger with the client that operators use, in a bucket of the local AWS."""
    local_aws.client("s3").create_bucket(Bucket="data")
    return Ledger(boto3_clients().s3, STATE)


def intent(indices="0-9999", rerun_token=None):
    return Intent(
        kind="batch", name="x", requests=[], indices=indices, rerun_token=rerun_token, dag_id="d", run_key="r", job="j"
    )  # fmt: skip


def submission(job, number, indices, succeeded, rerun_token=None):
    assert job.claim(number, intent(indices, rerun_token))
    job.record_handle(number, Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x", indices=indices)]))
    job.record_result(
        number, Result(kind="batch", outcome="failed", indices=indices, succeeded=succeeded, rerun_token=rerun_token)
    )  # fmt: skip


def counted(aws):
    return {name: calls for name, calls in aws.requests().items() if calls}


def test_a_marker_check_takes_one_list_and_a_few_gets(local_aws, ledger):
    """For an array of 10,000 with three earlier submissions: one LIST and at most four GETs."""
    job = ledger.job("d", "r", "j")
    submission(job, 1, IndexSet.range(10_000), IndexSet.of(range(0, 10_000, 3)))
    submission(job, 2, IndexSet.range(10_000) - job.read().done, IndexSet.of(range(1, 10_000, 3)))
    submission(job, 3, IndexSet.range(10_000) - job.read().done, IndexSet.of(range(2, 9_000, 3)))
    local_aws.reset_requests()
    left = IndexSet.range(10_000) - job.read().done
    assert len(left) == 333
    assert counted(local_aws) == {"ListObjectsV2": 1, "GetObject": 3}
    submission(job, 4, left, left)
    job.mark(Marker(submission=4, size=10_000, rerun_token=None, xcom={"size": 10_000}))
    local_aws.reset_requests()
    assert job.read().marker.xcom == {"size": 10_000}
    assert counted(local_aws) == {"ListObjectsV2": 1, "GetObject": 1}


def test_one_of_many_concurrent_claims_succeeds(ledger):
    """Each has its own connection."""
    clients = [Ledger(boto3_clients().s3, STATE).job("d", "r", "j") for _ in range(6)]
    won = []
    for number in range(1, 6):
        barrier = threading.Barrier(len(clients))

        def claim(job, number=number, barrier=barrier):
            barrier.wait()
            if job.claim(number, intent()):
                won.append(number)

        threads = [threading.Thread(target=claim, args=[job]) for job in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert won == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["drop", "error_after"])
def test_a_claim_with_a_lost_response_succeeds(local_aws, ledger, kind):
    """Botocore repeats the put, S3 answers 412, and the object names this process as its writer."""
    job = ledger.job("d", "r", "j")
    local_aws.faults.plan("PutObject", kind)
    assert job.claim(1, intent())
    assert local_aws.requests()["PutObject"] == 2
    assert not Ledger(boto3_clients().s3, STATE).job("d", "r", "j").claim(1, intent())


def test_a_crash_between_claim_and_removal_of_the_marker_is_harmless(local_aws, ledger):
    """The old marker is invalid as soon as the claim is written, and is replaced at the end."""
    job = ledger.job("d", "r", "j")
    submission(job, 1, "0-9", "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="old"))
    local_aws.faults.refuse("DeleteObject")
    with pytest.raises(NotAllowedError, match="s3:DeleteObject"):
        job.claim(2, intent("0-9", rerun_token="again"))
    state = job.read()
    assert (state.marker, state.rerun_token, [one.number for one in state.open_submissions]) == (None, "again", [2])
    job.record_result(
        2, Result(kind="batch", outcome="succeeded", indices="0-9", succeeded="0-9", rerun_token="again")
    )  # fmt: skip
    assert decide(ArrayWork(10), job.read()).action == "succeed"
    job.mark(Marker(submission=2, size=10, rerun_token="again", xcom="new"))
    assert job.read().marker.xcom == "new"


def test_a_rerun_removes_the_old_marker(ledger):
    """Readers of this object alone then see that the job is not done."""
    job = ledger.job("d", "r", "j")
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    job.claim(2, intent("0-9", rerun_token="again"))
    assert job.marker() is None


def test_throttling_and_errors_are_retried(local_aws, ledger):
    """By botocore."""
    job = ledger.job("d", "r", "j")
    local_aws.faults.throttle("PutObject", times=2)
    local_aws.faults.error("ListObjectsV2", times=1)
    assert job.claim(1, intent())
    assert job.read().numbers == [1]


def test_a_missing_bucket_is_named(ledger):
    """Before anything is submitted."""
    with pytest.raises(BucketMissingError, match="aws s3 mb s3://nobody"):
        Ledger(boto3_clients().s3, "s3://nobody/x").job("d", "r", "j").claim(1, intent())


@pytest.mark.parametrize(
    ("operation", "call"), [("PutObject", "claim"), ("ListObjectsV2", "read"), ("GetObject", "marker")]
)
def test_a_missing_permission_is_named(local_aws, ledger, operation, call):
    """With its IAM action; the call is not repeated."""
    job = ledger.job("d", "r", "j")
    local_aws.faults.refuse(operation)
    action = "s3:ListBucket" if operation == "ListObjectsV2" else f"s3:{operation}"
    with pytest.raises(NotAllowedError, match=action):
        getattr(job, call)(*([1, intent()] if call == "claim" else []))
    assert local_aws.requests()[operation] == 1


def test_a_connection_error_is_retryable(local_aws):
    """S3 may be reachable again when the task is retried."""
    away = boto3_clients(endpoint_url="http://127.0.0.1:9").s3
    with pytest.raises(LedgerUnavailableError) as caught:
        Ledger(away, STATE).job("d", "r", "j").marker()
    assert caught.value.retryable


def test_pipelines_runs_and_jobs_are_listed(ledger):
    """With one LIST each, however many objects are below them."""
    for run in ("2026-11-20T000000Z", "2026-11-21T000000Z"):
        job = ledger.job("nightly", run, "split")
        job.claim(1, intent("0-9"))
        job.put_documents({f"shards/{number:05d}.txt": b"s3://data/x" for number in range(30)})
        ledger.job("nightly", run, "spark.cluster").claim(1, intent("0"))
    assert ledger.pipelines() == ["nightly"]
    assert ledger.runs("nightly") == ["2026-11-20T000000Z", "2026-11-21T000000Z"]
    assert ledger.jobs("nightly", "2026-11-20T000000Z") == ["spark.cluster", "split"]


@pytest.mark.parametrize("seed", range(3))
def test_every_index_succeeds_once_despite_failures_and_crashes(ledger, seed):
    """Tries fail partially, die after their claim, are stopped, or lose a race."""
    random = Random(seed)
    size, ran = 300, Counter()
    for _ in range(100):
        # Each try only knows what is in S3

        job = ledger.job("d", "r", "j")
        state = job.read()
        for submission in state.open_submissions:
            job.abandon(submission, "batch")
        decision = decide(ArrayWork(size), replace(job.read(), prior_submissions=closed(job.read())))
        if decision.action == "succeed":
            job.mark(Marker(submission=max(state.numbers), size=size, rerun_token=None))
            break
        plan = decision.claims[0]
        if random.random() < 0.3:
            assert job.claim(plan.number, intent(plan.indices))
            assert not ledger.job("d", "r", "j").claim(plan.number, intent(plan.indices))
        elif random.random() < 0.9:
            done = IndexSet.of(index for index in plan.indices if random.random() < 0.7)
            job.claim(plan.number, intent(plan.indices))
            outcome = random.choice(["failed", "stopped", "lost"])
            job.record_result(
                plan.number,
                Result(kind="batch", outcome=outcome, indices=plan.indices, succeeded=done, rerun_token=None),
            )
            ran.update(done)
    assert dict.fromkeys(range(size), 1) == ran
    assert size == ledger.job("d", "r", "j").read().marker.size
