"""A newer run and a deadline end a task for good, also if its worker dies. A clear runs the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.submissions import conclude, stop
from airflow_batchemr.ledger import Ledger, StopRequest
from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.limits import NEWER_RUN, Limits
from tests.integration.scenarios.backends import BatchSingle, OwnCluster, Serverless
from tests.integration.scenarios.faults import Fault, Point
from tests.integration.scenarios.scenario import Run

KEY = "2026-11-20T000000Z"


class NewerRun:
    """A newer run of the pipeline, which stops the work of the run."""

    def __init__(self, run, state):
        clients = boto3_clients()
        self.run = run
        self.ledger = Ledger(clients.s3, state).job("dag", KEY, "work")
        self.remote = AnyRemoteWork(clients, self.ledger, JobIdentity(state, "dag", KEY, "work", "newer", "work"))

    def stop(self):
        open_ = self.ledger.read().open_submissions
        stop(self.ledger, self.remote, open_, "a newer run of the pipeline has started", by=NEWER_RUN)

    def conclude(self):
        """Record the end of the work, as a worker of the run does before it dies."""
        for submission in self.ledger.read().open_submissions:
            ended = None
            while ended is None or ended.status == "running":
                ended = self.remote.observe(submission)
            conclude(self.ledger, self.remote, submission, ended)


@pytest.mark.parametrize("concluded", [False, True], ids=["open", "concluded"])
@pytest.mark.parametrize("kind", [BatchSingle, OwnCluster, Serverless])
def test_a_crash_does_not_undo_the_stop_by_a_newer_run(world, make_backend, state, kind, concluded):
    """The worker dies as soon as it is resumed, or after it has recorded the end of the work."""
    backend = make_backend(kind)
    backend.hold()
    run = Run(world, backend, watch=False)
    run.work.begin()
    backend.begun()
    newer = NewerRun(run, state)
    newer.stop()
    assert [] == run.alive()
    if concluded:
        newer.conclude()
    backend.release()
    run.work.try_number = 2
    outcome = run.work.run()
    assert "failed" == outcome.state
    assert "Stopped: a newer run of the pipeline has started. Clear the task to run what is left" == outcome.message
    assert 1 == world.count(backend.start)
    run.work.clear()
    run.check(run.work.run())


class Short(BatchSingle):
    """A Batch job with a deadline of five minutes."""

    def _operator(self):
        command = ["sh", "-c", self.script('"$AWS_BATCH_JOB_ARRAY_INDEX"')]
        return BatchArrayOperator(
            **self.arguments(task_id="work"), queue="default", image="busybox", command=command, deadline="5m"
        )


@pytest.mark.parametrize("ahead", [0, 5])
@pytest.mark.parametrize("fault", [
    Fault(Point("PutObject", 6), "kill_before"),
    Fault(Point("PutObject", 6), "kill_after"),
    Fault(Point("TerminateJob"), "kill_after"),
], ids=["before the stop request", "stop requested", "terminated"])  # fmt: skip
def test_nothing_starts_after_the_deadline(world, make_backend, fault, ahead):
    """The worker dies while it stops the work. The clock of the next worker may be behind that of the triggerer."""
    backend = make_backend(Short)
    backend.hold()
    world.faults = [replace(fault)]
    run = Run(world, backend, watch=False)
    assert "killed" == run.work.one_try().state
    world.clock.skip(-ahead)
    run.work.try_number = 2
    outcome = run.work.run()
    assert "The deadline of 300 s from the first submission has passed" in outcome.message
    assert 1 == world.count("SubmitJob")
    assert [] == run.alive()
    backend.release()
    run.check(run.run_again())


def test_a_job_that_ended_before_its_deadline_succeeds_after_it(world, make_backend):
    """The worker died before it recorded the success."""
    backend = make_backend(Short)
    run = Run(world, backend)
    run.work.begin()
    run.settle()
    world.clock.skip(1000)
    run.work.try_number = 2
    run.check(run.work.run())
    assert 1 == world.count("SubmitJob")


def test_a_stop_from_before_the_run_was_cleared_does_not_count():
    """Airflow changes the start of a finished run when a user clears it."""
    now = datetime.now(timezone.utc)
    request = StopRequest(reason="newer", by=NEWER_RUN, written_at=now)
    submission = SimpleNamespace(number=1, open=True, stop=request)
    state = SimpleNamespace(current=[submission], numbers=[1])
    who = JobIdentity("s3://b", "dag", KEY, "work", "run", "work")

    def end(run_began):
        limits = Limits(SimpleNamespace(), who, None, None, run_began=run_began, try_began=None)
        return limits.end(None, state)

    assert NEWER_RUN == end(now - timedelta(seconds=1)).by
    assert end(now + timedelta(seconds=1)) is None
