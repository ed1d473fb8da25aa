"""`batchemr orphans` and `batchemr clusters` against the local AWS: work that nothing needs any more."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from itertools import product

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner

from airflow_batchemr.aws.batch.backend import BatchBackend
from airflow_batchemr.aws.batch.options import batch_options
from airflow_batchemr.aws.clients import Clients, boto3_clients
from airflow_batchemr.aws.emr.cluster_options import ClusterOptions
from airflow_batchemr.aws.emr.job_run import JobRunBackend
from airflow_batchemr.aws.emr.job_run_targets import Eks, Serverless
from airflow_batchemr.aws.emr.shared_cluster import SharedCluster
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.cli import common, open_submissions
from airflow_batchemr.cli.app import app
from airflow_batchemr.cli.inventory import duplicate_steps, emr_clusters, job_runs
from airflow_batchemr.cli.orphans import _end as end
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine import orphans
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.loop import Engine
from airflow_batchemr.ledger import Ledger, Marker, Result, StopRequest
from airflow_batchemr.pipeline_file.models import Emr, Spark
from tests.integration.batch_engine import POLICY, eventually

STATE = "s3://data/_batchemr"


class Work:
    """Jobs and clusters of this package, started without Airflow."""

    def __init__(self):
        self.clients = boto3_clients()
        self.clients.s3.create_bucket(Bucket="data")
        self.clients.batch.register_job_definition(
            jobDefinitionName="own",
            type="container",
            containerProperties={
                "image": "busybox",
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
            },
        )

    def ledger(self, job):
        return Ledger(self.clients.s3, STATE).job("nightly", "2026-11-20T000000Z", job)

    def identity(self, job):
        return JobIdentity(STATE, "nightly", "2026-11-20T000000Z", job, run_id="scheduled__1", task_id=job)

    def engine(self, backend, job):
        """The engine of one try."""
        ledger, identity = self.ledger(job), self.identity(job)
        return Engine(backend, AnyRemoteWork(self.clients, ledger, identity), ledger, identity, POLICY)

    def batch_engine(self, job, command="sleep 300"):
        """Of an array of 2."""
        backend = BatchBackend(
            options=batch_options({"queue": "default", "definition": "own:1", "command": command}),
            size=2,
            clients=self.clients,
            ledger=self.ledger(job),
            identity=self.identity(job),
        )
        return self.engine(backend, job)

    def start_job(self, job, command="sleep 300"):
        """Run the first pass of a try. Returns the id of the array."""
        outcome = self.batch_engine(job, command).run(self.ledger(job).read(), None)
        return outcome.waits[-1].handle.jobs[0].job_id

    def start_cluster(self, name, used_by=(), **options):
        """Start a cluster for other jobs. Returns its id."""
        emr = Emr.model_validate({"type": "m5.xlarge", "instances": 3, **options})
        backend = SharedCluster(
            options=ClusterOptions(emr, tags={"batchemr:owner": "data-team"}),
            clients=self.clients,
            ledger=self.ledger(name),
            identity=self.identity(name),
            used_by=used_by,
        )
        outcome = self.engine(backend, name).run(self.ledger(name).read(), None)
        return outcome.waits[-1].handle.cluster_id

    def job_status(self, job_id):
        return self.clients.batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"]

    def cluster_state(self, cluster_id):
        return self.clients.emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"]

    def wait_for(self, what, wanted):
        until = time.monotonic() + 120
        while (found := what()) not in wanted:
            assert time.monotonic() < until, found
            time.sleep(0.1)


@pytest.fixture
def work(local_aws):
    return Work()


def batchemr(*arguments, env=None):
    """Run the command line in this process. Returns exit_code, stdout and stderr."""
    return CliRunner().invoke(app, list(arguments), env=env)


def verdicts(*arguments):
    """Verdict and reason by id."""
    done = batchemr("orphans", "--json", "--all", *arguments)
    assert done.stderr == ""
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["id"]: (record["verdict"], record["reason"]) for record in records}, done.exit_code


def close(ledger, number, outcome="failed"):
    result = Result(kind="batch", outcome=outcome, indices="0-1", succeeded="", rerun_token=None)
    ledger.record_result(number, result)


def test_work_in_use_is_not_orphaned(work):
    """A job and a cluster whose runs continue."""
    job, cluster = work.start_job("score"), work.start_cluster("spark.cluster", ["report"])
    assert ({job: ("in use", "submission 1 is open"), cluster: ("in use", "submission 1 is open")}, 0) == verdicts()
    done = batchemr("orphans", "--terminate", "--yes")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "0 orphans: ended\n")
    assert work.job_status(job) in {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"}


def test_orphaned_jobs_are_terminated(work):
    """Ended according to the ledger, succeeded, superseded by a rerun, or with a stop request; and no others."""
    ended, marked, old = work.start_job("ended"), work.start_job("marked"), work.start_job("old")
    stopped, wanted = work.start_job("stopped"), work.start_job("wanted")
    close(work.ledger("ended"), 1)
    work.ledger("marked").mark(Marker(submission=1, size=2, rerun_token=None))
    rerun = work.identity("old").intent(2, "batch", [], IndexSet.range(2), rerun_token="again", details={})
    assert work.ledger("old").claim(2, rerun)
    work.ledger("stopped").request_stop(1, StopRequest(reason="marked failed"))
    found, code = verdicts()
    assert {
        ended: ("orphaned", "submission 1 has ended: failed"),
        marked: ("orphaned", "its job has succeeded"),
        old: ("orphaned", "a later rerun has replaced it"),
        stopped: ("orphaned", "a stop was requested: marked failed"),
        wanted: ("in use", "submission 1 is open"),
    } == found
    assert code == 1
    done = batchemr("orphans", "--terminate", "--yes")
    assert done.exit_code == 0
    assert done.stderr.endswith("\n4 orphans: ended\n")
    for job in (ended, marked, old, stopped):
        work.wait_for(lambda job=job: work.job_status(job), {"FAILED"})
    assert work.job_status(wanted) not in {"FAILED", "SUCCEEDED"}
    assert batchemr("orphans").stderr == "0 orphans: there are none\n"
    assert {wanted: "in use"} == {job: verdict for job, (verdict, _) in verdicts()[0].items()}


def test_the_table_names_the_work_and_the_reason(work):
    """For people."""
    job = work.start_job("ended")
    close(work.ledger("ended"), 1)
    done = batchemr("orphans")
    assert (done.exit_code, done.stderr) == (1, "1 orphan: left running; --terminate ends them\n")
    line = done.stdout.splitlines()[1]
    assert all(
        text in line
        for text in ("orphaned", "job", job, "nightly 2026-11-20T000000Z ended", "submission 1 has ended: failed")
    )


def test_a_duplicate_of_the_recorded_job_is_orphaned(work):
    """For example, its owner hung beyond its lease, and died before it could terminate its job."""
    kept = work.start_job("score")
    request = work.ledger("score").history().submissions[0].intent.requests[0].request
    lost = work.clients.batch.submit_job(**request)["jobId"]
    assert {
        kept: ("in use", "submission 1 is open"),
        lost: ("orphaned", f"it is a duplicate of {kept}"),
    } == verdicts()[0]
    assert batchemr("orphans", "--terminate", "--yes").exit_code == 0
    eventually(lambda: work.job_status(lost) == "FAILED")
    assert work.batch_engine("score").run(work.ledger("score").read(), None).action == "wait"
    assert work.job_status(kept) != "FAILED"  # its task was not requested to stop it
    assert work.ledger("score").stop_request(1) is None


def test_a_cluster_whose_jobs_have_all_succeeded_is_terminated(work):
    """Also with termination protection."""
    cluster = work.start_cluster("spark.cluster", ["score", "report"], termination_protection=True)
    for job in ("score", "report"):
        assert verdicts()[0][cluster][0] == "in use"
        work.ledger(job).mark(Marker(submission=0, size=1, rerun_token=None))
    assert verdicts()[0][cluster] == ("orphaned", "all jobs that use it have succeeded")
    assert batchemr("orphans", "--terminate", "--yes").exit_code == 0
    assert work.cluster_state(cluster) in {"TERMINATING", "TERMINATED"}
    assert work.ledger("spark.cluster").stop_request(1).reason == "it is orphaned"


def test_a_cluster_that_is_kept_alive_is_not_orphaned(work):
    """Its idle timeout terminates it."""
    cluster = work.start_cluster("books", keep_alive="4h")
    close(work.ledger("books"), 1, "succeeded")
    verdict = verdicts("--older-than", "0s")[0][cluster]
    assert verdict == ("kept alive", "on purpose: it ends itself when it is idle")


def test_unknown_work_is_only_terminated_if_it_is_old(work):
    """A wrong state URI must not end needed work, but --older-than does."""
    job = work.start_job("score")
    keys = [one["Key"] for one in work.clients.s3.list_objects_v2(Bucket="data")["Contents"]]
    for key in keys:
        work.clients.s3.delete_object(Bucket="data", Key=key)
    assert ({job: ("unknown", "the ledger has no submission 1 of this job")}, 0) == verdicts("--older-than", "1h")
    time.sleep(1.1)
    found, code = verdicts("--older-than", "1s")
    assert (found[job][0], code) == ("orphaned", 1)
    assert batchemr("orphans", "--terminate", "--yes", "--older-than", "1s").exit_code == 0
    work.wait_for(lambda: work.job_status(job), {"FAILED"})


def test_a_cluster_whose_teardown_never_ran_is_probably_orphaned(work, monkeypatch):
    """Airflow failed `create_cluster` although it succeeded, so no job has started, and the teardown was skipped."""
    cluster = work.start_cluster("spark.cluster", ["score", "report"])
    work.wait_for(lambda: work.cluster_state(cluster), {"WAITING"})
    assert verdicts() == ({cluster: ("in use", "submission 1 is open")}, 0)
    monkeypatch.setattr(orphans, "IDLE_LIMIT", 0.0)
    assert verdicts() == (
        {cluster: ("probably orphaned", "submission 1 is open, but the cluster has been idle for 0 minutes")},
        1,
    )
    done = batchemr("orphans", "--terminate", "--yes")
    assert done.exit_code == 1
    assert done.stderr == "0 orphans: ended\n1 more may be: left running; --terminate with --older-than ends them\n"
    assert work.cluster_state(cluster) == "WAITING"
    assert batchemr("orphans", "--terminate", "--yes", "--older-than", "0s").exit_code == 0
    assert work.cluster_state(cluster) in {"TERMINATING", "TERMINATED"}


def test_a_cluster_is_in_use_while_work_of_its_run_is_running(work, monkeypatch):
    """Until the work has ended on AWS, whether or not its end is recorded."""
    monkeypatch.setattr(orphans, "IDLE_LIMIT", 0.0)
    job = work.start_job("score")
    cluster = work.start_cluster("spark.cluster", ["report"])
    work.wait_for(lambda: work.cluster_state(cluster), {"WAITING"})
    assert verdicts()[0][cluster][0] == "in use"
    work.clients.batch.terminate_job(jobId=job, reason="by hand")
    work.wait_for(lambda: work.job_status(job), {"FAILED"})
    assert verdicts()[0][cluster][0] == "probably orphaned"


def test_work_that_has_ended_without_being_recorded_is_listed(work):
    """Airflow failed the task although its job succeeded. After a clear records it, nothing is listed."""
    job = work.start_job("score", "true")
    work.wait_for(lambda: work.job_status(job), {"SUCCEEDED"})
    done = batchemr("orphans", "--json", "--state", STATE)
    row = json.loads(done.stdout)
    assert ("not recorded", "job", job, "SUCCEEDED 2") == (row["verdict"], row["kind"], row["id"], row["state"])
    assert row["reason"].startswith("submission 1 succeeded on AWS. If its task has ended, clear it")
    assert done.exit_code == 0
    done = batchemr("orphans", "--terminate", "--yes", "--state", STATE)
    assert done.stderr == "0 orphans: ended\n1 ended on AWS but not recorded: clear the tasks\n"
    assert work.ledger("score").stop_request(1) is None
    assert work.batch_engine("score").run(work.ledger("score").read(), None).action == "succeed"
    assert batchemr("orphans", "--json", "--state", STATE).stdout == ""


TO_DO = "the next try of the task keeps the oldest one and ends the others"


def test_two_jobs_of_one_submission_are_reported(work):
    """The response to the first call was lost, and no id is recorded yet, so it is undecided which one counts."""
    first = work.start_job("score")
    records = work.ledger("score").history().submissions[0]
    work.clients.s3.delete_object(
        Bucket="data", Key="_batchemr/nightly/2026-11-20T000000Z/score/submissions/0001/handle.json"
    )
    second = work.clients.batch.submit_job(**records.intent.requests[0].request)["jobId"]
    assert verdicts() == (
        {
            first: ("duplicate", f"submission 1 has no recorded id, and {second} has the same name: {TO_DO}"),
            second: ("duplicate", f"submission 1 has no recorded id, and {first} has the same name: {TO_DO}"),
        },
        1,
    )
    assert batchemr("orphans", "--terminate", "--yes").exit_code == 1
    assert work.job_status(second) not in {"FAILED", "SUCCEEDED"}


def test_a_step_with_the_name_of_an_older_one_is_a_duplicate(work):
    """EMR added it although the answer was lost, and showed it only after the task had gone on. The cluster stays."""
    cluster = work.start_cluster("spark.cluster")
    work.wait_for(lambda: work.cluster_state(cluster), {"WAITING"})
    name = f"load [{work.identity('spark').submission_name(1)}-s0000]"
    jar = {"Jar": "command-runner.jar", "Args": ["sleep", "300"]}
    step = {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    first, second = work.clients.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step, step])["StepIds"]
    work.clients.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[{**step, "Name": "x"}, {**step, "Name": "x"}])
    work.wait_for(lambda: work.cluster_state(cluster), {"RUNNING"})
    reason = f"it does the work of {first} on {cluster} again, which has the same name"
    assert {second: ("duplicate", reason)} == {
        id_: verdict for id_, verdict in verdicts()[0].items() if verdict[0] == "duplicate"
    }
    end(work.clients, [step for one in emr_clusters(work.clients) for step, _ in duplicate_steps(work.clients, one)])
    states = {
        entry["Id"]: entry["Status"]["State"] for entry in work.clients.emr.list_steps(ClusterId=cluster)["Steps"]
    }
    assert states[second] == "CANCELLED"
    assert states[first] in {"PENDING", "RUNNING"}
    assert work.ledger("spark.cluster").stop_request(1) is None


def test_a_given_state_uri_limits_the_search(work):
    """It is an option, or configured for Airflow."""
    job = work.start_job("score")
    assert [job] == list(verdicts("--state", STATE)[0])
    assert verdicts("--state", "s3://data/other")[0] == {}
    assert batchemr("orphans", "--all", env={"AIRFLOW__BATCHEMR__STATE": "s3://data/other"}).stdout == ""


def test_work_of_an_unreadable_ledger_is_unknown(work):
    """It is left running."""
    job = work.start_job("score")
    for key in [one["Key"] for one in work.clients.s3.list_objects_v2(Bucket="data")["Contents"]]:
        work.clients.s3.delete_object(Bucket="data", Key=key)
    work.clients.s3.delete_bucket(Bucket="data")
    verdict, why = verdicts()[0][job]
    assert verdict == "unknown"
    assert "'data' does not exist" in why
    done = batchemr("orphans", "--terminate", "--yes", "--older-than", "0s")
    assert done.exit_code == 0
    assert "note: cannot record the stop request in the ledger" in done.stderr
    work.wait_for(lambda: work.job_status(job), {"FAILED"})


def test_a_cluster_is_unknown_if_the_ledger_of_one_of_its_jobs_is_unreadable(work):
    """Also if another of its jobs has not succeeded yet."""
    cluster = work.start_cluster("spark.cluster", ["score", "report"])
    report = work.ledger("report")
    report.mark(Marker(submission=0, size=1, rerun_token=None))
    key = report.marker_uri.removeprefix("s3://data/")
    work.clients.s3.put_object(Bucket="data", Key=key, Body=b"{")
    verdict, why = verdicts()[0][cluster]
    assert verdict == "unknown"
    assert "success.json" in why


class Stranger:
    """Work of somebody who has copied our tags, such as from a template."""

    def __init__(self, work, job):
        self.work = work
        self.tags = work.identity(job).tags(1)

    def cluster(self, name, **tags):
        """Start a protected cluster. Returns its id."""
        return self.work.clients.emr.run_job_flow(
            Name=name,
            ReleaseLabel="emr-7.5.0",
            Instances={
                "MasterInstanceType": "m5.xlarge",
                "InstanceCount": 1,
                "KeepJobFlowAliveWhenNoSteps": True,
                "TerminationProtected": True,
            },
            JobFlowRole="EMR_EC2_DefaultRole",
            ServiceRole="EMR_DefaultRole",
            Tags=[{"Key": key, "Value": value} for key, value in {**self.tags, **tags}.items()],
        )["JobFlowId"]

    def job(self, name):
        """Submit a job. Returns its id."""
        submitted = self.work.clients.batch.submit_job(
            jobName=name,
            jobQueue="default",
            jobDefinition="own",
            containerOverrides={"command": ["sleep", "300"]},
            tags=self.tags,
        )
        return submitted["jobId"]


@pytest.mark.parametrize("ledger", ["closed", "deleted"])
def test_work_with_copied_tags_is_never_ended(work, ledger):
    """Whatever the ledger says about the submission in the tags, and whatever its age."""
    own = work.start_job("score")
    if ledger == "closed":
        close(work.ledger("score"), 1)
    else:
        for one in work.clients.s3.list_objects_v2(Bucket="data")["Contents"]:
            work.clients.s3.delete_object(Bucket="data", Key=one["Key"])
    stranger = Stranger(work, "score")
    cluster, job = stranger.cluster("payroll"), stranger.job("payroll")
    foreign = stranger.cluster(work.identity("score").submission_name(1), **{"batchemr:submission": "7"})
    twin = stranger.cluster(work.identity("score").submission_name(1))
    found, _ = verdicts("--older-than", "0s")
    expected = work.identity("score").submission_name(1)
    reason = f"its name is 'payroll', expected '{expected}'"
    assert ("not ours", reason) == found[cluster] == found[job]
    assert ("not ours", f"its name is '{expected}', expected '{expected[:-1]}7'") == found[foreign]
    if ledger == "closed":  # without a record, a cluster with our name and tags counts as ours
        assert ("not ours", "submission 1 in the ledger has not requested it") == found[twin]
        kept = (cluster, foreign, twin)
    else:
        kept = (cluster, foreign)
    assert batchemr("orphans", "--terminate", "--yes", "--older-than", "0s").exit_code == 0
    work.wait_for(lambda: work.job_status(own), {"FAILED"})
    assert work.job_status(job) not in {"FAILED", "SUCCEEDED"}
    for one in kept:
        assert work.cluster_state(one) not in {"TERMINATING", "TERMINATED"}
        assert work.clients.emr.describe_cluster(ClusterId=one)["Cluster"]["TerminationProtected"]
        done = batchemr("clusters", "--yes", "--end", one)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"error: {one}: not a cluster started by this package, although it has its tags")
        assert work.cluster_state(one) not in {"TERMINATING", "TERMINATED"}
    assert f"(not ours: {reason})" in batchemr("clusters").stdout


def test_work_with_incomplete_tags_is_never_ended(work):
    """Its name cannot be compared."""
    stranger = Stranger(work, "score")
    stranger.tags.pop("batchemr:state")
    job = stranger.job(work.identity("score").submission_name(1))
    assert verdicts("--older-than", "0s")[0][job] == ("not ours", "its tags are not complete")
    assert batchemr("orphans", "--terminate", "--yes", "--older-than", "0s").exit_code == 0
    assert work.job_status(job) not in {"FAILED", "SUCCEEDED"}


def test_a_stranger_with_our_name_makes_no_duplicate_of_our_work(work):
    """The next try of the task does not compare its own job with it, either."""
    own = work.start_job("score")
    key = work.ledger("score").handle_uri(1).removeprefix("s3://data/")
    work.clients.s3.delete_object(Bucket="data", Key=key)
    stranger = Stranger(work, "score")
    stranger.tags["batchemr:submission"] = "2"
    theirs = stranger.job(work.identity("score").submission_name(1))
    found = verdicts()[0]
    assert found[own] == ("in use", "submission 1 is open")
    assert found[theirs][0] == "not ours"


@pytest.mark.parametrize("state", [(), ("--state", STATE)], ids=["of the tags", "given"])
def test_work_whose_name_is_not_allowed_in_tags_is_ours(work, state):
    """Airflow accepts letters outside ASCII in Dag ids and task ids; tags have underscores instead."""
    job, cluster = work.start_job("größe"), work.start_cluster("größe.cluster")
    forged = Stranger(work, "gr__e").job("payroll")
    found = verdicts(*state)[0]
    assert {found[job], found[cluster]} == {("in use", "submission 1 is open")}
    assert found[forged][0] == "not ours"
    close(work.ledger("größe"), 1)
    assert batchemr("orphans", "--terminate", "--yes", *state).exit_code == 0
    work.wait_for(lambda: work.job_status(job), {"FAILED"})
    assert "(not ours" not in batchemr("clusters").stdout
    assert batchemr("clusters", "--yes", "--end", cluster).exit_code == 0
    assert work.cluster_state(cluster) in {"TERMINATING", "TERMINATED"}
    assert work.ledger("größe.cluster").stop_request(1) is not None


def test_a_hostile_ledger_in_the_tags_is_not_read_without_end(work, local_aws, monkeypatch):
    """Its writer can make as many Dags and jobs as they like."""
    monkeypatch.setattr(open_submissions, "MOST_LISTS", 3)
    for name in map("".join, product("äö", repeat=4)):
        job = Ledger(work.clients.s3, STATE).job(name, "2026-11-20T000000Z", "x")
        job.mark(Marker(submission=0, size=1, rerun_token=None))
    stranger = Stranger(work, "score")
    stranger.tags["batchemr:dag_id"] = "____"
    job = stranger.job("payroll")
    local_aws.reset_requests()
    found, code = verdicts()
    assert (found[job][0], code) == ("not ours", 0)
    assert local_aws.requests()["ListObjectsV2"] == 3


@pytest.mark.parametrize("command", [("orphans", "--terminate"), ("clusters", "--end", "j-1")])
def test_without_a_terminal_nothing_is_ended_unless_the_answer_is_given(work, command):
    """A script needs --yes; the exit code differs from that of orphans which are left running."""
    job = work.start_job("ended")
    close(work.ledger("ended"), 1)
    done = batchemr(*command)
    assert done.exit_code == 2
    assert done.stderr == f"error: {command[1]} asks before it ends anything, and there is no terminal: add --yes\n"
    assert work.job_status(job) not in {"FAILED", "SUCCEEDED"}


@pytest.mark.parametrize("answer", ["n", "y"])
def test_what_will_be_ended_is_shown_before_the_question(work, monkeypatch, answer):
    """Kind, id, name, state, age and reason; clusters first, because they cost most."""
    monkeypatch.setattr(common, "has_terminal", lambda: True)
    job, cluster = work.start_job("ended"), work.start_cluster("spark.cluster")
    close(work.ledger("ended"), 1)
    work.ledger("spark.cluster").request_stop(1, StopRequest(reason="cleared"))
    done = CliRunner().invoke(app, ["orphans", "--terminate"], input=f"{answer}\n")
    heading, first, second, *rest = done.stderr.splitlines()
    assert heading == "To be ended:"
    assert first.startswith(f"  cluster {cluster} {work.identity('spark.cluster').submission_name(1)} ")
    assert first.endswith(" old: a stop was requested: cleared")
    assert second.startswith(f"  job {job} {work.identity('ended').submission_name(1)} ")
    assert rest[0].startswith("End these? [y/N]:")
    assert done.exit_code == (0 if answer == "y" else 1)
    assert (work.cluster_state(cluster) in {"TERMINATING", "TERMINATED"}) == (answer == "y")
    if answer == "n":
        assert done.stderr.endswith("nothing was ended\n")
        assert work.job_status(job) not in {"FAILED", "SUCCEEDED"}
        assert work.ledger("ended").stop_request(1) is None


def test_a_cluster_is_shown_before_it_is_ended_by_hand(work, monkeypatch):
    """With the work that it was started for."""
    monkeypatch.setattr(common, "has_terminal", lambda: True)
    cluster = work.start_cluster("spark.cluster")
    done = CliRunner().invoke(app, ["clusters", "--end", cluster], input="n\n")
    assert done.exit_code == 1
    assert f"cluster {cluster} " in done.stderr
    assert "old: nightly 2026-11-20T000000Z spark.cluster\n" in done.stderr
    assert work.cluster_state(cluster) not in {"TERMINATING", "TERMINATED"}


def test_untagged_jobs_and_clusters_are_ignored(work):
    """Only work with this package's tags is listed."""
    work.clients.batch.submit_job(
        jobName="theirs", jobQueue="default", jobDefinition="own", containerOverrides={"command": ["sleep", "30"]}
    )
    work.clients.emr.run_job_flow(
        Name="theirs",
        ReleaseLabel="emr-7.5.0",
        Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
        JobFlowRole="EMR_EC2_DefaultRole",
        ServiceRole="EMR_DefaultRole",
    )
    assert verdicts("--older-than", "0s")[0] == {}
    done = batchemr("clusters")
    assert (done.stdout, done.stderr) == ("", "0 clusters\n")


@pytest.mark.parametrize("given", ["soon", "-1h"])
def test_an_invalid_age_is_rejected(local_aws, given):
    """Before any call."""
    done = batchemr("orphans", "--older-than", given)
    assert done.exit_code == 2
    assert "older-than" in done.stderr
    assert "Traceback" not in done.stderr


def test_clusters_are_listed_with_age_hours_and_owner(work):
    """For checking costs."""
    cluster = work.start_cluster("spark.cluster")
    record = json.loads(batchemr("clusters", "--json").stdout)
    assert (cluster, "data-team", "nightly") == (record["id"], record["owner"], record["tags"]["batchemr:dag_id"])
    assert 3 * record["age_seconds"] == pytest.approx(record["instance_hours"] * 3600, abs=3)
    assert record["instance_hours"] > 0
    headings, row = batchemr("clusters").stdout.splitlines()
    assert headings.split()[:5] == ["id", "state", "age", "instance-hours", "owner"]
    assert all(text in row for text in (cluster, "0.0", "data-team", "nightly 2026-11-20T000000Z spark.cluster"))


def test_a_cluster_can_be_terminated_manually(work):
    """With a stop request in the ledger for the waiting task. Other clusters are rejected."""
    cluster = work.start_cluster("spark.cluster")
    done = batchemr("clusters", "--yes", "--end", cluster, "--end", "j-NOTOURS")
    assert (done.exit_code, done.stderr) == (1, "error: j-NOTOURS: not a running cluster started by this package\n")
    assert batchemr("clusters", "--yes", "--end", cluster).exit_code == 0
    assert work.cluster_state(cluster) in {"TERMINATING", "TERMINATED"}
    assert work.ledger("spark.cluster").stop_request(1).by == "batchemr clusters"
    assert batchemr("clusters").stdout == ""
    work.wait_for(lambda: work.cluster_state(cluster), {"TERMINATED"})
    assert cluster in batchemr("clusters", "--all").stdout


def test_a_duplicate_cluster_can_be_terminated_without_a_stop_of_the_recorded_one(work):
    """Its task goes on with the recorded cluster."""
    kept = work.start_cluster("spark.cluster")
    request = work.ledger("spark.cluster").history().submissions[0].intent.requests[0].request
    lost = work.clients.emr.run_job_flow(**request)["JobFlowId"]
    assert batchemr("clusters", "--yes", "--end", lost).exit_code == 0
    assert work.ledger("spark.cluster").stop_request(1) is None
    assert work.cluster_state(lost) in {"TERMINATING", "TERMINATED"}
    assert batchemr("clusters", "--yes", "--end", kept).exit_code == 0
    assert work.ledger("spark.cluster").stop_request(1) is not None


@pytest.fixture
def eks(work):
    """A virtual cluster of EMR on EKS."""
    role = "arn:aws:iam::123456789012:role/runs"
    work.clients.get("eks").create_cluster(name="k", roleArn=role, resourcesVpcConfig={})
    provider = {"type": "EKS", "id": "k", "info": {"eksInfo": {"namespace": "default"}}}
    containers = work.clients.get("emr-containers")
    virtual = containers.create_virtual_cluster(name="v", containerProvider=provider)["id"]
    target = Eks(virtual, role, "emr-7.5.0-latest")

    def start(job):
        backend = JobRunBackend(
            target=target,
            spark=Spark.model_validate({"py": "s3://code/x.py"}),
            clients=work.clients,
            ledger=work.ledger(job),
            identity=work.identity(job),
            environment={},
        )
        outcome = work.engine(backend, job).run(work.ledger(job).read(), None)
        return outcome.waits[-1].handle.jobs[0].job_id

    start.state = lambda run: containers.describe_job_run(virtualClusterId=virtual, id=run)["jobRun"]["state"]
    return start


def test_orphaned_job_runs_are_cancelled(work, eks):
    """They are found by their tags and compared with the ledger."""
    wanted, stopped = eks("wanted"), eks("stopped")
    work.ledger("stopped").request_stop(1, StopRequest(reason="marked failed"))
    expected = {
        wanted: ("in use", "submission 1 is open"),
        stopped: ("orphaned", "a stop was requested: marked failed"),
    }
    assert (expected, 1) == verdicts()
    done = batchemr("orphans", "--terminate", "--yes")
    assert done.exit_code == 0
    assert done.stderr.endswith(" old: a stop was requested: marked failed\n1 orphan: ended\n")
    assert "RUNNING" == eks.state(wanted)
    assert eks.state(stopped) in {"CANCEL_PENDING", "CANCELLED"}


def test_tags_are_only_read_for_job_runs_with_our_names():
    """Lists of EMR Serverless contain no tags; runs with other names take no call."""
    client = boto3.client("emr-serverless", region_name="us-east-1", endpoint_url="http://127.0.0.1:9")
    stub, moment = Stubber(client), datetime(2026, 11, 20, tzinfo=timezone.utc)
    name = "nightly-work-0123456789ab-a0001"
    arn, role = "arn:aws:emr-serverless:us-east-1:123456789012:/x/" + "a" * 60, "arn:aws:iam::123456789012:role/runs"
    base = {"applicationId": "app", "arn": arn, "createdBy": role, "createdAt": moment, "updatedAt": moment}
    base |= {"executionRole": role, "state": "RUNNING", "stateDetails": "-", "releaseLabel": "emr-7.5.0"}
    application = {"id": "app", "arn": arn, "releaseLabel": "emr-7.5.0", "type": "SPARK", "state": "STARTED"}
    application |= {"createdAt": moment, "updatedAt": moment}
    stub.add_response("list_applications", {"applications": [application]})
    summaries = [{**base, "id": "r1", "name": name}, {**base, "id": "r2", "name": "somebody-elses"}]
    stub.add_response("list_job_runs", {"jobRuns": summaries})
    tags = {"batchemr:dag_id": "nightly", "batchemr:submission": "1"}
    run = {**base, "jobRunId": "r1", "name": name, "jobDriver": {"sparkSubmit": {"entryPoint": "x"}}, "tags": tags}
    stub.add_response("get_job_run", {"jobRun": run})
    with stub:
        found = list(job_runs(Clients(lambda *_: client), Serverless))
    assert [("run", "r1", moment, 1, "app")] == [
        (one.kind, one.id, one.created, one.submission, one.target.where) for one in found
    ]
    stub.assert_no_pending_responses()
