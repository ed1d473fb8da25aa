"""Arrays whose size is derived from data."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_batchemr.aws.batch import index_inputs
from tests.integration.batch_engine import Job, eventually
from tests.integration.test_batch_array import array_dag


@pytest.fixture
def bucket(aws):
    """A bucket for the data. `put(key, text)` puts an object."""
    client = aws.client("s3")
    client.create_bucket(Bucket="data")

    def put(key, text):
        client.put_object(Bucket="data", Key=key, Body=text.encode())

    yield put
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="data"):
        for one in page.get("Contents", ()):
            client.delete_object(Bucket="data", Key=one["Key"])


def received(work):
    """What each index has recorded."""
    return {int(path.name): path.read_text() for path in (work.folder).iterdir() if path.name.isdigit()}


def test_one_index_per_object(aws, bucket, run_dag, work):
    """Each program gets its object, whatever characters the key contains. Other keys and folders are ignored."""
    keys = ["a.csv", "b c.csv", "d'\"$(x)`.csv", "été.csv"]
    for key in [*keys, "e.txt", "folder/"]:
        bucket(f"in/{key}", "x")
    dag = array_dag(
        "objects", work.command('printf %s "$BATCHEMR_INPUT_URI" > $i'), array={"per_object": "s3://data/in/*.csv"}
    )
    assert {"work": "success"} == run_dag(dag).tasks
    assert {place: f"s3://data/in/{key}" for place, key in enumerate(sorted(keys))} == received(work)


def test_one_index_per_row(aws, bucket, run_dag, work):
    """Each program gets its line unchanged. Empty lines are ignored."""
    rows = ['{"model": "a b", "x": "$(y)"}', "  leading, and \\n no break", "'quotes' \"both\" été "]
    bucket("models.jsonl", "\n".join([rows[0], "", *rows[1:]]) + "\r\n")
    dag = array_dag("rows", work.command('printf %s "$BATCHEMR_ROW" > $i'), array={"rows": "s3://data/models.jsonl"})
    assert {"work": "success"} == run_dag(dag).tasks
    assert dict(enumerate(rows)) == received(work)


def test_objects_packed_into_shards(aws, bucket, run_dag, work):
    """Each program reads the list of its shard. Each object is in one list, and the shards have about the same size."""
    sizes = {f"p/{number:02d}.csv": 10 + number * 7 for number in range(12)}
    for key, size in sizes.items():
        bucket(key, "x" * size)
    bucket("p/other.txt", "x")
    script = 'aws s3 cp --quiet "$BATCHEMR_SHARD_URI" - > $i; [ $(wc -l < $i) = "$BATCHEMR_SHARD_FILES" ]'
    dag = array_dag("packed", work.command(script), array={"pack": "s3://data/p/", "into": 3, "suffix": ".csv"})
    assert {"work": "success"} == run_dag(dag).tasks
    shards = [text.splitlines() for text in received(work).values()]
    assert sorted(f"s3://data/{key}" for key in sizes) == sorted(uri for shard in shards for uri in shard)
    weights = [sum(sizes[uri.removeprefix("s3://data/")] for uri in shard) for shard in shards]
    assert 3 == len(weights)
    assert max(weights) <= 1.1 * sum(weights) / 3


def test_a_resume_keeps_the_packing_despite_new_objects(aws, bucket, run_dag, work):
    """The failed index gets the same objects again. New objects belong to the next rerun."""
    for name in "abc":
        bucket(f"in/{name}.csv", name)
    script = '[ -e fixed ] || [ $i != 1 ] || exit 1; printf %s "$BATCHEMR_INPUT_URI" > $i'
    dag = array_dag("kept", work.command(script), array={"per_object": "s3://data/in/*"})
    assert {"work": "failed"} == run_dag(dag).tasks
    bucket("in/aa.csv", "new")
    (work.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter({0: 1, 1: 2, 2: 1}) == work.ran()
    assert "s3://data/in/b.csv" == received(work)[1]
    assert {"work": "success"} == run_dag(dag, conf={"rerun": ["work"]}, again=True).tasks
    assert "s3://data/in/aa.csv" == received(work)[1]
    assert "s3://data/in/c.csv" == received(work)[3]


def test_an_empty_prefix_is_an_error(aws, bucket, run_dag, work):
    """The message names it, and nothing is submitted."""
    array = {"per_object": "s3://data/none/*"}
    finished = run_dag(array_dag("nothing", work.command("true"), array=array, retry_delay=0))
    assert {"work": "failed"} == finished.tasks
    assert "nothing under s3://data/none/*" in finished.output
    assert 0 == aws.requests()["SubmitJob"]


def test_an_empty_prefix_can_be_allowed(aws, bucket, run_dag, work):
    """With `allow_empty`, the task succeeds without running anything."""
    array = {"pack": "s3://data/none/", "into": 3, "allow_empty": True}
    assert {"work": "success"} == run_dag(array_dag("empty", work.command("true"), array=array)).tasks
    assert 0 == aws.requests()["SubmitJob"]
    assert {} == work.ran()


def test_many_values_are_read_from_s3(aws, bucket, run_dag, work, monkeypatch):
    """If they do not fit into the requests, the program still gets its line, with `aws` in the image."""
    monkeypatch.setattr(index_inputs, "MAX_INLINE", 100)
    rows = [f"row {number} {'x' * 50}" for number in range(5)]
    bucket("many.txt", "\n".join(rows))
    dag = array_dag("many", work.command('printf %s "$BATCHEMR_ROW" > $i'), array={"rows": "s3://data/many.txt"})
    assert {"work": "success"} == run_dag(dag).tasks
    assert dict(enumerate(rows)) == received(work)
    assert 1 == aws.requests()["SubmitJob"]


def test_values_that_do_not_fit_one_request_are_split(aws, bucket, run_dag, work):
    """Up to some hundred KB of rows, an image only needs `sh`: each 3,000 bytes take one more SubmitJob."""
    rows = [f"{number} {'x' * 200}" for number in range(60)]
    bucket("wide.txt", "\n".join(rows))
    dag = array_dag("wide", work.command('printf %s "$BATCHEMR_ROW" > $i'), array={"rows": "s3://data/wide.txt"})
    assert {"work": "success"} == run_dag(dag).tasks
    assert dict(enumerate(rows)) == received(work)
    assert Counter(range(60)) == work.ran()
    assert 5 == aws.requests()["SubmitJob"]


@pytest.fixture
def forgotten(aws, work, tmp_path):
    """An array whose indices write their own markers, and whose job AWS has deleted; index 1 has failed."""
    job = Job(f"s3://state/{tmp_path.name}", work.command("[ $i != 1 ] || [ -e fixed ] || exit 1"), 3, in_job=True)
    job.step()
    (open_,) = job.ledger().read().open_submissions
    (parent,) = open_.handle.jobs
    describe = aws.client("batch").describe_jobs
    eventually(lambda: describe(jobs=[parent.job_id])["jobs"][0]["status"] == "FAILED")
    aws.faults.forget(parent.job_id)
    return job, parent


def test_indices_write_their_own_markers(forgotten, work):
    """With `markers: in_job`, successes are known even if AWS has deleted the job, and do not run again."""
    job, parent = forgotten
    failed = job.try_(missing=[parent.job_id])
    assert {1: "AWS Batch no longer knows the job"} == {one.index: one.reason for one in failed.failures}
    (work.folder / "fixed").touch()
    assert job.try_(try_number=2) is None
    assert Counter({0: 1, 1: 2, 2: 1}) == work.ran()


@pytest.mark.parametrize("name", ["done/1", "done/0002/1", "done/0001/x/1", "done/0001/1.txt"])
def test_markers_of_other_submissions_do_not_count(forgotten, name):
    """Their folder names the submission that has written them."""
    job, parent = forgotten
    job.ledger().put_document(name, b"")
    failed = job.try_(missing=[parent.job_id])
    assert [1] == [one.index for one in failed.failures]


def test_markers_of_a_run_that_an_earlier_version_has_started_count(aws, forgotten):
    """Its submissions share one folder per rerun."""
    job, parent = forgotten
    ledger = job.ledger()
    intent = ledger.read().submissions[0].intent
    old = intent.model_copy(update={"details": {**intent.details, "in_job": True}})
    key = ledger.handle_uri(1).removeprefix("s3://state/").replace("handle", "intent")
    aws.client("s3").put_object(Bucket="state", Key=key, Body=old.model_dump_json().encode())
    ledger.put_documents({"done/0": b"", "done/1": b""})
    failed = job.try_(missing=[parent.job_id])
    assert [2] == [one.index for one in failed.failures]
