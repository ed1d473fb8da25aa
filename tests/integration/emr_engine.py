"""EMR jobs without Airflow: consecutive or concurrent tries of a job, against the local AWS."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.emr.cluster_options import ClusterOptions
from airflow_batchemr.aws.emr.existing_cluster import ExistingCluster
from airflow_batchemr.aws.emr.job_run import JobRunBackend, job_run_target
from airflow_batchemr.aws.emr.job_steps import plan_steps
from airflow_batchemr.aws.emr.own_cluster import OwnCluster
from airflow_batchemr.aws.emr.shared_cluster import SharedCluster
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.loop import Engine
from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.engine.submissions import stop
from airflow_batchemr.ledger import Ledger, Marker
from airflow_batchemr.pipeline_file.models import Emr, Spark, Step
from airflow_batchemr.triggers.missing import MissingWork


class KilledError(BaseException):
    """The process was killed: it executes nothing more."""


class Calls:
    """The calls of one process to AWS, numbered from 0."""

    def __init__(self):
        self._count = itertools.count()
        self.number = -1

    def clients(self, aws):
        """Clients that report their calls to `at`."""

        def make(service, config):
            client = aws.client(service, config=config)
            events = client.meta.events
            events.register_first(f"before-call.{service}", lambda model, **_: self._before(model.name))
            events.register_last(f"after-call.{service}", lambda model, **_: self.at("after", model.name))
            return client

        return Clients(make)

    def _before(self, operation):
        self.number = next(self._count)
        self.at("before", operation)

    def at(self, when, operation):
        """Called `before` and `after` each call."""


class KilledAt(Calls):
    """A process that is killed before or after the call with a given number."""

    def __init__(self, when, number):
        super().__init__()
        self._point = (when, number)

    def at(self, when, operation):
        if (when, self.number) == self._point:
            raise KilledError


class HangsAt(Calls):
    """A process that hangs once, before or after a call of an operation, until it is woken."""

    def __init__(self, when, operation, *, skip=0):
        super().__init__()
        self._point, self._left = (when, operation), skip
        self.reached, self._woken = threading.Event(), threading.Event()

    def at(self, when, operation):
        if (when, operation) != self._point or self.reached.is_set():
            return
        if self._left:
            self._left -= 1
            return
        self.reached.set()
        assert self._woken.wait(180)

    def run(self, work):
        """Start `work` in a thread and return when it hangs."""
        self.outcome = self.error = None

        def target():
            try:
                self.outcome = work()
            except Exception as error:  # noqa: BLE001 - examined by the test
                self.error = error

        self._thread = threading.Thread(target=target, daemon=True)
        self._thread.start()
        assert self.reached.wait(120)

    def wake(self):
        """Let it continue, and wait until its work ends."""
        self._woken.set()
        self._thread.join(120)
        assert not self._thread.is_alive()


class Job:
    """A job on its own cluster. Each `try_` creates new objects, like a new process.

    Args:
        aws: the local AWS.
        steps: as in the pipeline file.
        dag_id: prefix of the names of its clusters.
        cluster: the `emr:` block.
        existing: id of an existing cluster to run on instead.
        on_failure: ActionOnFailure of the steps.
        policy: grace periods.
    """

    def __init__(self, aws, steps, *, dag_id="pipe", cluster=None, existing=None, on_failure=None, policy=None):
        self.aws, self.existing = aws, existing
        self.identity = JobIdentity("s3://state/x", dag_id, "2026-11-20T000000Z", "work", "manual__1", "work")
        self.planned = plan_steps([Step.model_validate(one) for one in steps], on_failure=on_failure)
        self.emr = Emr.model_validate(cluster or {"type": "m5.xlarge", "instances": 2})
        self.policy = policy or Policy()
        self.size = len(self.planned)

    def ledger(self, clients=None):
        identity = self.identity
        s3 = clients.s3 if clients is not None else self.aws.client("s3")
        return Ledger(s3, identity.state).job(identity.dag_id, identity.run_key, identity.job)

    def backend(self, clients, ledger, identity):
        common = {"planned": self.planned, "clients": clients, "ledger": ledger, "identity": identity}
        if self.existing is not None:
            return ExistingCluster(**common, one_by_one=True, cluster_id=self.existing)
        return OwnCluster(**common, concurrency=self.emr.step_concurrency, options=ClusterOptions(self.emr))

    def engine(self, calls=None, *, try_number=1, **options):
        """The engine of one try."""
        clients = (calls or Calls()).clients(self.aws)
        ledger, identity = self.ledger(clients), replace(self.identity, try_number=try_number)
        remote = AnyRemoteWork(clients, ledger, identity)
        backend = self.backend(clients, ledger, identity)
        return Engine(backend, remote, ledger, identity, self.policy, sleep=lambda _: time.sleep(0.05), **options)

    def pass_(self, calls=None, *, prior_submissions=None, missing=(), rerun_token=None, **options):
        """Run one pass of the engine, as a worker does before it defers. Writes the marker on success.

        If the job has already succeeded, the outcome has no state.
        """
        engine = self.engine(calls, **options)
        state = engine.ledger.read()
        if state.marker is not None and rerun_token in (None, state.marker.rerun_token):
            return SimpleNamespace(action="succeed", state=None, waits=[], prior_submissions=frozenset())
        outcome = engine.run(state, rerun_token or state.rerun_token, prior_submissions, missing)
        if outcome.action == "succeed":
            self.finish(engine.ledger, outcome)
        return outcome

    def finish(self, ledger, outcome):
        last, token = max(outcome.state.numbers, default=0), outcome.state.rerun_token
        ledger.mark(Marker(submission=last, size=self.size, rerun_token=token))

    def try_(self, calls=None, *, prior_submissions=None, **options):
        """Run passes, and wait like a trigger, until the try ends. Returns the last outcome."""
        calls, hidden = calls or Calls(), MissingWork(self.policy.visibility_grace)
        outcome = self.pass_(calls, prior_submissions=prior_submissions, **options)
        while outcome.action == "wait":
            for submission in outcome.waits:
                seen = outcome.observations.get(submission.number)
                if seen is not None and submission.handle is not None:
                    for id_ in ids_of(submission.handle):
                        hidden.update(id_, visible=seen.status != "not_visible")
            time.sleep(0.1)
            outcome = self.pass_(calls, prior_submissions=outcome.prior_submissions, missing=hidden.ids, **options)
        return outcome

    def stop(self, submissions, reason="the task was cleared"):
        """Stop submissions, as a trigger does when a user clears the task."""
        engine = self.engine()
        stop(engine.ledger, engine.remote, submissions, reason, by="try 1")

    def outcomes(self):
        """Outcomes of the submissions; None for open ones."""
        return [one.result.outcome if one.result else None for one in self.ledger().history().submissions]


def ids_of(handle):
    return [handle.cluster_id, *handle.step_ids.values()] if handle.cluster_id else [job.job_id for job in handle.jobs]


class SharedClusterJob(Job):
    """A cluster for other jobs, as used by its setup task. It succeeds when the cluster is up."""

    def __init__(self, aws, **options):
        super().__init__(aws, [], **options)

    def backend(self, clients, ledger, identity):
        return SharedCluster(
            options=ClusterOptions(self.emr), clients=clients, ledger=ledger, identity=identity, used_by=["a"]
        )

    def finish(self, ledger, outcome):
        """Do nothing: a cluster has no marker."""


class JobRunJob(Job):
    """A job run of a shell script on EMR Serverless (`emr_serverless`) or EMR on EKS (`emr_eks`)."""

    def __init__(self, aws, on, spark, *, explicit_success=False, **options):
        super().__init__(aws, [], **options)
        self.explicit_success = explicit_success
        self.on, self.spark, self.size = on, Spark.model_validate(spark), 1

    def backend(self, clients, ledger, identity):
        target = job_run_target(self.on)
        return JobRunBackend(
            target=target,
            spark=self.spark,
            clients=clients,
            ledger=ledger,
            identity=identity,
            environment={"A": "1"},
            explicit_success=self.explicit_success,
        )


def existing_cluster(aws, **options):
    """Start a cluster that is not the job's. Returns its id."""
    return aws.client("emr").run_job_flow(
        Name="theirs",
        ReleaseLabel="emr-7.5.0",
        Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
        ServiceRole="EMR_DefaultRole",
        JobFlowRole="EMR_EC2_DefaultRole",
        **options,
    )["JobFlowId"]


def lose_master(aws):
    """Fail the master instance of every active cluster."""
    clusters = aws.clusters
    with clusters.lock:
        for cluster in clusters.clusters.values():
            reason = f"On the master instance ({cluster.master}), the instance was terminated"
            clusters._terminate(cluster, "TERMINATED_WITH_ERRORS", "INSTANCE_FAILURE", reason)


def killed_at(job, when, number, *, least=9):
    """Run a try that is killed at a call. It may end before that call, but not before `least` calls."""
    calls = KilledAt(when, number)
    try:
        job.try_(calls)
    except KilledError:
        return
    assert calls.number >= least, "the try made too few calls"


def eventually(happened, seconds=120):
    """Wait until a condition holds, and fail if it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)
