"""`batchemr history`: shows the ledger, and AWS only for submissions without a recorded result."""

from __future__ import annotations

import json
import os
import textwrap

import boto3
import pytest
from airflow.sdk import DAG
from typer.testing import CliRunner

from airflow_batchemr.cli import common
from airflow_batchemr.cli.app import app
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.ledger import Handle, HandleJob, Intent, Ledger, Marker, Request
from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import EphemeralEmrOperator
from tests.integration.batch_engine import eventually
from tests.integration.task_engine import Task

KEY = "2026-11-20T000000Z"


def batchemr(*arguments):
    """The output of the command, run in this process."""
    done = CliRunner().invoke(app, ["history", *arguments])
    assert 0 == done.exit_code, done.stderr
    return "".join(line for line in done.stdout.splitlines(keepends=True) if "[info " not in line)


def intent():
    """The first records of an array of 4."""
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
    """Parses a block of names and values."""
    return {name: value.strip() for name, _, value in (line.strip().partition("  ") for line in text.splitlines())}


def test_history_is_shown_at_each_level(aws, run_dag, work, tmp_path):
    """Pipelines, runs, jobs, submissions, one index. Reads only S3, because AWS Batch deletes jobs after some days."""
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
    assert head.startswith(f"nightly {KEY} split: succeeded, 4/4 done, marked 20")
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
    assert before["started"].startswith("20")
    assert before["log stream"]
    assert before["log stream"] != after["log stream"]

    assert {"ListObjectsV2", "GetObject"} == set(aws.requests())


def test_an_emr_job_is_shown_with_its_steps_and_the_cause_of_its_failure(aws, run_dag, tmp_path):
    """One JSON line per job. The logs need not exist any more."""
    from airflow_batchemr import build_dags

    s3 = aws.client("s3")
    s3.create_bucket(Bucket="logs")
    file = tmp_path / "p.yaml"
    file.write_text(
        "failing: {emr: {type: m5.xlarge, log_uri: 's3://logs'}, steps: [['true'], ['sh', '-c', 'no-such-tool']]}"
    )
    assert run_dag(build_dags(file)[0]).state == "failed"
    for log in s3.list_objects_v2(Bucket="logs")["Contents"]:
        s3.delete_object(Bucket="logs", Key=log["Key"])

    (line,) = batchemr("failing", KEY, "--json").splitlines()
    shown = json.loads(line)
    assert ("failing", KEY, "failed", 1, 2) == tuple(
        shown[name] for name in ("pipeline", "run_key", "state", "done", "size")
    )
    (submission,) = shown["submissions"]
    assert ("emr", "failed", "0") == (submission["kind"], submission["state"], submission["succeeded"])
    assert ["COMPLETED", "FAILED"] == [
        one["value"].split(": ")[1] for one in submission["facts"] if one["name"] == "step"
    ]
    assert "no-such-tool: not found" in batchemr("failing", KEY, "failing")


@pytest.fixture
def false_failure(aws, work):
    """`false_failure(script)`: the worker of an array of 4 is lost, and no try records how the array ends."""

    def run(script="true"):
        task = Task(
            lambda: BatchArrayOperator(
                task_id="work", queue="default", image="busybox", command=work.command(script), array=4
            )
        )
        trigger = task.begin()
        assert hasattr(trigger, "run")
        batch = aws.client("batch")
        (job,) = ledger().job("dag", KEY, "work").history().submissions[0].handle.jobs
        eventually(lambda: batch.describe_jobs(jobs=[job.job_id])["jobs"][0]["status"] in {"SUCCEEDED", "FAILED"})
        aws.reset_requests()
        return task

    return run


def ledger():
    return Ledger(boto3.client("s3"), os.environ["AIRFLOW__BATCHEMR__STATE"])


def records():
    """All objects of the ledger."""
    found = boto3.client("s3").list_objects_v2(Bucket="state").get("Contents", [])
    return {one["Key"]: one["ETag"] for one in found}


def test_a_success_that_airflow_did_not_record_is_shown(aws, false_failure, work):
    """At each level, with advice. Nothing is written, and the next try records it without running anything."""
    task = false_failure()
    before = records()
    assert [["run", "work"], [KEY, "succeeded", "(not", "recorded)", "4/4"]] == columns(batchemr("dag"))
    assert ["work", "succeeded", "(not", "recorded)", "4/4", "1"] == columns(batchemr("dag", KEY))[1][:6]
    head, submission = batchemr("dag", KEY, "work").split("\n\n")
    assert f"dag {KEY} work: succeeded (not recorded), 4/4 done" in head
    assert submission.startswith("submission 1: succeeded (not recorded) after ")
    assert "SUCCEEDED 4" == facts(submission)["state on AWS"]
    assert facts(submission)["recorded"].startswith("no. If the Airflow task has ended, clear it: the next try records")
    index = facts(batchemr("dag", KEY, "work", "--index", "2"))
    assert ("succeeded", "0") == (index["outcome"], index["exit code"])
    assert before == records()
    assert not {"SubmitJob", "TerminateJob", "PutObject"} & set(aws.requests())

    assert "running" == columns(batchemr("dag", "--ledger-only"))[1][1]
    task.try_(try_number=2)
    assert [KEY, "succeeded", "4/4"] == columns(batchemr("dag"))[1]
    assert {0: 1, 1: 1, 2: 1, 3: 1} == work.ran()


def test_a_failure_that_airflow_did_not_record_is_shown_with_its_report(false_failure):
    """The report is the one that a try would record."""
    false_failure('[ "$i" != 2 ] || exit 65')
    shown = batchemr("dag", KEY, "work")
    assert "submission 1: failed (not recorded)" in shown
    assert "1 of 4 indices failed; 3 are done and will not run again" in shown
    assert "what has not succeeded runs again" in shown


def test_steps_that_airflow_did_not_record_are_shown(aws):
    """Each with its state. The cluster has ended."""
    steps = [{"name": "load", "command": ["true"]}]
    cluster = {"type": "m5.xlarge"}

    def make():
        with DAG("dag", schedule=None):
            return EphemeralEmrOperator(task_id="spark", cluster=cluster, steps=steps)

    task = Task(make)
    assert hasattr(task.begin(), "run")
    emr = aws.client("emr")
    (found,) = emr.list_clusters()["Clusters"]
    eventually(lambda: emr.describe_cluster(ClusterId=found["Id"])["Cluster"]["Status"]["State"] == "TERMINATED")
    shown = batchemr("dag", KEY, "spark")
    assert "submission 1: succeeded (not recorded) after " in shown
    assert "load" in facts(shown)["step"]
    assert facts(shown)["step"].endswith("COMPLETED")
    assert facts(shown)["state on AWS"].startswith("TERMINATED")


def test_running_work_is_shown_with_its_state_on_aws(aws, false_failure, monkeypatch):
    """If AWS cannot be reached, the state is from the ledger, with a note."""
    false_failure()
    running = ledger().job("dag", KEY, "work").history().submissions[0]
    who = JobIdentity(ledger().uri, "dag", KEY, "other", "run", "other")
    queued = aws.client("batch").submit_job(
        jobName=who.submission_name(1), jobQueue="default", tags=who.tags(1),
        jobDefinition=running.intent.requests[0].request["jobDefinition"],
        containerOverrides={"command": ["sleep", "300"]},
    )["jobId"]  # fmt: skip
    job = ledger().job("dag", KEY, "other")
    job.claim(1, running.intent)
    job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id=queued, name="n", indices="0")]))
    aws.reset_requests()
    rows = {row[0]: row[1:4] for row in columns(batchemr("dag", KEY))}
    assert ["succeeded", "(not", "recorded)"] == rows["work"]
    assert "running" == rows["other"][0]
    assert 2 == aws.requests()["DescribeJobs"]  # one for both jobs, one for the children of the ended job
    assert facts(batchemr("dag", KEY, "other"))["state on AWS"] in {"RUNNABLE", "STARTING", "RUNNING"}

    monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", "http://127.0.0.1:9")
    done = CliRunner().invoke(app, ["history", "dag", KEY])
    assert 0 == done.exit_code
    assert ["running", "running"] == [row[1] for row in columns(done.stdout)[1:]]
    note = "note: AWS cannot be queried about open submissions: batch:DescribeJobs: no connection"
    assert done.stderr.startswith(note)


def test_a_job_that_aws_does_not_show_is_not_called_running(aws, false_failure):
    """AWS has deleted it, or does not show it yet."""
    false_failure()
    intent = ledger().job("dag", KEY, "work").history().submissions[0].intent
    job = ledger().job("dag", KEY, "gone")
    job.claim(1, intent)
    job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="gone", name="n", indices="0-3")]))
    shown = batchemr("dag", KEY, "gone")
    assert "submission 1: not_visible, 0/4 done" in shown
    assert "not visible" in facts(shown)["state on AWS"]


@pytest.fixture
def later(monkeypatch):
    """The owner of every claim has lost its lease."""
    monkeypatch.setattr(common, "engine_policy", lambda: Policy(claim_lease=0.0, visibility_grace=-60.0))


def test_work_without_a_recorded_id_is_searched_for_by_its_name(aws, false_failure, later):
    """The worker was lost before it recorded the id. The history shows how the work ended, and records nothing."""
    false_failure()
    prefix = f"{ledger().uri.removeprefix('s3://state/')}/dag/{KEY}/work/submissions/0001/"
    aws.client("s3").delete_object(Bucket="state", Key=f"{prefix}handle.json")
    before = records()
    shown = batchemr("dag", KEY, "work")
    assert "submission 1: succeeded (not recorded) after " in shown
    assert "(indices 0-3)" in facts(shown)["Batch job"]
    assert before == records()
    assert not {"SubmitJob", "TerminateJob", "PutObject"} & set(aws.requests())


def test_work_that_was_never_started_is_not_called_running(aws, later):
    """The worker was lost before the call: AWS has nothing of that name."""
    request = Request(name="n", indices="0", request={"jobQueue": "default", "jobDefinition": "d"})
    ledger().job("dag", KEY, "never").claim(1, intent().model_copy(update={"requests": [request]}))
    shown = batchemr("dag", KEY, "never")
    assert "submission 1: not_visible, 0/4 done" in shown
    assert facts(shown)["state on AWS"].startswith("nothing has its name. The next try of the task gives it up")


def test_jobs_without_submissions_are_last(aws):
    """For example, jobs with empty input and `allow_empty`, which only have a marker."""
    for job in ("a", "b"):
        ledger().job("nightly", KEY, job).mark(Marker(submission=0, size=0, rerun_token=None))
    ledger().job("nightly", KEY, "split").claim(1, intent())
    expected = [["split", "running"], ["a", "succeeded"], ["b", "succeeded"]]
    assert expected == [row[:2] for row in columns(batchemr("nightly", KEY))[1:]]
    assert ["run", "split", "a", "b"] == columns(batchemr("nightly"))[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nightli"], "has no pipeline named 'nightli'; available: nightly"),
        (["nightly", "2026"], f"has no run of nightly named '2026'; available: {KEY}"),
        (["nightly", KEY, "x"], f"has no job of nightly {KEY} named 'x'; available: split"),
        (["nightly", KEY, "split", "--index", "9"], "includes index 9"),
    ],
)
def test_an_unknown_name_is_reported_with_the_existing_ones(aws, arguments, message):
    """At every level."""
    ledger().job("nightly", KEY, "split").claim(1, intent())
    done = CliRunner().invoke(app, ["history", *arguments])
    assert 1 == done.exit_code
    assert message in done.stderr
