"""The engine runs every index exactly once, despite failures, races, hangs and kills.

Actors are threads that run one at a time: each pauses before and after every call with an effect, and Hypothesis
chooses which actor continues or is killed, when the clock moves, which call fails, and how the children end. An
actor that is not chosen hangs, and may continue long after its successors have finished.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batchemr.aws.batch.array_work import ArrayWork
from airflow_batchemr.core.errors import Throttled, Unknown
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import Ending, Found, NewSubmission, Observation
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.loop import Engine, StoppedError, SupersededError
from airflow_batchemr.ledger import (
    CLAIM_LEASE,
    Failure,
    Handle,
    HandleJob,
    Ledger,
    Marker,
    Request,
    Result,
    StopRequest,
)
from airflow_batchemr.ledger import job as job_module

SIZE = 7
STATE = "s3://data/_batchemr"
#: Seconds after which a call that has not reached AWS fails; less than `Policy.call_margin`.
CALL_TIME = 10
#: Seconds until a list shows new work; `CALL_TIME` + `LIST_LAG` is within the margin.
LIST_LAG = 4
#: Seconds for which describe calls do not show a job; less than `Policy.visibility_grace`.
HIDDEN = 30


class KilledError(BaseException):
    """The worker was killed."""


class Baton:
    """Lets one actor run at a time, from one call with an effect to the next."""

    def __init__(self):
        self.go = threading.Event()
        self.stopped = threading.Event()
        self.kill = False
        self.over = False
        self.signaled = False  # SIGTERM

    def pause(self):
        self.stopped.set()
        self.go.wait()
        self.go.clear()
        if self.kill:
            raise KilledError

    def step(self, kill=False):
        self.kill = kill
        self.stopped.clear()
        self.go.set()
        self.stopped.wait()


class World:
    """S3, Batch, the clock and the actors of a run."""

    def __init__(self, s3, monkeypatch):
        self.s3 = s3
        self.here = threading.local()
        self.jobs = {}  # id -> {name, indices, succeeded, failed, ended, listed, described}
        self.succeeded = Counter()
        self.batons = []
        self.errors = []  # errors that no try may raise
        self.fault = None  # of the next call: throttled, dropped before its effect, or its response lost
        for name in ("put_object", "delete_object"):
            setattr(s3, name, self.interruptible(getattr(s3, name)))
        monkeypatch.setattr(job_module, "_boottime", self.boottime)

    def boottime(self):
        return self.s3.clock.timestamp()

    def later(self, seconds):
        return self.s3.clock + timedelta(seconds=seconds)

    def interruptible(self, call):
        def stop_before_and_after(**arguments):
            baton = getattr(self.here, "baton", None)
            if baton is None:
                return call(**arguments)
            baton.pause()
            try:
                return call(**arguments)
            finally:
                baton.pause()

        return stop_before_and_after

    def pause(self, _seconds=0):
        baton = getattr(self.here, "baton", None)
        if baton is not None:
            baton.pause()

    def submit(self, name, indices):
        """SubmitJob: it may take effect late, or take effect without a response."""
        deadline = self.later(CALL_TIME)
        self.pause()
        fault, self.fault = self.fault, None
        if self.s3.clock > deadline or fault == "drop":
            raise Unknown("no answer")
        if fault == "throttle":
            raise Throttled("too many requests")
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = {
            "name": name, "indices": indices, "succeeded": set(), "failed": {}, "ended": False,
            "listed": self.later(LIST_LAG), "described": self.s3.clock,
        }  # fmt: skip
        self.pause()
        if fault == "lose":
            raise Unknown("no answer")
        return job_id

    def find(self, name):
        """ListJobs by name."""
        found = (id_ for id_, job in self.jobs.items() if job["name"] == name and job["listed"] <= self.s3.clock)
        return next(found, None)

    def describe(self, ids):
        """DescribeJobs."""
        return {id_: self.snapshot(id_) for id_ in ids if self.jobs[id_]["described"] <= self.s3.clock}

    def snapshot(self, job_id):
        job = self.jobs[job_id]
        return {**job, "succeeded": set(job["succeeded"]), "failed": dict(job["failed"])}

    def hide(self, job_id):
        """Make DescribeJobs omit the job for a while."""
        self.jobs[job_id]["described"] = self.later(HIDDEN)

    def terminate(self, job_id):
        self.jobs[job_id]["ended"] = True

    def child(self, job_id, index, good, cause=None):
        """End a child."""
        job = self.jobs[job_id]
        if good:
            job["succeeded"].add(index)
            self.succeeded[index] += 1
        else:
            job["failed"][index] = cause
        job["ended"] = len(job["succeeded"]) + len(job["failed"]) == len(job["indices"])

    def children(self):
        return [
            (job_id, index)
            for job_id, job in self.jobs.items()
            if not job["ended"]
            for index in job["indices"]
            if index not in job["succeeded"] and index not in job["failed"]
        ]

    def ledger(self):
        return Ledger(self.s3, STATE).job("d", "r", "j")

    def request_stop(self, which):
        """Record a stop request for an open submission without carrying it out."""
        open_ = [one for one in self.ledger().read().submissions if one.open]
        if open_:
            self.ledger().request_stop(open_[which % len(open_)].number, StopRequest(reason="x", by="person"))

    def start(self, rerun_token=None):
        """Start a try of the task in a thread that waits for its first turn."""
        baton = Baton()
        number = len(self.batons) + 1

        def run():
            self.here.baton = baton
            try:
                baton.pause()
                Try(self, baton, number, rerun_token).run()
            except (KilledError, StoppedError, SupersededError):
                pass
            except Exception as error:
                self.errors.append(error)
                raise
            finally:
                baton.over = True
                baton.stopped.set()

        threading.Thread(target=run, daemon=True).start()
        baton.stopped.wait()
        self.batons.append(baton)
        return baton

    def alive(self):
        return [baton for baton in self.batons if not baton.over]

    def end(self):
        for baton in self.alive():
            while not baton.over:
                baton.step(kill=True)


class Try:
    """An operator and its trigger in one try: passes of the engine until it ends. Also the remote work and backend."""

    def __init__(self, world, baton, number, rerun_token):
        self.world, self.baton, self.rerun_token = world, baton, rerun_token
        self.ledger = world.ledger()
        self.identity = JobIdentity(STATE, "d", "r", "j", "run", "task", try_number=number)
        self.began = world.s3.clock
        self.work = ArrayWork(SIZE, memory_sizes=2)

    def run(self):
        prior_submissions = None
        while True:
            state = self.ledger.read()
            if state.marker is not None and self.rerun_token in (None, state.marker.rerun_token):
                return
            token = self.rerun_token if self.rerun_token is not None else state.rerun_token
            engine = Engine(
                self, self, self.ledger, self.identity,
                began=self.began, sleep=self.world.pause, stopping=lambda: self.baton.signaled,
            )  # fmt: skip
            outcome = engine.run(state, token, prior_submissions)
            if outcome.action == "succeed":
                last = max(outcome.state.numbers)
                self.ledger.mark(Marker(submission=last, size=SIZE, rerun_token=outcome.state.rerun_token))
            if outcome.action != "wait":
                return
            prior_submissions = outcome.prior_submissions
            self.world.pause()

    # Backend

    def units(self, state):
        return self.work.units(state)

    def done(self, state):
        return self.work.done(state)

    def retryable_units(self, state, failed):
        return self.work.retryable_units(state, failed)

    def plans(self, state, left, **arguments):
        return self.work.plans(state, left, **arguments)

    def new_submission(self, plan, state):
        name = self.identity.submission_name(plan.number)
        chunks = enumerate(plan.indices.chunks(3))
        return NewSubmission("batch", [Request(name=f"{name}-{i}", indices=one, request={}) for i, one in chunks])

    def start(self, request, sleep):
        job_id = self.world.submit(request.name, request.indices)
        return Handle(kind="batch", jobs=[HandleJob(job_id=job_id, name=request.name, indices=request.indices)])

    def stays(self, submission):
        return False

    # Remote work

    def find(self, submission):
        requests = submission.intent.requests
        jobs = [
            HandleJob(job_id=job_id, name=request.name, indices=request.indices)
            for request in requests
            if (job_id := self.world.find(request.name)) is not None
        ]
        return Found(Handle(kind="batch", jobs=jobs), complete=len(jobs) == len(requests)) if jobs else None

    def observe(self, submission):
        ids = [job.job_id for job in submission.handle.jobs]
        seen = self.world.describe(ids)
        if any(not job["ended"] for job in seen.values()):
            return Observation("running")
        return Observation("ended" if len(seen) == len(ids) else "not_visible", answer=list(seen.values()))

    def result(self, submission, observation):
        jobs = observation.answer
        succeeded = IndexSet.of(index for job in jobs for index in job["succeeded"])
        failures = [
            Failure(index=index, reason="x", cause=cause) for job in jobs for index, cause in job["failed"].items()
        ]
        indices = IndexSet.union(job["indices"] for job in jobs)
        cut = len(succeeded) + len(failures) < len(indices)
        outcome = "succeeded" if succeeded == indices else "stopped" if cut else "failed"
        return Ending(
            Result(
                kind="batch", outcome=outcome, indices=indices, succeeded=succeeded,
                rerun_token=submission.rerun_token, failures=failures,
            )
        )  # fmt: skip

    def close(self, submission, observation):
        pass

    def terminate(self, submission, reason):
        if submission.handle is not None:
            ids = [job.job_id for job in submission.handle.jobs]
        else:
            ids = [self.world.find(request.name) for request in submission.intent.requests]
        for job_id in filter(None, ids):
            self.world.terminate(job_id)
            self.world.pause()

    def terminate_started(self, parents):
        raise AssertionError("terminate gives none")


@pytest.fixture
def new_world(new_s3, monkeypatch):
    return lambda: World(new_s3(), monkeypatch)


def finish(world, rerun_token=None):
    """Run tries without faults until the job is marked."""
    world.fault = None
    for _ in range(20):
        world.s3.tick(CLAIM_LEASE + 5)
        baton = world.start(rerun_token)
        for _ in range(500):
            if baton.over:
                break
            baton.step()
            world.s3.tick(1)
            for job_id, index in world.children():
                world.child(job_id, index, good=True)
        assert baton.over
        marker = world.ledger().read().marker
        if marker is not None and rerun_token in (None, marker.rerun_token):
            return
    raise AssertionError("the job never ended")


# A seed and a length instead of a list of choices: faults need dozens of steps, which generated lists seldom have
CHOICES = st.builds(
    lambda seed, length: [
        (random.choice(MOVES), random.randrange(100)) for random in [Random(seed)] for _ in range(length)
    ],
    st.integers(0, 2**32),
    st.integers(0, 250),
)
FAULTS = ["throttle", "drop", "lose"]
MOVES = (
    ["go"] * 30 + ["child"] * 6 + ["kill", "start", "start", "tick", "tick", "long", "fault", "hide", "stop", "term"]
)


def play(world, choices, rerun_token=None, hung=()):
    for what, which in choices:
        alive = world.alive()
        if what == "start" and len(alive) < 3 + len(hung):
            world.start(rerun_token)
        elif what in ("go", "kill") and alive:
            alive[which % len(alive)].step(kill=what == "kill")
        elif what == "term" and alive:
            alive[which % len(alive)].signaled = True
        elif what == "child" and (children := world.children()):
            job_id, index = children[which % len(children)]
            world.child(job_id, index, good=which % 4 > 0, cause="oom" if which % 8 == 0 else None)
        elif what == "tick":
            world.s3.tick(3)
        elif what == "long":
            world.s3.tick(CLAIM_LEASE)
        elif what == "fault":
            world.fault = FAULTS[which % len(FAULTS)]
        elif what == "hide" and world.jobs:
            world.hide(list(world.jobs)[which % len(world.jobs)])
        elif what == "stop":
            world.request_stop(which)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=CHOICES)
def test_every_index_succeeds_once(new_world, choices):
    """Wherever tries are killed, hang or are superseded, and however the children end."""
    world = new_world()
    try:
        world.start()
        play(world, choices)
    finally:
        world.end()
    finish(world)
    assert [] == world.errors
    assert dict.fromkeys(range(SIZE), 1) == world.succeeded
    assert world.children() == []


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=CHOICES, again=CHOICES)
def test_a_rerun_runs_every_index_once_more(new_world, first, again):
    """Even if tries of the first run hang, and continue during the rerun."""
    world = new_world()
    try:
        world.start()
        play(world, first)
        finish(world)
        world.succeeded.clear()
        play(world, again, rerun_token="again", hung=world.alive())
    finally:
        world.end()
    finish(world, rerun_token="again")
    assert [] == world.errors
    assert dict.fromkeys(range(SIZE), 1) == world.succeeded
    assert world.ledger().read().marker.rerun_token == "again"
