"""`[batchemr] s3_put_args`: every object below the state URI is written with these arguments."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import DAG
from typer.testing import CliRunner

from airflow_batchemr import connections
from airflow_batchemr.aws.batch import index_inputs
from airflow_batchemr.cli.plan import app
from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import EphemeralEmrOperator

ARGUMENTS = {
    "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "BucketKeyEnabled": True,
    "StorageClass": "STANDARD_IA",
    "ExpectedBucketOwner": "123456789012",
}
#: What HeadObject returns of them.
STORED = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled", "StorageClass")
#: A program's own put: its index is `$i`.
CONFIRM = (
    'place=${BATCHEMR_SUCCESS_URI#s3://}$i; aws s3api put-object --cli-input-json "$BATCHEMR_S3_PUT_ARGS" '
    '--bucket "${place%%/*}" --key "${place#*/}"'
)


@pytest.fixture
def put_args(monkeypatch):
    """The setting. The clients of earlier tests do not have it."""
    monkeypatch.setattr(connections, "_triggers_clients", {})
    monkeypatch.setenv("AIRFLOW__BATCHEMR__S3_PUT_ARGS", json.dumps(ARGUMENTS))


@pytest.fixture
def written(aws, state):
    """`written()` returns what HeadObject says about each object below the state URI."""
    s3 = aws.client("s3")

    def read():
        bucket, _, prefix = state.removeprefix("s3://").partition("/")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        heads = {key.removeprefix(f"{prefix}/"): s3.head_object(Bucket=bucket, Key=key) for key in keys}
        return {key: {name: head.get(name) for name in STORED} for key, head in heads.items()}

    return read


def without(found):
    """The objects that lack an argument."""
    return {key: head for key, head in found.items() if head != {name: ARGUMENTS[name] for name in STORED}}


def test_all_objects_of_an_array_have_the_arguments(aws, put_args, written, run_dag, work, monkeypatch):
    """Records, values, the markers that the job itself writes, and what a program writes with the variable."""
    monkeypatch.setattr(index_inputs, "MAX_INLINE", 10)
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="rows")
    s3.put_object(Bucket="rows", Key="rows.txt", Body=b"a row\nanother row\n")
    with DAG("encrypted", schedule=None) as dag:
        BatchArrayOperator(
            task_id="work",
            queue="default",
            image="busybox",
            command=work.command(CONFIRM),
            array={"rows": "s3://rows/rows.txt", "markers": "in_job"},
            explicit_success=True,
        )
    assert {"work": "success"} == run_dag(dag).tasks
    found = written()
    assert {} == without(found)
    names = {key.partition("/2026-11-20T000000Z/")[2] for key in found if key.startswith("encrypted/")}
    folders = {name.rpartition("/")[0] for name in names}
    assert {"work", "work/submissions/0001", "_files/work/done/0001", "_files/work/explicit/0001"} <= folders
    assert {
        "work/success.json",
        "_files/work/done/0001/0",
        "_files/work/done/0001/1",
        "_files/work/explicit/0001/1",
    } <= names
    assert any(folder.endswith("/values") for folder in folders)


def test_all_objects_of_a_cluster_have_the_arguments(aws, put_args, written, run_dag):
    """Records, the script that installs `python_env`, and the report of a failure."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="requirements.txt", Body=b"")
    aws.faults.fail_start("invalid_role")
    spark = {"py": "s3://code/x.py", "python_env": "s3://code/requirements.txt"}
    with DAG("encrypted_emr", schedule=None) as dag:
        EphemeralEmrOperator(task_id="work", cluster={"type": "m5.xlarge"}, steps=[{"spark": spark}])
    assert {"work": "failed"} == run_dag(dag).tasks
    found = written()
    assert {} == without(found)
    assert any("/_files/work/bootstrap/python-" in key for key in found)
    assert any(key.endswith("/submissions/0001/result.json") for key in found)


def test_an_invalid_setting_fails_the_task_before_any_call(aws, run_dag, work, monkeypatch):
    """The message names the setting and the argument."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__S3_PUT_ARGS", '{"SSECustomerKey": "x"}')
    with DAG("invalid_setting", schedule=None) as dag:
        BatchArrayOperator(task_id="work", queue="default", image="busybox", command=work.command("true"))
    aws.reset_requests()
    failed = run_dag(dag)
    assert {"work": "failed"} == failed.tasks
    assert "[batchemr] s3_put_args: SSECustomerKey cannot be set" in failed.output
    assert {} == dict(aws.requests())


def test_the_command_line_reads_the_setting_from_the_environment(aws, tmp_path, monkeypatch):
    """As the state URI; a wrong one is an error there, too."""
    file = tmp_path / "p.yaml"
    file.write_text("p:\n  jobs:\n    j: {batch: {image: x, queue: default, command: [y]}}\n")
    monkeypatch.setenv("AIRFLOW__BATCHEMR__S3_PUT_ARGS", '{"SSECustomerKey": "x"}')
    done = CliRunner().invoke(app, [str(file), "--date", "2026-11-20"])
    assert 1 == done.exit_code
    assert "[batchemr] s3_put_args: SSECustomerKey cannot be set" in done.output
