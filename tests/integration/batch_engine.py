"""Batch jobs without Airflow: consecutive or concurrent tries of a job, against the local AWS."""

from __future__ import annotations

import time
from dataclasses import replace

import boto3

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.backend import BatchBackend
from airflow_batchemr.aws.batch.options import batch_options
from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import NewSubmission
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.loop import Engine
from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.engine.single_work import SingleWork
from airflow_batchemr.ledger import Ledger, Marker

#: Pauses are as short as the local AWS is fast.
POLICY = Policy(search_pause=0.05)


class KilledError(BaseException):
    """The process was killed: it executes nothing more."""


class Killer:
    """Counts the calls to AWS and kills the process at one of them."""

    def __init__(self, at=None, *, after=False):
        self.at, self.after = at, after
        self.calls = []

    def around(self, name, call):
        if self.at is not None and len(self.calls) > self.at:
            raise KilledError  # a dead process makes no calls, whatever its exception handlers do
        self.calls.append(name)
        mine = len(self.calls) - 1 == self.at
        if mine and not self.after:
            raise KilledError
        answer = call()
        if mine:
            raise KilledError
        return answer


class Watched:
    """A boto3 client that reports its calls to a killer."""

    def __init__(self, client, killer):
        self._client, self._killer = client, killer

    def __getattr__(self, name):
        value = getattr(self._client, name)
        if not callable(value) or name in {"get_paginator", "exceptions", "meta"}:
            return value
        return lambda *args, **kwargs: self._killer.around(name, lambda: value(*args, **kwargs))


def clients(killer=None):
    """Clients of the local AWS; the endpoint is in the environment."""
    session = boto3.Session()
    if killer is None:
        return Clients(lambda service, config: session.client(service, config=config))
    return Clients(lambda service, config: Watched(session.client(service, config=config), killer))


class Job:
    """A job of a run. Each `try_` is an Airflow try that may die at any call."""

    def __init__(
        self, state, command, size, *, in_job=False, name="job", after=None, waits_for_children=False, **options
    ):
        self.waits_for_children = waits_for_children
        self.after = after
        self.state, self.size, self.in_job = state, size, in_job
        self.options = batch_options({"queue": "default", "image": "busybox", "command": command, **options})
        self.identity = JobIdentity(state, "dag", "2026-11-20T000000Z", name, "manual", name)

    def ledger(self, through=None):
        identity = self.identity
        return Ledger((through or clients()).s3, identity.state).job(identity.dag_id, identity.run_key, identity.job)

    def backend(self, through=None, *, rerun_token=None, try_number=1):
        through = through or clients()
        return BatchBackend(
            options=self.options,
            size=self.size,
            clients=through,
            ledger=self.ledger(through),
            identity=replace(self.identity, try_number=try_number),
            rerun_token=rerun_token,
            in_job=self.in_job,
            index_of=None if self.after is None else self.after.identity.job,
            wait_for_children=self.waits_for_children,
        )

    def engine(self, killer=None, *, rerun_token=None, try_number=1):
        """The engine of one try."""
        through = clients(killer)
        backend = self.backend(through, rerun_token=rerun_token, try_number=try_number)
        remote = AnyRemoteWork(through, backend.ledger, backend.identity)
        return Engine(backend, remote, backend.ledger, backend.identity, POLICY)

    def step(self, killer=None, *, prior_submissions=None, rerun_token=None, try_number=1, missing=()):
        """Run one pass of the engine, as a worker does before it defers. Returns None if the job has its marker."""
        engine = self.engine(killer, rerun_token=rerun_token, try_number=try_number)
        state = engine.ledger.read()
        if state.marker is not None:
            return None
        token = rerun_token if rerun_token is not None else state.rerun_token
        outcome = engine.run(state, token, prior_submissions, missing)
        if outcome.action == "succeed":
            last = max(outcome.state.numbers)
            engine.ledger.mark(Marker(submission=last, size=self.size, rerun_token=outcome.state.rerun_token))
            return None
        return outcome

    def try_(self, killer=None, *, prior_submissions=None, rerun_token=None, try_number=1, missing=()):
        """Run passes until the job is done or has failed. Returns the failed outcome, or None with the marker."""
        while True:
            step = self.step(
                killer,
                prior_submissions=prior_submissions,
                rerun_token=rerun_token,
                try_number=try_number,
                missing=missing,
            )
            if step is None or step.action == "fail":
                return step
            prior_submissions = step.prior_submissions
            time.sleep(0.05)


class Prepared(SingleWork):
    """A backend that submits prepared requests."""

    def __init__(self, clients, requests):
        self.clients, self.prepared = clients, requests

    def units(self, state):
        return IndexSet.union(request.indices for request in self.prepared)

    def done(self, state):
        return IndexSet()

    def new_submission(self, plan, state):
        return NewSubmission("batch", self.prepared)

    def start(self, request, sleep):
        return jobs.submit_request(self.clients, request, sleep=sleep)

    def stays(self, submission):
        return False


def submit(clients, ledger, identity, requests):
    """Claim and submit requests as the next submission of a job."""
    engine = Engine(Prepared(clients, requests), AnyRemoteWork(clients, ledger, identity), ledger, identity, POLICY)
    state = ledger.read()
    prior_submissions = {submission.number for submission in state.submissions}
    return engine.run(state, state.rerun_token, prior_submissions).waits[-1]


def eventually(happened, seconds=120):
    """Wait until a condition holds, and fail if it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)
