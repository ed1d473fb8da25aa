"""Pages, commands and sensors with a state URI below which somebody has written anything."""

from __future__ import annotations

import asyncio
import os
import re
from html import unescape

import boto3
import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.app import app
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import Handle, HandleJob, Intent, Ledger, Marker
from airflow_batchemr.plugin import pages
from airflow_batchemr.triggers.marker import S3MarkerTrigger
from tests.integration.test_pages import server  # noqa: F401 - a fixture

KEY = "2026-11-20T000000Z"
DEEP = b"[" * 100_000
BAD = {
    "no JSON": b"edited by hand",
    "deep nesting": DEEP,
    "not UTF-8": b"\xff",
    "indices that take all memory": b'{"submission": 1, "size": 1000000000000, "rerun_token": null}',
}


def state():
    return os.environ["AIRFLOW__BATCHEMR__STATE"]


def put(key, body):
    """Write an object below the state URI."""
    bucket, _, prefix = state().removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=body)
    return f"{state()}/{key}"


def submit(job, run_key=KEY, **fields):
    """Record an open submission of a job that AWS does not know."""
    found = Ledger(boto3.client("s3"), state()).job("nightly", run_key, job)
    names = {"dag_id": "nightly", "run_key": run_key, "job": job, "rerun_token": None}
    assert found.claim(1, Intent(kind="batch", name=job, requests=[], indices=IndexSet.range(3), **names, **fields))
    found.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="gone", name=job, indices=IndexSet.range(3))]))
    return found


def shown(answer):
    """The text of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.text.partition("<body>")[2])).split())


def run(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})


VALUES = [
    "",
    " ",
    "a" * 901,
    "a" * 20_000,
    "%00",
    "\x00",
    "\x1b]0;x\x07",
    "\u202e",
    "../../x",
    "..",
    ".",
    "_files",
    "%2E.",
]
VALUES += ["-1", "1.5", "1e9", "9" * 5_000, "1000000", "NaN"]
VALUES += ["'\"><script>alert(1)</script>", "\U0001f600", "%ff"]


@pytest.mark.parametrize("name", ["run_key", "job", "index", "submission", "state"])
def test_a_page_never_fails_because_of_its_address(aws, server, name):  # noqa: F811
    """An empty `?run_key=` was a 500."""
    submit("score")
    client = server("viewer")
    at = {"run_key": KEY, "job": "score"}
    for value in VALUES if name in {"run_key", "job", "index"} else VALUES[:3]:
        answer = client.get("/batchemr/nightly", params={**at, name: value})
        assert answer.status_code in {200, 404, 422}, (value, answer.text)
        assert "html" not in answer.headers["Content-Type"] or "<script>alert" not in answer.text
        assert "Traceback" not in answer.text
    assert 200 == client.get("/batchemr/nightly", params={**at, "index": ""}).status_code
    assert "nightly" in shown(client.get("/batchemr/nightly?run_key="))


@pytest.mark.parametrize("dag_id", ["%00", "%20", "..%2f..", "a" * 300, "%ff", "<b>", "%0a", "%E2%80%AE"])
def test_an_address_that_is_no_dag_id_is_not_found(aws, server, dag_id):  # noqa: F811
    """PostgreSQL would reject NUL with an error."""
    answer = server("admin").get(f"/batchemr/{dag_id}")
    assert answer.status_code in {404, 200}
    if answer.status_code == 200:  # the client has resolved `..`
        assert "Batch and EMR runs" in answer.text


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_a_bad_record_does_not_hide_the_other_jobs(aws, server, body):  # noqa: F811
    """On pages and in `history`; it is named by its URI. Its own page has the error."""
    uri = put(f"nightly/{KEY}/broken/success.json", body)
    submit("score")
    client = server("viewer")
    for parameters in ({}, {"run_key": KEY}):
        answer = client.get("/batchemr/nightly", params=parameters)
        assert 200 == answer.status_code
        assert uri in shown(answer)
        assert re.search(r"score .*not_visible|not_visible", shown(answer))
        assert "unreadable" in shown(answer)
    answer = client.get("/batchemr/nightly", params={"run_key": KEY, "job": "broken"})
    assert (502, True) == (answer.status_code, uri in shown(answer))
    for arguments in (["nightly"], ["nightly", KEY], ["nightly", KEY, "--json"]):
        result = run("history", *arguments)
        assert 0 == result.exit_code, result.output
        assert uri in result.output
        assert "not_visible" in result.output
        assert "unreadable" in result.output
    result = run("history", "nightly", KEY, "broken")
    assert (1, True) == (result.exit_code, uri in result.output)
    assert isinstance(result.exception, SystemExit)
    result = run("replay", "nightly", KEY, "broken")
    assert (1, True) == (result.exit_code, uri in result.output)
    assert isinstance(result.exception, SystemExit)


def test_orphans_reports_a_bad_record_and_continues(aws, work):
    """The results of other jobs that are not recorded are found."""
    uri = put(f"nightly/{KEY}/broken/submissions/0001/intent.json", DEEP)
    submit("score")
    result = run("orphans", "--all")
    assert result.exit_code in {0, 1}, result.output
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)
    assert f"note: nightly {KEY} broken is left out: {uri}" in result.output


def test_a_page_reads_a_limited_number_of_objects(aws, server, monkeypatch):  # noqa: F811
    """What was not read is said."""
    for number in range(30):
        submit(f"job{number}")
    monkeypatch.setattr(pages, "READ_OBJECTS", 40)
    monkeypatch.setattr(pages, "QUERIED", 3)
    monkeypatch.setattr(pages, "SHOWN_ROWS", 20)
    client = server("viewer")
    aws.reset_requests()
    text = shown(client.get("/batchemr/nightly", params={"run_key": KEY}))
    counted = aws.requests()
    assert counted["ListObjectsV2"] + counted["GetObject"] <= 40
    assert "was not read: at most 40 objects and 64 MiB" in text
    assert "20 of 30 jobs are shown" in text
    assert "are queried at once here" in text


def test_a_page_shows_a_limited_number_of_runs_and_pipelines(aws, server, monkeypatch):  # noqa: F811
    """An error of one pipeline does not hide the others."""
    monkeypatch.setattr(pages, "SHOWN_ROWS", 2)
    monkeypatch.setattr(pages, "READ_OBJECTS", 3)
    for name in ("a", "b", "c", "d"):
        put(f"{name}/{KEY}/x/success.json", b"{}")
    monkeypatch.setattr(pages, "get_auth_manager", Everything)
    text = shown(server("admin").get("/batchemr/"))
    assert "2 of 4 pipelines are shown" in text


class Everything:
    def get_authorized_dag_ids(self, **_):
        return {"a", "b", "c", "d"}

    def is_authorized_dag(self, **_):
        return True


NAMES = ["a\nb", "\n", "a\0b", "../x", "\u202e", "x" * 900]


def test_hostile_names_and_markers_do_not_disturb_other_waits(aws, monkeypatch):
    """All waits share one poll loop: a run key with a line break, from a user's parameter, ended the round for all."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__MARKER_POLL_SHORTEST", "0.05")
    good = Ledger(boto3.client("s3"), state()).job("upstream", "good", "upstream")
    good.mark(Marker(submission=0, size=1, rerun_token=None))
    for number, body in enumerate(BAD.values()):
        put(f"upstream/bad{number}/upstream/success.json", body)

    async def wait(run_key, where=None):
        trigger = S3MarkerTrigger(
            state=where or state(), dag_id="upstream", run_key=run_key, job="upstream", aws_conn_id=None
        )
        return (await anext(trigger.run())).payload

    async def main():
        waiting = [asyncio.ensure_future(wait(name)) for name in NAMES]
        bad = [wait(f"bad{number}") for number in range(len(BAD))]
        invalid = [wait("x" * 1_000), wait(""), wait("a", "gs://x")]
        found = await asyncio.wait_for(asyncio.gather(wait("good"), *bad, *invalid), 60)
        for one in waiting:
            assert not one.done()
            one.cancel()
        return found

    marked, *denied = asyncio.run(main())
    assert "marked" == marked["status"]
    assert ["denied"] * (len(BAD) + 3) == [one["status"] for one in denied]
    for number, one in enumerate(denied[: len(BAD)]):
        assert f"{state()}/upstream/bad{number}/upstream/success.json is not a valid ledger record" in one["message"]
