"""`batchemr orphans` and `batchemr clusters` against the local AWS."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import boto3
import pytest
from airflow_batchemr.aws.batch.submissions import BatchSubmissions
from airflow_batchemr.aws.emr.job_run_submissions import JobRunSubmissions
from airflow_batchemr.aws.emr.submissions import EmrSubmissions
from botocore.stub import Stubber
from typer.testing import CliRunner

from airflow_batchemr.aws.batch.requests import submission_requests
from airflow_batchemr.aws.clients import Clients, boto3_clients
from airflow_batchemr.aws.emr.job_runs import Eks, Serverless
from airflow_batchemr.aws.emr.own_cluster import ClusterWords
from airflow_batchemr.aws.emr.shared_cluster import ClusterJob
from airflow_batchemr.cli.app import app
from airflow_batchemr.cli.inventory import job_runs
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger import Ledger, Marker, Result, StopRequest
from airflow_batchemr.pipeline_file.models import Batch, Emr, Spark

STATE = "s3://data/_batchemr"


class Work:
    """Starts jobs and clusters of this package without Airflow."""

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

    def start_job(self, job, rerun_token=None):
        """Start an array of 2 that sleeps, and return its id."""
        ledger, identity = self.ledger(job), self.identity(job)
        state = ledger.read()
        words = Batch(queue="default", definition="own:1", command=["sleep", "300"])
        definition = self.clients.batch.describe_job_definitions(jobDefinitions=["own:1"])["jobDefinitions"][0]
        requests = submission_requests(
            words, definition, identity, state.next_number, IndexSet.range(2), size=2
        )  # fmt: skip
        submission = BatchSubmissions(self.clients, ledger, identity).start(
            state.next_number, requests, state, rerun_token
        )
        return submission.handle.jobs[0].job_id

    def start_cluster(self, name, used_by=(), **words):
        """Start a shared cluster, and return its id."""
        ledger, identity = self.ledger(name), self.identity(name)
        emr = Emr.model_validate({"type": "m5.xlarge", "instances": 3, **words})
        tags = {"batchemr:owner": "data-team"}
        submissions = EmrSubmissions(self.clients, ledger, identity)
        job = ClusterJob(ClusterWords(emr, tags=tags), self.clients, identity, submissions, ledger, used_by=used_by)
        return job.run(ledger.read(), None, None).cluster_id

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
    """Run the command line in this process; returns exit_code, stdout and stderr."""
    return CliRunner().invoke(app, list(arguments), env=env)


def verdicts(*arguments):
    """Return verdict and reason by id, and the exit code."""
    done = batchemr("orphans", "--json", "--all", *arguments)
    assert done.stderr == ""
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["id"]: (record["verdict"], record["reason"]) for record in records}, done.exit_code


def close(ledger, number, outcome="failed"):
    result = Result(kind="batch", outcome=outcome, indices="0-1", succeeded="", rerun_token=None)
    ledger.record_result(number, result)


IN_USE = ("in use", "submission 1 has not ended")


def test_work_in_use_is_not_orphaned(work):
    """A job and a cluster whose runs continue."""
    job, cluster = work.start_job("score"), work.start_cluster("spark.cluster", ["report"])
    assert ({job: IN_USE, cluster: IN_USE}, 0) == verdicts()
    done = batchemr("orphans", "--terminate")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "0 orphans\n")
    assert work.job_status(job) in {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"}


def test_orphaned_jobs_are_stopped(work):
    """Recorded as ended, with a marker, superseded by a rerun, or with a stop request; no others."""
    ended, marked, old = work.start_job("ended"), work.start_job("marked"), work.start_job("old")
    stopped, wanted = work.start_job("stopped"), work.start_job("wanted")
    close(work.ledger("ended"), 1)
    work.ledger("marked").mark(Marker(submission=1, size=2, rerun_token=None))
    again = work.start_job("old", rerun_token="again")
    work.ledger("stopped").request_stop(1, StopRequest(reason="marked failed"))
    found, code = verdicts()
    assert {
        ended: ("orphaned", "submission 1 has ended: failed"),
        marked: ("orphaned", "its job has succeeded"),
        old: ("orphaned", "superseded by a rerun"),
        stopped: ("orphaned", "stop requested: marked failed"),
        again: ("in use", "submission 2 has not ended"),
        wanted: IN_USE,
    } == found
    assert code == 1
    done = batchemr("orphans", "--terminate")
    assert (done.exit_code, done.stderr) == (0, "4 orphans: stopped\n")
    for job in (ended, marked, old, stopped):
        work.wait_for(lambda job=job: work.job_status(job), {"FAILED"})
    assert all(work.job_status(job) not in {"FAILED", "SUCCEEDED"} for job in (again, wanted))
    assert batchemr("orphans").stderr == "0 orphans\n"
    assert {again: "in use", wanted: "in use"} == {job: verdict for job, (verdict, _) in verdicts()[0].items()}


def test_the_table_shows_the_work_and_the_reason(work):
    """One line per orphan."""
    job = work.start_job("ended")
    close(work.ledger("ended"), 1)
    done = batchemr("orphans")
    assert (done.exit_code, done.stderr) == (1, "1 orphan: left running; use --terminate to stop\n")
    line = done.stdout.splitlines()[1]
    assert all(
        text in line
        for text in ("orphaned", "job", job, "nightly 2026-11-20T000000Z ended", "submission 1 has ended: failed")
    )


def test_a_job_that_is_not_in_the_handle_is_orphaned(work):
    """Its owner missed its lease, and died before it could terminate the job it had started."""
    kept = work.start_job("score")
    request = work.ledger("score").history().submissions[0].intent.requests[0].request
    lost = work.clients.batch.submit_job(**request)["jobId"]
    assert {kept: IN_USE, lost: ("orphaned", "submission 1 continued without it")} == verdicts()[0]


def test_a_cluster_whose_jobs_have_all_succeeded_is_terminated(work):
    """Even with termination protection."""
    cluster = work.start_cluster("spark.cluster", ["score", "report"], termination_protection=True)
    for job in ("score", "report"):
        assert verdicts()[0][cluster][0] == "in use"
        work.ledger(job).mark(Marker(submission=0, size=1, rerun_token=None))
    assert verdicts()[0][cluster] == ("orphaned", "all jobs that use it have succeeded")
    assert batchemr("orphans", "--terminate").exit_code == 0
    assert work.cluster_state(cluster) in {"TERMINATING", "TERMINATED"}
    assert work.ledger("spark.cluster").stop_request(1).reason == "orphaned: no run needs it any more"


def test_a_cluster_with_keep_alive_is_not_orphaned(work):
    """Its idle timeout terminates it."""
    cluster = work.start_cluster("books", keep_alive="4h")
    close(work.ledger("books"), 1, "succeeded")
    verdict = verdicts("--older-than", "0s")[0][cluster]
    assert verdict == ("in use", "kept alive on purpose; terminates when idle")


def test_work_that_is_not_in_the_ledger_is_stopped_only_by_age(work):
    """A wrong state URI must not stop good work, so the user has to give an age."""
    job = work.start_job("score")
    keys = [one["Key"] for one in work.clients.s3.list_objects_v2(Bucket="data")["Contents"]]
    for key in keys:
        work.clients.s3.delete_object(Bucket="data", Key=key)
    assert ({job: ("unknown", "the ledger has no submission 1 for it")}, 0) == verdicts("--older-than", "1h")
    time.sleep(1.1)
    found, code = verdicts("--older-than", "1s")
    assert (found[job][0], code) == ("orphaned", 1)
    assert batchemr("orphans", "--terminate", "--older-than", "1s").exit_code == 0
    work.wait_for(lambda: work.job_status(job), {"FAILED"})


def test_a_state_uri_restricts_the_search(work):
    """Given as an option or in Airflow's configuration."""
    job = work.start_job("score")
    assert [job] == list(verdicts("--state", STATE)[0])
    assert verdicts("--state", "s3://data/other")[0] == {}
    assert batchemr("orphans", "--all", env={"AIRFLOW__BATCHEMR__STATE": "s3://data/other"}).stdout == ""


def test_a_ledger_that_cannot_be_read_is_reported(work):
    """Its work is stopped only by age."""
    job = work.start_job("score")
    for key in [one["Key"] for one in work.clients.s3.list_objects_v2(Bucket="data")["Contents"]]:
        work.clients.s3.delete_object(Bucket="data", Key=key)
    work.clients.s3.delete_bucket(Bucket="data")
    verdict, why = verdicts()[0][job]
    assert verdict == "unknown"
    assert "'data' does not exist" in why
    done = batchemr("orphans", "--terminate", "--older-than", "0s")
    assert done.exit_code == 0
    assert "note: cannot record the stop request in the ledger" in done.stderr
    work.wait_for(lambda: work.job_status(job), {"FAILED"})


def test_other_jobs_and_clusters_are_ignored(work):
    """Only work with this package's tags counts."""
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
    """Before AWS is called."""
    done = batchemr("orphans", "--older-than", given)
    assert done.exit_code == 2
    assert "older-than" in done.stderr
    assert "Traceback" not in done.stderr


def test_clusters_are_listed_with_age_hours_and_owner(work):
    """In JSON and in the table."""
    cluster = work.start_cluster("spark.cluster")
    record = json.loads(batchemr("clusters", "--json").stdout)
    assert (cluster, "data-team", "nightly") == (record["id"], record["owner"], record["tags"]["batchemr:dag_id"])
    assert 3 * record["age_seconds"] == pytest.approx(record["instance_hours"] * 3600, abs=3)
    assert record["instance_hours"] > 0
    headings, row = batchemr("clusters").stdout.splitlines()
    assert headings.split()[:5] == ["id", "state", "age", "instance-hours", "owner"]
    assert all(text in row for text in (cluster, "0.0", "data-team", "nightly 2026-11-20T000000Z spark.cluster"))


def test_a_cluster_can_be_terminated_by_hand(work):
    """With a stop request in the ledger. Clusters of others are rejected."""
    cluster = work.start_cluster("spark.cluster")
    done = batchemr("clusters", "--end", cluster, "--end", "j-NOTOURS")
    assert (done.exit_code, done.stderr) == (1, "error: j-NOTOURS: not a running cluster started by this package\n")
    assert batchemr("clusters", "--end", cluster).exit_code == 0
    assert work.cluster_state(cluster) in {"TERMINATING", "TERMINATED"}
    assert work.ledger("spark.cluster").stop_request(1).by == "batchemr clusters"
    assert batchemr("clusters").stdout == ""
    work.wait_for(lambda: work.cluster_state(cluster), {"TERMINATED"})
    assert cluster in batchemr("clusters", "--all").stdout


@pytest.fixture
def eks(work):
    """A virtual cluster of EMR on EKS on moto, whose job runs continue until they are cancelled."""
    role = "arn:aws:iam::123456789012:role/runs"
    work.clients.get("eks").create_cluster(name="k", roleArn=role, resourcesVpcConfig={})
    provider = {"type": "EKS", "id": "k", "info": {"eksInfo": {"namespace": "default"}}}
    containers = work.clients.get("emr-containers")
    virtual = containers.create_virtual_cluster(name="v", containerProvider=provider)["id"]
    target = Eks(virtual, role, "emr-7.5.0-latest")

    def start(job):
        submissions = JobRunSubmissions(work.clients, work.ledger(job), work.identity(job), target)
        spark = Spark.model_validate({"py": "s3://code/x.py"})
        name, tags = work.identity(job).submission_name(1), work.identity(job).tags(1)
        return submissions.run(
            work.ledger(job).read(), None, None, lambda _: target.request(spark, name, tags, {})
        ).run_id

    start.state = lambda run: containers.describe_job_run(virtualClusterId=virtual, id=run)["jobRun"]["state"]
    return start


def test_orphaned_job_runs_are_cancelled(work, eks):
    """They are found by their tags and compared with the ledger."""
    wanted, stopped = eks("wanted"), eks("stopped")
    work.ledger("stopped").request_stop(1, StopRequest(reason="marked failed"))
    expected = {
        wanted: IN_USE,
        stopped: ("orphaned", "stop requested: marked failed"),
    }
    assert (expected, 1) == verdicts()
    done = batchemr("orphans", "--terminate")
    assert (done.exit_code, done.stderr) == (0, "1 orphan: stopped\n")
    assert ("RUNNING", "CANCELLED") == (eks.state(wanted), eks.state(stopped))


def test_tags_of_emr_serverless_job_runs_are_read_only_for_our_names():
    """The lists contain no tags, and other job runs should not cost a call each."""
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
        (one.kind, one.id, one.created, one.submission, one.place.where) for one in found
    ]
    stub.assert_no_pending_responses()
