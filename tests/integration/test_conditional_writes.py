"""A store that ignores the conditions of writes is refused before anything is submitted."""

from __future__ import annotations

import json
import threading

import pytest
from airflow.sdk import DAG
from botocore.stub import Stubber

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.ledger import ConditionalWritesError, Intent, Ledger, LedgerUnavailableError, NotAllowedError
from airflow_batchemr.ledger import store as ledger_store
from airflow_batchemr.operators.batch import BatchArrayOperator

OBJECT = "conditional-writes.txt"


@pytest.fixture
def unchecked(checked_store, monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(ledger_store, "_checked", set())


@pytest.fixture
def job(account, unchecked, tmp_path):
    """The ledger of a job without records."""
    found = boto3_clients().ledger(f"s3://state/{tmp_path.name}").job("d", "r", "j")
    account.reset_requests()
    return found


def intent():
    return Intent(name="x", requests=[], rerun_token=None, kind="batch", indices="0", dag_id="d", run_key="r", job="j")


def keys(aws, tmp_path):
    found = aws.client("s3").list_objects_v2(Bucket="state", Prefix=f"{tmp_path.name}/")
    return [one["Key"].removeprefix(f"{tmp_path.name}/") for one in found.get("Contents", ())]


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_nothing_is_submitted_with_a_store_that_ignores_conditions(aws, unchecked, run_dag, work, ignored):
    """The task fails at once, and its message names the store. Nothing is claimed."""
    aws.faults.ignore_conditions([ignored])
    with DAG("no_conditions", schedule=None) as dag:
        BatchArrayOperator(task_id="work", queue="default", image="busybox", command=work.command("true"), retries=2)
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert f"the S3 store at {aws.endpoint_url} does not honor {ignored}" in failed.output
    assert 0 == aws.requests()["SubmitJob"]
    assert {} == work.ran()


def test_nothing_is_claimed(account, job, tmp_path):
    """Only the object of the check remains."""
    account.faults.ignore_conditions()
    with pytest.raises(ConditionalWritesError):
        job.claim(1, intent())
    assert [OBJECT] == keys(account, tmp_path)


def test_the_check_costs_two_requests_per_process(account, job, monkeypatch, tmp_path):
    """One more for the very first one of a state URI, none for later claims, and none for reads."""
    job.read()
    job.history()
    assert 0 == account.requests()["PutObject"]
    for number in (1, 2):
        assert job.claim(number, intent())
    assert 3 + 2 == account.requests()["PutObject"]
    monkeypatch.setattr(ledger_store, "_checked", set())
    assert job.claim(3, intent())
    assert 3 + 2 + 2 + 1 == account.requests()["PutObject"]
    assert OBJECT in keys(account, tmp_path)


def test_the_object_of_the_check_is_not_a_pipeline(account, job, tmp_path):
    """It does not appear in any list."""
    job.claim(1, intent())
    assert ["d"] == boto3_clients().ledger(f"s3://state/{tmp_path.name}").pipelines()


def test_concurrent_checks_of_a_new_state_uri_pass(account, unchecked, tmp_path):
    """Each number is claimed once."""
    won = []

    def claim(number):
        own = boto3_clients().ledger(f"s3://state/{tmp_path.name}").job("d", "r", "j")
        if own.claim(1, intent()):
            won.append(number)

    threads = [threading.Thread(target=claim, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 == len(won)


@pytest.mark.parametrize(("kind", "error"), [("error", LedgerUnavailableError), ("refuse", NotAllowedError)])
def test_a_failed_check_is_a_failed_claim(account, job, kind, error):
    """An outage is one that a later try may outlast, and a missing permission names its action."""
    account.faults.plan("PutObject", kind, times=20)
    with pytest.raises(error, match="PutObject"):
        job.claim(1, intent())
    account.faults.clear()
    assert job.claim(1, intent())


def test_a_lost_response_is_not_mistaken_for_an_ignored_condition(account, job):
    """Botocore repeats the put."""
    account.faults.drop("PutObject")
    assert job.claim(1, intent())


def test_the_check_uses_the_put_arguments(account, unchecked, tmp_path):
    """A bucket may reject any other put."""
    arguments = {"ServerSideEncryption": "AES256", "StorageClass": "STANDARD_IA"}
    clients = boto3_clients(put_args=arguments)
    assert clients.ledger(f"s3://state/{tmp_path.name}").job("d", "r", "j").claim(1, intent())
    head = account.client("s3").head_object(Bucket="state", Key=f"{tmp_path.name}/{OBJECT}")
    assert arguments == {name: head[name] for name in arguments}


def test_a_store_that_rejects_conditions_is_named(account, unchecked):
    """Some answer 501 to headers that they do not know."""
    clients = boto3_clients()
    with Stubber(clients.s3) as stub:
        stub.add_client_error("put_object", "NotImplemented", "A header is not implemented", http_status_code=501)
        with pytest.raises(ConditionalWritesError, match=f"{account.endpoint_url} does not honor conditions"):
            clients.ledger("s3://state/x").job("d", "r", "j").claim(1, intent())


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        "https://s3.cn-north-1.amazonaws.com.cn",
        "https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com",
    ],
)
def test_the_s3_of_aws_is_not_checked(unchecked, monkeypatch, endpoint):
    """It is documented to honor conditions, and each task would pay for two requests."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    clients = boto3_clients(region="eu-west-1", endpoint_url=endpoint)
    with Stubber(clients.s3) as stub:
        stub.add_response("put_object", {})
        assert clients.ledger("s3://state/x").job("d", "r", "j").claim(1, intent())
        stub.assert_no_pending_responses()


def test_a_host_that_only_looks_like_aws_is_checked(unchecked):
    """Such as the name of a private store."""
    clients = boto3_clients(region="eu-west-1", endpoint_url="http://s3-amazonaws.com.example")
    with Stubber(clients.s3) as stub:
        for _ in range(3):
            stub.add_response("put_object", {})
        with pytest.raises(ConditionalWritesError, match="does not honor If-None-Match"):
            Ledger(clients.s3, "s3://state/x").job("d", "r", "j").claim(1, intent())


def test_the_fault_can_be_set_over_http(account):
    """By name, as the other ones."""
    s3 = account.client("s3")
    account.faults.by_name("ignore_conditions", json.loads('{"headers": ["If-None-Match"]}'))
    for body in (b"1", b"2"):
        s3.put_object(Bucket="state", Key="twice", Body=body, IfNoneMatch="*")
    assert b"2" == s3.get_object(Bucket="state", Key="twice")["Body"].read()
