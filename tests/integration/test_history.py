"""`batchemr history`: what has run, told out of the ledger alone."""

from __future__ import annotations

import json
import os
import textwrap

import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.app import app
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import Intent, Ledger, Marker, Request

KEY = "2026-11-20T000000Z"


def batchemr(*arguments):
    """What the command prints, called in this process."""
    done = CliRunner().invoke(app, ["history", *arguments])
    assert 0 == done.exit_code, done.stderr
    return "".join(line for line in done.stdout.splitlines(keepends=True) if "[info " not in line)


def intent():
    """What is written before an array of 4 is submitted."""
    indices = IndexSet.range(4)
    request = Request(name="n", indices=indices, request={"jobQueue": "q", "jobDefinition": "d"})
    return Intent(
        kind="batch",
        name="n",
        requests=[request],
        indices=indices,
        rerun_token=None,
        dag_id="nightly",
        run_key=KEY,
        job="split",
    )


def columns(text):
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


def facts(text):
    """A block of names and values."""
    return {name: value.strip() for name, _, value in (line.strip().partition("  ") for line in text.splitlines())}


def test_what_has_run_is_told_at_each_level(aws, run_dag, work, tmp_path):
    """Pipelines, runs, jobs, attempts, one index; out of S3 alone, for AWS Batch forgets its jobs after some days."""
    from airflow_batchemr import build_dags

    command = json.dumps(work.command('[ "$i" != 2 ] || [ -e mended ] || exit 65'))
    file = tmp_path / "p.yaml"
    file.write_text(
        textwrap.dedent(f"""
        nightly:
          jobs:
            split: {{array: 4, batch: {{image: 'etl:1.4', queue: default, command: {command}}}}}
            report: {{after: split, batch: {{image: 'a:1', queue: default, command: {json.dumps(["true"])}}}}}
        """)
    )
    dag = build_dags(file)[0]
    assert run_dag(dag).state == "failed"
    (work.folder / "mended").touch()
    assert run_dag(dag, again=True).state == "success"
    aws.reset_requests()

    assert [["pipeline", "runs", "last", "run"], ["nightly", "1", KEY]] == columns(batchemr())
    assert [["run", "split", "report"], [KEY, "succeeded", "4/4", "succeeded"]] == columns(batchemr("nightly"))
    split, report = columns(batchemr("nightly", KEY))[1:]
    assert ["split", "succeeded", "4/4", "2"] == split[:4]
    assert ["report", "succeeded", "1/1", "1"] == report[:4]

    head, first, *failure, second = batchemr("nightly", KEY, "split").split("\n\n")
    assert head.startswith(f"nightly {KEY} split: succeeded, 4/4 done, marked 20")
    assert first.startswith("attempt 1: failed after ")
    assert "default" == facts(first)["queue"]
    assert "etl:1.4" == facts(first)["image"]
    assert "exit 65" in facts(first)["command"]
    assert failure[0].startswith("  1 of 4 indices failed; 3 are done and will not run again")
    assert f"batchemr replay nightly {KEY} split" in failure[1]
    assert "attempt 2: succeeded after" in second
    assert "(indices 2)" in facts(second)["Batch job"]

    before, after = (facts(block) for block in batchemr("nightly", KEY, "split", "--index", "2").split("\n\n"))
    assert ("1", "failed", "65") == (before["submission"], before["outcome"], before["exit code"])
    assert ("2", "succeeded", "0") == (after["submission"], after["outcome"], after["exit code"])
    assert before["started"].startswith("20")
    assert before["log stream"]
    assert before["log stream"] != after["log stream"]

    assert {"ListObjectsV2", "GetObject"} == set(aws.requests())


def test_an_emr_job_is_told_with_its_steps_and_the_cause_that_stood_in_its_logs(aws, run_dag, tmp_path):
    """A line a job in JSON; the logs may be deleted meanwhile."""
    from airflow_batchemr import build_dags

    s3 = aws.client("s3")
    s3.create_bucket(Bucket="logs")
    file = tmp_path / "p.yaml"
    file.write_text(
        "told: {emr: {type: m5.xlarge, log_uri: 's3://logs'}, steps: [['true'], ['sh', '-c', 'no-such-tool']]}"
    )
    assert run_dag(build_dags(file)[0]).state == "failed"
    for log in s3.list_objects_v2(Bucket="logs")["Contents"]:
        s3.delete_object(Bucket="logs", Key=log["Key"])

    (line,) = batchemr("told", KEY, "--json").splitlines()
    told = json.loads(line)
    assert ("told", KEY, "failed", 1, 2) == tuple(
        told[name] for name in ("pipeline", "run_key", "state", "done", "size")
    )
    (submission,) = told["submissions"]
    assert ("emr", "failed", "0") == (submission["kind"], submission["state"], submission["succeeded"])
    assert ["COMPLETED", "FAILED"] == [
        one["value"].split(": ")[1] for one in submission["facts"] if one["name"] == "step"
    ]
    assert "no-such-tool: not found" in batchemr("told", KEY, "told")


def test_jobs_that_needed_no_attempt_come_last(aws):
    """Such as two whose input was empty, as `allow_empty` lets it be: they have a marker only."""
    ledger = Ledger(aws.client("s3"), os.environ["AIRFLOW__BATCHEMR__STATE"])
    for job in ("a", "b"):
        ledger.job("nightly", KEY, job).mark(Marker(submission=0, size=0, rerun_token=None))
    ledger.job("nightly", KEY, "split").claim(1, intent())
    expected = [["split", "running"], ["a", "succeeded"], ["b", "succeeded"]]
    assert expected == [row[:2] for row in columns(batchemr("nightly", KEY))[1:]]
    assert ["run", "split", "a", "b"] == columns(batchemr("nightly"))[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nightli"], "has no pipeline named 'nightli'; there are: nightly"),
        (["nightly", "2026"], f"has no run of nightly named '2026'; there are: {KEY}"),
        (["nightly", KEY, "x"], f"has no job of nightly {KEY} named 'x'; there are: split"),
        (["nightly", KEY, "split", "--index", "9"], "has had the index 9"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(aws, arguments, message):
    """At every level."""
    ledger = Ledger(aws.client("s3"), os.environ["AIRFLOW__BATCHEMR__STATE"]).job("nightly", KEY, "split")
    ledger.claim(1, intent())
    done = CliRunner().invoke(app, ["history", *arguments])
    assert 1 == done.exit_code
    assert message in done.stderr
