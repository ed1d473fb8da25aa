"""Whatever is killed when, a job has one cluster, its steps run once, and nothing is left running."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta

import pytest
from airflow_batchemr.aws.emr.submissions import EmrSubmissions

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr import own_cluster
from airflow_batchemr.aws.emr.existing_cluster import Guest
from airflow_batchemr.aws.emr.own_cluster import ClusterWords, OwnCluster
from airflow_batchemr.aws.emr.step_configs import plan_steps
from airflow_batchemr.aws.errors import AwsError, NotAllowed, Throttled
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger import Ledger, Marker
from airflow_batchemr.pipeline_file.models import Emr, Step
from tests.integration.emr_steps import Steps, alive, named


class KilledError(BaseException):
    """What `kill -9` is to the code under test: nothing of it runs any more."""


class Job:
    """A job on EMR as an operator runs it, try after try, without Airflow."""

    def __init__(self, aws, steps, *, dag_id="pipe", cluster=None, guest_of=None):
        self.aws, self.steps, self.guest_of = aws, steps, guest_of
        self.identity = JobIdentity("s3://state/x", dag_id, "2026-11-20T000000Z", "work", "manual__1", "work")
        self.emr = Emr.model_validate(cluster or {"type": "m5.xlarge", "instances": 2})
        self.die = None
        self.number = -1

    def clients(self):
        """Clients that die at a call: `self.die` is `("before" | "after", n)`."""
        calls = itertools.count()

        def make(service, config):
            client = self.aws.client(service, config=config)
            events = client.meta.events
            events.register_first(f"before-call.{service}", lambda **_: self._at("before", calls))
            events.register_last(f"after-call.{service}", lambda **_: self._at("after", calls))
            return client

        return Clients(make)

    def _at(self, when, calls):
        if when == "before":
            self.number = next(calls)
        if self.die == (when, self.number):
            raise KilledError

    def submissions(self):
        """Fresh objects, as a new process has them."""
        clients = self.clients()
        ledger = Ledger(clients.s3, self.identity.state).job(self.identity.dag_id, self.identity.run_key, "work")
        return clients, ledger, EmrSubmissions(clients, ledger, self.identity, sleep=lambda _: time.sleep(0.05))

    def one_try(self, rerun_token=None):
        """One try of the task, waits included; gives the last move."""
        clients, ledger, submissions = self.submissions()
        planned = plan_steps([Step.model_validate(one) for one in self.steps])
        before, state = None, ledger.read()
        while state.marker is None:
            if self.guest_of:
                advance = Guest(self.identity, lambda: (self.guest_of, 1), submissions, ledger, planned)
            else:
                words = ClusterWords(self.emr)
                advance = OwnCluster(words, clients, self.identity, submissions, ledger=ledger, planned=planned)
            move = advance.run(state, rerun_token or state.rerun_token, before)
            if move.action == "fail":
                return move
            if move.action == "mark":
                size, last = len(planned), max(move.state.numbers, default=0)
                ledger.mark(Marker(submission=last, size=size, rerun_token=move.state.rerun_token))
                return move
            before = move.before
            time.sleep(0.1)
            state = ledger.read()
        return None


def their_cluster(account):
    """A cluster that was there before."""
    return account.client("emr").run_job_flow(
        Name="theirs",
        ReleaseLabel="emr-7.5.0",
        Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
        ServiceRole="EMR_DefaultRole",
        JobFlowRole="EMR_EC2_DefaultRole",
    )["JobFlowId"]


@pytest.fixture
def account(local_aws):
    """An account with a state bucket."""
    local_aws.client("s3").create_bucket(Bucket="state")
    return local_aws


@pytest.fixture
def later(monkeypatch):
    """`later()`: from now on S3's clock is two minutes ahead, so that leases of those who died have ended."""
    from airflow_batchemr.ledger import store

    clock = store._clock

    def jump():
        monkeypatch.setattr(store, "_clock", lambda answer: clock(answer) + timedelta(minutes=2))

    return jump


#: All calls of a life of one cluster with one step, and some more: waits make a life longer.
POINTS = [(when, number) for number in range(14) for when in ("before", "after")]


def die_at(job, point):
    """One try that is killed at a call; a life that has ended before that call is as good."""
    job.die = point
    try:
        job.one_try()
    except KilledError:
        pass
    else:
        assert job.number >= 9, "a life has at least these calls"
    job.die = None


@pytest.mark.parametrize("point", POINTS, ids=[f"{when}{number}" for when, number in POINTS])
def test_a_killed_worker_leaves_one_cluster_that_the_next_try_takes_over(account, tmp_path, later, point):
    """At every call of a cluster's life: one cluster, one run of the step, nothing left, the marker stands."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")])
    die_at(job, point)
    later()
    job.one_try()
    assert ["a"] == steps.ran()
    assert 1 == len(named(account, "pipe-"))
    assert [] == alive(account, "pipe-")
    assert job.submissions()[1].read().marker is not None


@pytest.mark.parametrize("point", POINTS, ids=[f"{when}{number}" for when, number in POINTS])
def test_a_killed_worker_adds_no_step_twice(account, tmp_path, later, point):
    """The same on a cluster that is there."""
    cluster = their_cluster(account)
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")], guest_of=cluster)
    die_at(job, point)
    later()
    job.one_try()
    assert ["a"] == steps.ran()
    assert 1 == len(account.client("emr").list_steps(ClusterId=cluster)["Steps"])


@pytest.mark.parametrize("fault", ["drop", "error_after", "drop_before", "error", "throttle"])
def test_a_lost_answer_starts_no_second_cluster(account, tmp_path, later, fault):
    """RunJobFlow has no client token: after an answer that was lost, the cluster is looked for by its name."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")])
    account.faults.plan("RunJobFlow", fault)
    later()
    job.one_try()
    assert ["a"] == steps.ran()
    assert 1 == len(named(account, "pipe-"))
    assert [] == alive(account, "pipe-")


def test_a_cluster_whose_next_steps_are_refused_ends(account, tmp_path, monkeypatch):
    """What it has done is kept, it does not idle, and the next try does the rest on another one."""
    monkeypatch.setattr(own_cluster, "STEPS_AT_CREATION", 1)
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a"), steps.step("b")])
    account.faults.refuse("AddJobFlowSteps")
    with pytest.raises(NotAllowed, match="AddJobFlowSteps"):
        job.one_try()
    assert [] == alive(account, "pipe-")
    assert "mark" == job.one_try().action
    assert ["a", "b"] == steps.ran()
    assert 2 == len(named(account, "pipe-"))


def test_a_refused_start_leaves_nothing_and_is_told(account, tmp_path):
    """The claim is closed; when the permission is there, the next try starts."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")])
    account.faults.refuse("RunJobFlow")
    with pytest.raises(NotAllowed, match="IAM action elasticmapreduce:RunJobFlow"):
        job.one_try()
    assert [] == named(account, "pipe-")
    job.one_try()
    assert ["a"] == steps.ran()


def test_a_stopped_attempt_is_no_failure_of_the_next_try(account, tmp_path):
    """What a person has cleared is stopped, and the next try does the rest without a word of failure."""
    steps = Steps(tmp_path)
    script = "[ -e go ] || { touch go; sleep 60; }"
    job = Job(account, [steps.step("a"), steps.step("b", script)])
    clients, ledger, submissions = job.submissions()
    planned = plan_steps([Step.model_validate(one) for one in job.steps])
    advance = OwnCluster(ClusterWords(job.emr), clients, job.identity, submissions, ledger=ledger, planned=planned)
    move = advance.run(ledger.read(), None, None)
    while not (tmp_path / "go").exists():
        time.sleep(0.1)
    submissions.stop(move.waits[0], "the task was cleared", by="try 1")
    assert [] == alive(account, "pipe-")
    move = advance.run(ledger.read(), None, move.before)  # the same try would be waiting for it
    assert "wait" == move.action
    job.one_try()
    assert ["a", "b", "b"] == steps.ran()
    outcomes = [submission.result.outcome for submission in ledger.history().submissions]
    assert ["stopped", "succeeded"] == outcomes


def test_cancelling_a_job_on_an_existing_cluster_cancels_its_running_step(account, tmp_path):
    """The cluster and other people's steps go on."""
    emr = account.client("emr")
    cluster = their_cluster(account)
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a", "touch go; exec sleep 600")], guest_of=cluster)
    _, ledger, submissions = job.submissions()
    planned = plan_steps([Step.model_validate(one) for one in job.steps])
    advance = Guest(job.identity, lambda: (cluster, 1), submissions, ledger, planned)
    move = advance.run(ledger.read(), None, None)
    while not (tmp_path / "go").exists():
        time.sleep(0.1)
    submissions.stop(move.waits[0], "the task was cleared", by="try 1")
    deadline = time.monotonic() + 120
    while not submissions.over(move.waits[0], submissions.look(move.waits[0])):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert ["CANCELLED"] == [one["Status"]["State"] for one in emr.list_steps(ClusterId=cluster)["Steps"]]
    assert "WAITING" == emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]


def test_a_cluster_full_of_others_steps_is_no_mistake_of_the_job(account, tmp_path):
    """EMR takes 256 steps that wait or run: a later try finds room."""
    emr, cluster = account.client("emr"), their_cluster(account)
    jar = {"Jar": "command-runner.jar", "Args": ["sleep", "60"]}
    theirs = [{"Name": "x", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}] * 256
    ids = emr.add_job_flow_steps(JobFlowId=cluster, Steps=theirs)["StepIds"]
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a")], guest_of=cluster)
    with pytest.raises(Throttled, match="Maximum number of active steps") as told:
        job.one_try()
    assert told.value.transient
    emr.cancel_steps(ClusterId=cluster, StepIds=ids)
    assert "mark" == job.one_try().action
    assert ["a"] == steps.ran()


def test_a_start_that_fails_for_want_of_room_is_tried_in_the_next_subnet(account, tmp_path):
    """Within the same try; the first subnet's failure is in the ledger."""
    steps = Steps(tmp_path)
    cluster = {"type": "m5.xlarge", "instances": 2, "subnets": ["subnet-1", "subnet-2"]}
    job = Job(account, [steps.step("a")], cluster=cluster)
    account.faults.fail_start("subnet_full")
    assert "mark" == job.one_try().action
    assert ["a"] == steps.ran()
    subnets = [
        account.client("emr").describe_cluster(ClusterId=one["Id"])["Cluster"]["Ec2InstanceAttributes"]["Ec2SubnetId"]
        for one in named(account, "pipe-")
    ]
    assert ["subnet-2", "subnet-1"] == subnets


def test_a_start_that_no_other_subnet_would_mend_fails_at_once(account, tmp_path):
    """A role that does not exist is nowhere better."""
    steps = Steps(tmp_path)
    cluster = {"type": "m5.xlarge", "instances": 2, "subnets": ["subnet-1", "subnet-2"]}
    job = Job(account, [steps.step("a")], cluster=cluster)
    account.faults.fail_start("invalid_role")
    assert "fail" == job.one_try().action
    assert 1 == len(named(account, "pipe-"))
    assert [] == steps.ran()


def test_a_rerun_stops_what_runs_and_starts_from_nothing(account, tmp_path):
    """With the rerun's token all steps run again, though they have succeeded."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a"), steps.step("b", "[ -e go ] || { touch go; sleep 60; }")])
    clients, ledger, submissions = job.submissions()
    planned = plan_steps([Step.model_validate(one) for one in job.steps])
    OwnCluster(ClusterWords(job.emr), clients, job.identity, submissions, ledger=ledger, planned=planned).run(
        ledger.read(), None, None
    )
    while not (tmp_path / "go").exists():
        time.sleep(0.1)
    job.one_try(rerun_token="manual__1#0")
    assert ["a", "b", "a", "b"] == steps.ran()
    assert [] == alive(account, "pipe-")


def test_an_error_of_aws_is_told_as_such(account, tmp_path):
    """What AWS refuses is an AwsError, which the operators turn into Airflow's."""
    job = Job(account, [Steps(tmp_path).step("a")])
    account.faults.refuse("RunJobFlow")
    with pytest.raises(AwsError):
        job.one_try()
