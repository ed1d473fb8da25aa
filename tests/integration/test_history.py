"""`batchemr history` shows what ran, from the ledger alone."""

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
    """Run the command in this process and return its output."""
    done = CliRunner().invoke(app, ["history", *arguments])
    assert 0 == done.exit_code, done.stderr
    return "".join(line for line in done.stdout.splitlines(keepends=True) if "[info " not in line)


def intent():
    """The intent written before an array of 4 is submitted."""
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
    """Split each line at whitespace."""
    return [line.split() for line in text.splitlines()]


def facts(text):
    """Parse a block of names and values."""
    return {name: value.strip() for name, _, value in (line.strip().partition("  ") for line in text.splitlines())}


def test_each_level_shows_what_ran(aws, run_dag, work, tmp_path):
    """Pipelines, runs, jobs, submissions and an index. Only S3 is read, because AWS Batch deletes jobs after days."""
    from airflow_batchemr import build_dags

    command = json.dumps(work.command('[ "$i" != 2 ] || [ -e fixed ] || exit 65'))
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
    (work.folder / "fixed").touch()
    assert run_dag(dag, again=True).state == "success"
    aws.reset_requests()

    assert [["pipeline", "runs", "last", "run"], ["nightly", "1", KEY]] == columns(batchemr())
    assert [["run", "split", "report"], [KEY, "succeeded", "4/4", "succeeded"]] == columns(batchemr("nightly"))
    split, report = columns(batchemr("nightly", KEY))[1:]
    assert ["split", "succeeded", "4/4", "2"] == split[:4]
    assert ["report", "succeeded", "1/1", "1"] == report[:4]

    head, first, *failure, second = batchemr("nightly", KEY, "split").split("\n\n")
    assert head.startswith(f"nightly {KEY} split: succeeded, 4/4 done, marker written 20")
    assert first.startswith("submission 1: failed after ")
    assert "default" == facts(first)["queue"]
    assert "etl:1.4" == facts(first)["image"]
    assert "exit 65" in facts(first)["command"]
    assert failure[0].startswith("  1 of 4 indices failed; 3 are done and will not run again")
    assert f"batchemr replay nightly {KEY} split" in failure[1]
    assert "submission 2: succeeded after" in second
    assert "(indices 2)" in facts(second)["Batch job"]

    before, after = (facts(block) for block in batchemr("nightly", KEY, "split", "--index", "2").split("\n\n"))
    assert ("1", "failed", "65") == (before["submission"], before["outcome"], before["exit code"])
    assert ("2", "succeeded", "0") == (after["submission"], after["outcome"], after["exit code"])
    assert ("1", "1") == (before["tries by Batch"], after["tries by Batch"])
    assert before["started"].startswith("20")
    assert before["log stream"]
    assert before["log stream"] != after["log stream"]

    assert {"ListObjectsV2", "GetObject"} == set(aws.requests())


def test_an_emr_job_shows_its_steps_and_the_cause_from_its_logs(aws, run_dag, tmp_path):
    """Even if the logs have been deleted; JSON has one line per job."""
    from airflow_batchemr import build_dags

    s3 = aws.client("s3")
    s3.create_bucket(Bucket="logs")
    file = tmp_path / "p.yaml"
    file.write_text(
        "broken: {emr: {type: m5.xlarge, log_uri: 's3://logs'}, steps: [['true'], ['sh', '-c', 'no-such-tool']]}"
    )
    assert run_dag(build_dags(file)[0]).state == "failed"
    for log in s3.list_objects_v2(Bucket="logs")["Contents"]:
        s3.delete_object(Bucket="logs", Key=log["Key"])

    (line,) = batchemr("broken", KEY, "--json").splitlines()
    job = json.loads(line)
    assert ("broken", KEY, "failed", 1, 2) == tuple(
        job[name] for name in ("pipeline", "run_key", "state", "done", "size")
    )
    (submission,) = job["submissions"]
    assert ("emr", "failed", "0") == (submission["kind"], submission["state"], submission["succeeded"])
    assert ["COMPLETED", "FAILED"] == [
        one["value"].split(": ")[1] for one in submission["facts"] if one["name"] == "step"
    ]
    assert "no-such-tool: not found" in batchemr("broken", KEY, "broken")


def test_jobs_without_submissions_are_listed_last(aws):
    """Such as jobs with empty input and `allow_empty`: they have only a marker."""
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
        (["nightli"], "has no pipeline named 'nightli'; available: nightly"),
        (["nightly", "2026"], f"has no run of nightly named '2026'; available: {KEY}"),
        (["nightly", KEY, "x"], f"has no job of nightly {KEY} named 'x'; available: split"),
        (["nightly", KEY, "split", "--index", "9"], "contains index 9"),
    ],
)
def test_an_unknown_name_lists_the_available_ones(aws, arguments, message):
    """At every level."""
    ledger = Ledger(aws.client("s3"), os.environ["AIRFLOW__BATCHEMR__STATE"]).job("nightly", KEY, "split")
    ledger.claim(1, intent())
    done = CliRunner().invoke(app, ["history", *arguments])
    assert 1 == done.exit_code
    assert message in done.stderr
