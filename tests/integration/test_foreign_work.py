"""Records that somebody with write access to the state bucket has changed: they end no work of others, nor count it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.backend import BatchBackend
from airflow_batchemr.aws.emr.running_cluster import running_cluster
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.core.errors import Throttled
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.ownership import ForeignWorkError
from airflow_batchemr.engine.submissions import stop
from airflow_batchemr.engine.waiters import record_waiter
from airflow_batchemr.ledger import Handle, HandleJob, JobLedger, LedgerCorruptError, LedgerUnavailableError
from airflow_batchemr.operators.killing import terminate_known
from airflow_batchemr.triggers.batch import BatchJobsTrigger
from tests.integration import batch_engine, emr_engine
from tests.integration.batch_engine import clients, eventually
from tests.integration.emr_engine import JobRunJob, SharedClusterJob, existing_cluster

ENDS = (
    *("TerminateJob", "TerminateJobs", "CancelJob", "TerminateJobFlows", "SetTerminationProtection", "CancelSteps"),
    "CancelJobRun",
)
PROTECTED = {"type": "m5.xlarge", "instances": 2, "termination_protection": True}


def ended(aws):
    """How often the server was requested to end something."""
    return sum(aws.requests()[name] for name in ENDS)


def forge(job, number=1, **handle):
    """Replace the recorded handle."""
    bucket, _, key = job.ledger().handle_uri(number).removeprefix("s3://").partition("/")
    clients().s3.put_object(Bucket=bucket, Key=key, Body=Handle(**handle).model_dump_json().encode())


# Batch


@pytest.fixture
def job(account, work, tmp_path):
    """A job whose program runs until the end of the test."""
    job = batch_engine.Job(f"s3://state/{tmp_path.name}", work.command("while [ ! -e go ]; do sleep 0.1; done"), 1)
    yield job
    (work.folder / "go").touch()


@pytest.fixture
def stranger(account, job):
    """`stranger(**arguments)` submits a job of somebody else. Returns its id."""
    batch = account.client("batch")
    batch.register_job_definition(
        jobDefinitionName="theirs",
        type="container",
        containerProperties={
            "image": "busybox",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        },
    )

    def start(command="sleep 300", **arguments):
        arguments = {"jobName": "payroll", **arguments}
        overrides = {"command": ["sh", "-c", command]}
        return batch.submit_job(jobQueue="default", jobDefinition="theirs", containerOverrides=overrides, **arguments)[
            "jobId"
        ]

    return start


def status(account, id_):
    return account.client("batch").describe_jobs(jobs=[id_])["jobs"][0]["status"]


def batch_handle(id_):
    return {"kind": "batch", "jobs": [HandleJob(job_id=id_, name="x", indices=IndexSet.of([0]))]}


def trigger_of(job, step):
    record_waiter(job.ledger(), job.identity, [1])
    return BatchJobsTrigger(
        jobs={one.job_id: "0" for submission in step.waits for one in submission.handle.jobs},
        identity=job.identity.values(),
        submissions=[1],
        prior_submissions=[],
        aws_conn_id=None,
    )


@pytest.mark.parametrize("copied", ["nothing", "name", "tags", "tags of another submission"])
def test_a_clear_does_not_end_the_job_of_a_stranger(account, job, stranger, copied):
    """Neither name nor tags suffice. The task's own job, which its trigger knows, ends; the error names the record."""
    step = job.step()
    (own,) = (one.job_id for one in step.waits[0].handle.jobs)
    name, tags = job.identity.submission_name(1), job.identity.tags(1)
    theirs = stranger(
        **({"jobName": name} if "name" in copied else {}),
        **({"tags": tags} if copied == "tags" else {}),
        **({"jobName": name, "tags": job.identity.tags(2)} if "another" in copied else {}),
    )
    forge(job, **batch_handle(theirs))
    trigger = trigger_of(job, step)
    trigger._task_state = lambda: "failed"
    with pytest.raises(ForeignWorkError) as raised:
        asyncio.run(trigger.on_kill())
    assert status(account, theirs) not in {"FAILED", "SUCCEEDED"}
    assert all(text in str(raised.value) for text in (theirs, job.ledger().handle_uri(1), name))
    eventually(lambda: status(account, own) == "FAILED")


@pytest.mark.parametrize("way", ["stop", "known", "rerun"])
def test_no_way_to_stop_ends_the_job_of_a_stranger(account, job, stranger, way):
    """A timeout or a newer run, a kill without the ledger, a rerun that replaces earlier work."""
    job.step()
    theirs = stranger()
    forge(job, **batch_handle(theirs))
    account.reset_requests()
    open_ = job.ledger().read().open_submissions
    remote = AnyRemoteWork(clients(), job.ledger(), job.identity)
    ways = {
        "stop": lambda: stop(job.ledger(), remote, open_, "the deadline has passed", by="deadline"),
        "known": lambda: terminate_known(remote, open_, "the task was killed"),
        "rerun": lambda: job.step(rerun_token="again"),
    }
    with pytest.raises(ForeignWorkError):
        ways[way]()
    assert ended(account) == 0
    assert status(account, theirs) not in {"FAILED", "SUCCEEDED"}


def test_other_jobs_are_stopped_although_one_record_is_foreign(account, job, stranger):
    """The error is raised at the end."""
    (own,) = job.step().waits[0].handle.jobs
    theirs = stranger()
    forge(job, kind="batch", jobs=[*batch_handle(theirs)["jobs"], own])
    remote = AnyRemoteWork(clients(), job.ledger(), job.identity)
    with pytest.raises(ForeignWorkError, match="payroll"):
        stop(job.ledger(), remote, job.ledger().read().open_submissions, "x", by="test")
    eventually(lambda: status(account, own.job_id) == "FAILED")
    assert status(account, theirs) != "FAILED"


def test_the_success_of_a_stranger_is_not_recorded(account, job, stranger):
    """A try neither waits for the job, nor writes a result or a marker for it."""
    job.step()
    theirs = stranger("true")
    eventually(lambda: status(account, theirs) == "SUCCEEDED")
    forge(job, **batch_handle(theirs))
    with pytest.raises(ForeignWorkError):
        job.step()
    submission = job.ledger().read().submissions[0]
    assert (submission.result, job.ledger().marker()) == (None, None)


def test_a_changed_intent_does_not_lead_to_the_job_of_a_stranger(account, job, stranger):
    """Work is searched for by the computed name, whatever the record says."""
    job.step()
    theirs = stranger()
    submission = job.ledger().read().submissions[0]
    request = submission.intent.requests[0].model_copy(update={"name": "payroll"})
    changed = submission.intent.model_copy(update={"name": "payroll", "requests": [request]})
    forged = replace(submission, intent=changed, handle=None)
    remote = AnyRemoteWork(clients(), job.ledger(), job.identity)
    assert remote.find(forged) is None
    account.reset_requests()
    remote.terminate(forged, "cleared")
    assert ended(account) == 0
    assert status(account, theirs) not in {"FAILED", "SUCCEEDED"}


def test_of_two_jobs_with_one_name_only_the_one_with_our_tags_is_found(account, job, stranger):
    """Somebody who can submit jobs can use the name, which is no secret, before this package does."""
    squatter = stranger(jobName=job.identity.submission_name(1))
    (own,) = job.step().waits[0].handle.jobs
    submission = replace(job.ledger().read().submissions[0], handle=None)
    found = AnyRemoteWork(clients(), job.ledger(), job.identity).find(submission)
    assert ([own.job_id], []) == ([one.job_id for one in found.handle.jobs], list(found.twins))
    assert status(account, squatter) not in {"FAILED", "SUCCEEDED"}


def test_a_handle_that_is_written_during_the_call_is_checked(account, job, stranger, monkeypatch):
    """It was there first, so the own job ends: the task must not wait for that of a stranger."""
    theirs = stranger()
    start = BatchBackend.start

    def slow(self, request, sleep):
        handle = start(self, request, sleep)
        forge(job, **batch_handle(theirs))
        return handle

    monkeypatch.setattr(BatchBackend, "start", slow)
    with pytest.raises(ForeignWorkError):
        job.step()
    assert status(account, theirs) not in {"FAILED", "SUCCEEDED"}
    (own,) = jobs.find(clients(), "default", job.identity.submission_name(1))
    eventually(lambda: status(account, own["jobId"]) == "FAILED")


def test_a_normal_stop_takes_one_call_more(account, job):
    """DescribeJobs, unless the same pass has observed the job."""
    job.step()
    account.reset_requests()
    remote = AnyRemoteWork(clients(), job.ledger(), job.identity)
    open_ = job.ledger().read().open_submissions
    terminate_known(remote, open_, "x")
    requests = account.requests()
    assert (1, 1) == (requests["DescribeJobs"], requests["TerminateJob"])
    account.reset_requests()
    remote.observe(open_[0])
    remote.terminate(open_[0], "x")
    assert 1 == account.requests()["DescribeJobs"]


def test_a_job_that_aws_does_not_show_yet_is_stopped(account, job):
    """Describe calls lag by seconds."""
    (own,) = job.step().waits[0].handle.jobs
    account.faults.hide(own.job_id)
    stop(
        job.ledger(), AnyRemoteWork(clients(), job.ledger(), job.identity), job.ledger().read().submissions, "x", by="t"
    )
    account.faults.clear()
    eventually(lambda: status(account, own.job_id) == "FAILED")


def test_a_stop_without_any_work_names_what_is_wrong_with_the_ledger(job, monkeypatch):
    """The trigger of a task that waits for another job's submission has neither jobs nor submissions."""
    trigger = trigger_of(job, SimpleNamespace(waits=[]))
    trigger.submissions = []

    def unreachable(self):
        raise LedgerUnavailableError("ListObjectsV2", "s3://state", "no answer")

    monkeypatch.setattr(JobLedger, "read", unreachable)
    with pytest.raises(LedgerUnavailableError):
        trigger.stop(clients(), "cleared", by="try 1")


# EMR


def cluster_state(account, id_):
    described = account.client("emr").describe_cluster(ClusterId=id_)["Cluster"]
    return described["Status"]["State"], described["TerminationProtected"]


@pytest.fixture
def theirs(account):
    """A protected cluster of somebody else."""
    id_ = existing_cluster(account)
    account.client("emr").set_termination_protection(JobFlowIds=[id_], TerminationProtected=True)
    eventually(lambda: cluster_state(account, id_)[0] == "WAITING")
    yield id_
    account.client("emr").set_termination_protection(JobFlowIds=[id_], TerminationProtected=False)
    account.client("emr").terminate_job_flows(JobFlowIds=[id_])


@pytest.mark.parametrize("kind", ["emr", "steps"])
@pytest.mark.parametrize("tagged", [False, True])
def test_a_protected_cluster_of_a_stranger_stays(account, theirs, kind, tagged):
    """Its protection is not lifted, whatever the handle says about it, and also if it has our tags."""
    job = SharedClusterJob(account)
    job.pass_()
    if tagged:
        tags = [{"Key": key, "Value": value} for key, value in job.identity.tags(1).items()]
        account.client("emr").add_tags(ResourceId=theirs, Tags=tags)
    forge(job, kind=kind, cluster_id=theirs)
    account.reset_requests()
    error = ForeignWorkError if kind == "emr" else LedgerCorruptError  # the intent has another kind than the handle
    with pytest.raises(error):
        job.pass_()
    with pytest.raises(error):
        job.stop(job.ledger().read().open_submissions)
    assert ended(account) == 0
    assert ("WAITING", True) == cluster_state(account, theirs)


def test_other_clusters_with_a_changed_intent_stay(account, theirs):
    """An intent may name a cluster that an earlier submission has kept alive; this one is not of this job."""
    job = SharedClusterJob(account)
    job.pass_()
    submission = job.ledger().read().submissions[0]
    changed = submission.intent.model_copy(update={"details": {"cluster_id": theirs}})
    remote = job.engine().remote
    account.reset_requests()
    with pytest.raises(ForeignWorkError):
        remote.terminate(replace(submission, intent=changed, handle=None), "cleared")
    assert ended(account) == 0
    assert ("WAITING", True) == cluster_state(account, theirs)


def test_the_own_protected_cluster_is_terminated(account):
    """Its name and tags are those of the intent. One DescribeCluster more."""
    job = SharedClusterJob(account, cluster=PROTECTED)
    (submission,) = job.pass_().waits
    account.reset_requests()
    job.stop([submission])
    assert Counter({"DescribeCluster": 1, "TerminateJobFlows": 2, "SetTerminationProtection": 1}) == Counter(
        {name: count for name, count in account.requests().items() if not name.endswith(("Object", "ObjectsV2"))}
    )
    assert cluster_state(account, submission.handle.cluster_id)[0] in {"TERMINATING", "TERMINATED"}


def test_a_protected_cluster_that_emr_does_not_show_yet_is_stopped_later(account):
    """Without its name and tags, its protection is not lifted: the stop is tried again."""
    job = SharedClusterJob(account, cluster=PROTECTED)
    (submission,) = job.pass_().waits
    account.faults.hide(submission.handle.cluster_id)
    with pytest.raises(Throttled, match="does not show yet"):
        job.stop([submission])
    account.faults.clear()
    job.stop([submission])
    assert cluster_state(account, submission.handle.cluster_id)[0] in {"TERMINATING", "TERMINATED"}


def add_step(account, cluster_id, name="payroll"):
    step = {
        "Name": name,
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["sleep", "300"]},
    }
    return account.client("emr").add_job_flow_steps(JobFlowId=cluster_id, Steps=[step])["StepIds"][0]


@pytest.mark.parametrize("others", [0, 11])
def test_only_steps_with_our_names_are_cancelled(account, theirs, others):
    """On a cluster that is shared with others. Many steps are listed by their states, 50 per call."""
    job = emr_engine.Job(account, [{"command": "sleep 300"}], existing=theirs)
    (submission,) = job.pass_().waits
    foreign = add_step(account, theirs)
    ids = {**submission.handle.step_ids, 1: foreign}
    ids |= {
        n: add_step(account, theirs, f"x [{job.identity.submission_name(1)}-s{n:04d}]") for n in range(2, 2 + others)
    }
    forge(job, kind="steps", cluster_id=theirs, step_ids=ids)
    account.reset_requests()
    with pytest.raises(ForeignWorkError, match=foreign):
        job.stop(job.ledger().read().open_submissions)
    assert (1, 1) == (account.requests()["ListSteps"], account.requests()["CancelSteps"])
    states = {one["Id"]: one["Status"]["State"] for one in account.client("emr").list_steps(ClusterId=theirs)["Steps"]}
    assert states.pop(foreign) in {"PENDING", "RUNNING"}
    eventually(
        lambda: all(
            one["Status"]["State"] == "CANCELLED"
            for one in account.client("emr").list_steps(ClusterId=theirs)["Steps"]
            if one["Id"] != foreign
        )
    )
    with pytest.raises(ForeignWorkError, match=foreign):
        job.pass_()
    assert job.outcomes() == [None]


def test_steps_do_not_run_on_a_cluster_that_a_changed_record_names(account, theirs):
    """Jobs on a cluster of their run find it through the ledger of the task that started it."""
    job = SharedClusterJob(account)
    job.pass_()
    forge(job, kind="emr", cluster_id=theirs)
    engine = job.engine()
    with pytest.raises(ForeignWorkError, match=theirs):
        running_cluster(engine.backend.clients, replace(job.identity, job="report"), job.identity.job)


def test_a_cluster_of_a_stranger_is_not_taken_for_a_kept_one(account, theirs):
    """`keep_alive` starts a new cluster instead."""
    kept = {"type": "m5.xlarge", "instances": 2, "keep_alive": "4h"}
    job = emr_engine.Job(account, [{"command": "exit 3"}], cluster=kept)
    assert job.try_().action == "fail"
    forge(job, kind="emr", cluster_id=theirs)
    (submission,) = job.pass_(try_number=2).waits
    assert submission.handle.cluster_id != theirs
    assert [] == account.client("emr").list_steps(ClusterId=theirs)["Steps"]
    job.stop([submission])


# Job runs

ROLE = "arn:aws:iam::123456789012:role/runs"
SERVERLESS = {"emr_serverless": {"application": "default", "role": ROLE}}
EKS = {"emr_eks": {"virtual_cluster": "default", "role": ROLE, "release": "emr-7.5.0-latest"}}


@pytest.fixture(params=[SERVERLESS, EKS], ids=["serverless", "eks"])
def run(request, program_aws, tmp_path):
    """`run(**identity)` starts a job run that lasts until the end of the test. Returns the job and the run's id."""
    program_aws.client("s3").create_bucket(Bucket="state")
    program = tmp_path / "program.sh"
    program.write_text(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done\n")

    def start(**identity):
        job = JobRunJob(program_aws, request.param, {"py": str(program)})
        job.identity = replace(job.identity, **identity)
        (submission,) = job.pass_().waits
        return job, submission.handle.jobs[0].job_id

    yield start
    (tmp_path / "go").touch()


def test_a_job_run_of_a_stranger_is_not_cancelled(program_aws, run):
    """Nor is it waited for."""
    job, _ = run()
    other, theirs = run(dag_id="payroll")
    target = job.engine().backend.target
    forge(job, kind=target.kind, jobs=batch_handle(theirs)["jobs"])
    program_aws.reset_requests()
    with pytest.raises(ForeignWorkError, match=theirs):
        job.stop(job.ledger().read().open_submissions)
    with pytest.raises(ForeignWorkError, match=theirs):
        job.pass_()
    assert ended(program_aws) == 0
    assert not target.describe(other.engine().backend.clients, theirs).ended


def test_a_normal_stop_of_a_job_run_takes_one_call_more(program_aws, run):
    """GetJobRun or DescribeJobRun."""
    job, _ = run()
    open_ = job.ledger().read().open_submissions
    program_aws.reset_requests()
    job.stop(open_)
    requests = program_aws.requests()
    assert (1, 1) == (requests["GetJobRun"] + requests["DescribeJobRun"], requests["CancelJobRun"])
