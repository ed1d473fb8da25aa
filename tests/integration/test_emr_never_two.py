"""A job has one cluster, its steps run once, and nothing is left running, despite kills."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.emr import step_work
from airflow_batchemr.aws.emr.remote import EmrRemote
from airflow_batchemr.aws.errors import NotAllowed
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.submissions import find_and_end_duplicates
from airflow_batchemr.ledger import Request, Submission
from tests.integration.emr_engine import Calls, Job, KilledError, eventually, existing_cluster, killed_at, lose_master
from tests.integration.emr_steps import Steps, alive, named

#: Number of calls of a try with one step on one cluster, and a few more, because waiting adds calls.
POINTS = [(when, number) for number in range(14) for when in ("before", "after")]
IDS = [f"{when}{number}" for when, number in POINTS]


@pytest.mark.parametrize(("when", "number"), POINTS, ids=IDS)
def test_next_try_takes_over_the_cluster_of_a_killed_worker(account, tmp_path, lease_over, when, number):
    """Killed at any call: one cluster, one run of the step, nothing left running, and a marker."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")])
    killed_at(job, when, number)
    lease_over()
    assert "succeed" == job.try_(try_number=2).action
    assert ["a"] == steps.ran()
    assert 1 == len(named(account, "pipe-"))
    assert [] == alive(account, "pipe-")
    assert job.ledger().read().marker is not None


@pytest.mark.parametrize(("when", "number"), POINTS, ids=IDS)
def test_next_try_adds_no_step_again_to_an_existing_cluster(account, tmp_path, lease_over, when, number):
    """Killed at any call: the step is added and runs once."""
    cluster = existing_cluster(account)
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")], existing=cluster)
    killed_at(job, when, number)
    lease_over()
    assert "succeed" == job.try_(try_number=2).action
    assert ["a"] == steps.ran()
    assert 1 == len(account.client("emr").list_steps(ClusterId=cluster)["Steps"])


@pytest.mark.parametrize("fault", ["drop", "error_after", "drop_before", "error", "throttle"])
def test_lost_response_to_run_job_flow_starts_no_second_cluster(account, tmp_path, lease_over, fault):
    """RunJobFlow has no client token, so the cluster is searched for by its name."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")])
    account.faults.plan("RunJobFlow", fault)
    lease_over()
    assert "succeed" == job.try_().action
    assert ["a"] == steps.ran()
    assert 1 == len(named(account, "pipe-"))
    assert [] == alive(account, "pipe-")


class KilledAfterItsStart(Calls):
    """A process that is killed when EMR has answered RunJobFlow."""

    def at(self, when, operation):
        if (when, operation) == ("after", "RunJobFlow"):
            raise KilledError


def test_only_a_try_terminates_the_second_cluster_of_a_submission(account, tmp_path, lease_over):
    """Two clusters have its name, and no id is recorded. Whoever only looks, such as the history, changes nothing."""
    job = Job(account, [Steps(tmp_path).step("a", "sleep 600")])
    with pytest.raises(KilledError):
        job.pass_(KilledAfterItsStart())
    request = job.ledger().read().submissions[0].intent.requests[0].request
    emr = account.client("emr")
    second = emr.run_job_flow(**request)["JobFlowId"]
    (first,) = {one["Id"] for one in alive(account, "pipe-")} - {second}
    lease_over()
    remote, submission = job.engine().remote, job.ledger().read().submissions[0]

    found = remote.find(submission)
    assert (first, [second]) == (found.handle.cluster_id, [one.cluster_id for one in found.twins])
    assert {first, second} == {one["Id"] for one in alive(account, "pipe-")}

    (waits,) = job.pass_(try_number=2).waits
    assert first == waits.handle.cluster_id
    assert [first] == [one["Id"] for one in alive(account, "pipe-")]
    job.stop([waits])


def test_duplicates_of_a_step_with_a_lost_response_are_cancelled(account, tmp_path):
    """On an existing cluster, two steps have the name of one submission: the older one counts."""
    emr = account.client("emr")
    cluster_id = existing_cluster(account)
    held = {"Jar": "command-runner.jar", "Args": ["sleep", "600"]}
    identity = JobIdentity(f"s3://state/{tmp_path.name}", "d", "k", "j", "manual", "j")
    intent = intent_of_steps(identity, cluster_id, held)
    first, second = [
        emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=intent.requests[0].request["Steps"])["StepIds"][0]
        for _ in range(2)
    ]
    clients = boto3_clients()
    remote = EmrRemote(clients, clients.ledger(identity.state).job("d", "k", "j"), identity)
    submission = Submission(1, None, intent=intent)
    found = find_and_end_duplicates(remote, submission)
    assert {0: first} == found.handle.step_ids
    states = {one["Id"]: one["Status"]["State"] for one in emr.list_steps(ClusterId=cluster_id)["Steps"]}
    assert "CANCELLED" == states[second]
    assert states[first] in {"PENDING", "RUNNING"}
    remote.terminate(submission, "cleared")
    emr.terminate_job_flows(JobFlowIds=[cluster_id])


def intent_of_steps(identity, cluster_id, jar):
    name, one = identity.submission_name(1), IndexSet.of([0])
    config = {"Name": f"work [{name}-s0000]", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    request = Request(name=name, indices=one, request={"JobFlowId": cluster_id, "Steps": [config]})
    return identity.intent(1, "steps", [request], one, rerun_token=None, details={"cluster_id": cluster_id})


def test_cluster_is_terminated_if_its_next_steps_are_refused(account, tmp_path, monkeypatch):
    """Its completed steps count, and the next try runs the rest on another cluster."""
    monkeypatch.setattr(step_work, "STEPS_AT_CREATION", 1)
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a"), steps.step("b")])
    account.faults.refuse("AddJobFlowSteps")
    with pytest.raises(NotAllowed, match="AddJobFlowSteps"):
        job.try_()
    assert [] == alive(account, "pipe-")
    assert "succeed" == job.try_(try_number=2).action
    assert ["a", "b"] == steps.ran()
    assert 2 == len(named(account, "pipe-"))


def test_refused_run_job_flow_leaves_nothing_and_the_next_try_starts(account, tmp_path):
    """The error names the IAM action."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")])
    account.faults.refuse("RunJobFlow")
    with pytest.raises(NotAllowed, match="IAM action elasticmapreduce:RunJobFlow"):
        job.try_()
    assert [] == named(account, "pipe-")
    assert "succeed" == job.try_(try_number=2).action
    assert ["a"] == steps.ran()


def test_stopped_submission_is_not_a_failure_of_the_next_try(account, tmp_path):
    """After a clear, the work is stopped, and the rest runs again."""
    steps = Steps(tmp_path)
    script = "[ -e go ] || { touch go; sleep 60; }"
    job = Job(account, [steps.step("a"), steps.step("b", script)])
    outcome = job.pass_()
    eventually((tmp_path / "go").exists)
    job.stop(outcome.waits)
    assert [] == alive(account, "pipe-")
    outcome = job.pass_(prior_submissions=outcome.prior_submissions)  # the same try would wait for the rest
    assert "wait" == outcome.action
    assert "succeed" == job.try_(try_number=2).action
    assert ["a", "b", "b"] == steps.ran()
    assert ["stopped", "succeeded"] == job.outcomes()


def test_stop_on_an_existing_cluster_cancels_the_running_step_only(account, tmp_path):
    """The cluster and steps of other users continue."""
    emr, cluster = account.client("emr"), existing_cluster(account)
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a", "touch go; exec sleep 600")], existing=cluster)
    outcome = job.pass_()
    eventually((tmp_path / "go").exists)
    jar = {"Jar": "command-runner.jar", "Args": ["true"]}
    emr.add_job_flow_steps(
        JobFlowId=cluster, Steps=[{"Name": "x", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}]
    )
    job.stop(outcome.waits)
    remote = job.engine().remote
    eventually(lambda: remote.observe(outcome.waits[0]).status == "ended")
    eventually(lambda: emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] == "WAITING")
    states = [one["Status"]["State"] for one in emr.list_steps(ClusterId=cluster)["Steps"]]
    assert ["COMPLETED", "CANCELLED"] == states


def test_steps_wait_for_capacity_on_an_existing_cluster(account, tmp_path):
    """EMR accepts 256 pending and running steps: the try waits until it can add its steps."""
    emr, cluster = account.client("emr"), existing_cluster(account)
    jar = {"Jar": "command-runner.jar", "Args": ["sleep", "600"]}
    theirs = [{"Name": "x", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}] * 256
    ids = emr.add_job_flow_steps(JobFlowId=cluster, Steps=theirs)["StepIds"]
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")], existing=cluster)
    outcome = job.pass_()
    assert ("wait", [], job.policy.resubmit_pause) == (outcome.action, outcome.waits, outcome.wake_after)
    emr.cancel_steps(ClusterId=cluster, StepIds=ids)
    assert "succeed" == job.try_(prior_submissions=outcome.prior_submissions).action
    assert ["a"] == steps.ran()


def test_full_subnet_is_followed_by_the_next_one_in_the_same_try(account, tmp_path):
    """The failure in the first subnet is recorded in the ledger."""
    steps = Steps(tmp_path)
    cluster = {"type": "m5.xlarge", "instances": 2, "subnets": ["subnet-1", "subnet-2"]}
    job = Job(account, [steps.step("a")], cluster=cluster)
    account.faults.fail_start("subnet_full")
    assert "succeed" == job.try_().action
    assert ["a"] == steps.ran()
    subnets = [
        account.client("emr").describe_cluster(ClusterId=one["Id"])["Cluster"]["Ec2InstanceAttributes"]["Ec2SubnetId"]
        for one in named(account, "pipe-")
    ]
    assert ["subnet-2", "subnet-1"] == subnets
    assert ["failed", "succeeded"] == job.outcomes()


def test_start_failure_independent_of_the_subnet_fails_immediately(account, tmp_path):
    """For example, a missing role."""
    steps = Steps(tmp_path)
    cluster = {"type": "m5.xlarge", "instances": 2, "subnets": ["subnet-1", "subnet-2"]}
    job = Job(account, [steps.step("a")], cluster=cluster)
    account.faults.fail_start("invalid_role")
    assert "fail" == job.try_().action
    assert 1 == len(named(account, "pipe-"))
    assert [] == steps.ran()


def test_rerun_stops_running_work_and_runs_all_steps(account, tmp_path):
    """With a rerun token, completed steps run again."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a"), steps.step("b", "[ -e go ] || { touch go; sleep 60; }")])
    job.pass_()
    eventually((tmp_path / "go").exists)
    assert "succeed" == job.try_(rerun_token="manual__1#0").action
    assert ["a", "b", "a", "b"] == steps.ran()
    assert [] == alive(account, "pipe-")


def test_step_does_not_run_again_in_a_try_that_lost_its_master(account, tmp_path):
    """Other instance types are only tried for clusters that have not started."""
    steps = Steps(tmp_path)
    script = "[ -e go ] || { touch go; sleep 60; }"
    job = Job(account, [steps.step("a", script)], cluster={"type": ["m5.xlarge", "m6g.xlarge"], "instances": 2})
    outcome = job.pass_()
    eventually((tmp_path / "go").exists)
    lose_master(account)
    outcome = job.try_(prior_submissions=outcome.prior_submissions)
    assert "fail" == outcome.action
    assert "the instance was terminated" in outcome.state.submissions[0].result.failures[0].reason
    assert 1 == len(named(account, "pipe-"))
    assert ["a"] == steps.ran()
    assert "succeed" == job.try_(try_number=2).action
    assert ["a", "a"] == steps.ran()
