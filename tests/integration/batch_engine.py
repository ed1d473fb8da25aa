"""Batch jobs without Airflow: tries of a job, one after another or at once, against the local AWS."""

from __future__ import annotations

import time
from dataclasses import replace

import boto3

from airflow_batchemr.aws.batch.advance import Advance
from airflow_batchemr.aws.batch.definitions import ensure_definition
from airflow_batchemr.aws.batch.depend import parts_after
from airflow_batchemr.aws.batch.requests import submission_requests
from airflow_batchemr.aws.batch.submissions import BatchSubmissions, done_folder
from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger import Ledger, Marker
from airflow_batchemr.pipeline_file.models import Batch


class KilledError(BaseException):
    """The process is gone: nothing after this runs."""


class Killer:
    """Counts the calls to AWS, and kills at one of them."""

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
    """A boto3 client whose calls go past a killer."""

    def __init__(self, client, killer):
        self._client, self._killer = client, killer

    def __getattr__(self, name):
        value = getattr(self._client, name)
        if not callable(value) or name in {"get_paginator", "exceptions", "meta"}:
            return value
        return lambda *args, **kwargs: self._killer.around(name, lambda: value(*args, **kwargs))


def clients(killer=None):
    """Clients of the local AWS, whose address is in the environment."""
    session = boto3.Session()
    if killer is None:
        return Clients(lambda service, config: session.client(service, config=config))
    return Clients(lambda service, config: Watched(session.client(service, config=config), killer))


class Job:
    """One job of a run; each `attempt` of it is a try of Airflow's that may die at any call."""

    def __init__(
        self, state, command, size, *, in_job=False, name="job", after=None, waits_for_children=False, **options
    ):
        self.waits_for_children = waits_for_children
        self.after = after
        self.state, self.size, self.in_job = state, size, in_job
        self.options = Batch.model_validate({"queue": "default", "image": "busybox", "command": command, **options})
        self.identity = JobIdentity(state, "dag", "2026-11-20T000000Z", name, "manual", name)

    def ledger(self, through=None):
        identity = self.identity
        return Ledger((through or clients()).s3, identity.state).job(identity.dag_id, identity.run_key, identity.job)

    def submissions(self, through=None, try_number=1):
        through = through or clients()
        return BatchSubmissions(
            through,
            self.ledger(through),
            replace(self.identity, try_number=try_number),
            in_job=self.in_job,
            dependent=self.after is not None,
            waits_for_children=self.waits_for_children,
        )

    def requests(self, through, ledger, identity, plan, rerun_token):
        after = None if self.after is None else parts_after(self.after.ledger().read(), plan.indices)
        if after == []:
            return []
        return submission_requests(
            self.options,
            ensure_definition(through, self.options),
            identity,
            plan.number,
            plan.indices,
            size=self.size,
            memory=self.options.memory[plan.memory_step] if self.options.memory else None,
            after=after,
            done_uri=ledger.document_uri(done_folder(rerun_token)) if self.in_job else None,
        )

    def step(self, killer=None, *, before=None, rerun_token=None, try_number=1):
        """Bring the job forward once, as a worker does before it defers."""
        through = clients(killer)
        ledger = self.ledger(through)
        identity = replace(self.identity, try_number=try_number)
        advance = Advance(
            self.submissions(through, try_number),
            ledger,
            self.size,
            lambda plan: self.requests(through, ledger, identity, plan, rerun_token),
            memory_sizes=max(1, len(self.options.memory or [])),
        )
        state = ledger.read()
        if state.marker is not None:
            return None
        step = advance.run(state, rerun_token if rerun_token is not None else state.rerun_token, before)
        if step.action == "mark":
            ledger.mark(Marker(submission=max(step.state.numbers), size=self.size, rerun_token=step.state.rerun_token))
            return None
        return step

    def try_(self, killer=None, *, before=None, rerun_token=None, try_number=1):
        """A whole try: steps and waits until it is done or failed. Gives the failed step, or None when marked."""
        while True:
            step = self.step(killer, before=before, rerun_token=rerun_token, try_number=try_number)
            if step is None or step.action == "fail":
                return step
            before = step.before
            time.sleep(0.05)


def eventually(happened, seconds=120):
    """Wait until something has happened; fails if it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
