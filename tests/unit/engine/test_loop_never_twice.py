"""Any sequence of failures, kills, races and retries ends with every index done exactly once.

Actors are threads that run one after the other: each stops before and after every call that has an effect, and
hypothesis says who goes on, who is killed there, when the clock moves, and how the children end.
"""

from __future__ import annotations

import threading
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import SubmissionPlan, closed, decide
from airflow_batchemr.ledger import CLAIM_LEASE, Failure, Handle, HandleJob, Intent, Ledger, Marker, Request, Result
from airflow_batchemr.ledger import job as job_module

SIZE = 7
CALL_TIME = 10.0


class KilledError(BaseException):
    """The worker is gone between two machine instructions."""


class Baton:
    """Lets one actor run at a time, from one call with an effect to the next."""

    def __init__(self):
        self.go = threading.Event()
        self.stopped = threading.Event()
        self.kill = False
        self.over = False

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
    """S3, Batch, the clock, and the actors of one run."""

    def __init__(self, s3, monkeypatch):
        self.s3 = s3
        self.here = threading.local()
        self.jobs = {}  # id -> {name, indices, succeeded, failed, ended}
        self.succeeded = Counter()
        self.batons = []
        for name in ("put_object", "delete_object"):
            setattr(s3, name, self.interruptible(getattr(s3, name)))
        monkeypatch.setattr(job_module, "_boottime", self.boottime)

    def boottime(self):
        return self.s3.clock.timestamp()

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

    def submit(self, name, indices):
        """SubmitJob: the effect is there even if the answer is not."""
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = {"name": name, "indices": indices, "succeeded": set(), "failed": {}, "ended": False}
        self.pause()
        return job_id

    def pause(self):
        baton = getattr(self.here, "baton", None)
        if baton is not None:
            baton.pause()

    def find(self, name):
        return next((job_id for job_id, job in self.jobs.items() if job["name"] == name), None)

    def terminate(self, job_id):
        self.jobs[job_id]["ended"] = True

    def child(self, job_id, index, good, cause=None):
        """One child ends."""
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

    def start(self, rerun_token=None):
        """Begin one try of the task in a thread that waits for its first turn."""
        baton = Baton()

        def run():
            self.here.baton = baton
            try:
                baton.pause()
                Try(self, rerun_token).run()
            except KilledError:
                pass
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
    """What an operator does in one try, call by call."""

    def __init__(self, world, rerun_token=None):
        self.world = world
        self.rerun_token = rerun_token
        self.job = Ledger(world.s3, "s3://data/_batchemr").job("d", "r", "j")

    def run(self):
        state = self.job.read()
        before = closed(state)
        while True:
            for stale in state.stale_submissions:
                self.stop(stale)
            if self.rerun_token and state.rerun_token != self.rerun_token:
                self.claim(SubmissionPlan(state.next_number, IndexSet.range(SIZE)), self.rerun_token)
            else:
                decision = decide(state, SIZE, before=before, memory_sizes=2)
                if decision.action == "mark":
                    last = max(state.numbers)
                    return state.marker or self.job.mark(
                        Marker(submission=last, size=SIZE, rerun_token=state.rerun_token)
                    )
                if decision.action == "fail":
                    return decision
                if decision.action == "claim":
                    self.claim(decision.claims[0], state.rerun_token)
                else:
                    self.wait(state, decision.waits[0])
            state = self.job.read()

    def claim(self, plan, rerun_token):
        requests = [
            Request(name=f"j-{plan.number}-{place}", indices=indices, request={})
            for place, indices in enumerate(plan.indices.chunks(3))
        ]
        intent = Intent(
            kind="batch", name=f"j-{plan.number}", requests=requests, indices=plan.indices, rerun_token=rerun_token,
            dag_id="d", run_key="r", job="j",
        )  # fmt: skip
        if not self.job.claim(plan.number, intent):
            return
        jobs = []
        for request in requests:
            if self.job.lease_left(plan.number) <= CALL_TIME:
                break
            job_id = self.world.submit(request.name, request.indices)
            jobs.append(HandleJob(job_id=job_id, name=request.name, indices=request.indices))
        standing = self.job.record_handle(plan.number, Handle(kind="batch", jobs=jobs, abandoned=not jobs))
        for job in jobs:
            if job not in standing.jobs:
                self.world.terminate(job.job_id)

    def adopt(self, state, submission):
        """Give the handle of an open attempt; None: its owner may still be about to call."""
        if submission.handle is not None:
            return submission.handle
        found = [
            HandleJob(job_id=job_id, name=request.name, indices=request.indices)
            for request in submission.intent.requests
            if (job_id := self.world.find(request.name)) is not None
        ]
        if len(found) < len(submission.intent.requests) and not state.lease_ended(submission):
            return None
        if not found:
            return self.job.abandon(submission, "batch")
        return self.job.record_handle(submission.number, Handle(kind="batch", jobs=found))

    def wait(self, state, submission):
        handle = self.adopt(state, submission)
        if handle is None or not all(self.world.jobs[job.job_id]["ended"] for job in handle.jobs):
            return self.world.pause()
        return self.record(submission, handle, "failed")

    def stop(self, submission):
        """Before a rerun: what still runs is ended."""
        state = self.job.read()
        handle = self.adopt(state, submission)
        if handle is None:
            return self.world.pause()
        for job in handle.jobs:
            self.world.terminate(job.job_id)
        return self.record(submission, handle, "stopped")

    def record(self, submission, handle, outcome):
        if handle.abandoned:
            return self.job.abandon(submission, "batch")
        jobs = [self.world.jobs[job.job_id] for job in handle.jobs]
        succeeded = IndexSet.of(index for job in jobs for index in job["succeeded"])
        failures = [
            Failure(index=index, reason="x", cause=cause) for job in jobs for index, cause in job["failed"].items()
        ]
        indices = IndexSet.of(index for job in jobs for index in job["indices"])
        if succeeded == indices:
            outcome = "succeeded"
        return self.job.record_result(
            submission.number,
            Result(
                kind="batch", outcome=outcome, indices=indices, succeeded=succeeded, rerun_token=submission.rerun_token,
                failures=failures,
            ),
        )  # fmt: skip


@pytest.fixture
def new_world(new_s3, monkeypatch):
    return lambda: World(new_s3(), monkeypatch)


def finish(world, rerun_token=None):
    """Nothing fails any more: one try after the other until the job is marked."""
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
        if Try(world).job.read().marker is not None:
            return
    raise AssertionError("the job never ended")


# A seed and a length, and not a list of choices: what goes wrong takes dozens of steps, which lists seldom have
CHOICES = st.builds(
    lambda seed, length: [
        (random.choice(MOVES), random.randrange(100)) for random in [Random(seed)] for _ in range(length)
    ],
    st.integers(0, 2**32),
    st.integers(0, 250),
)
MOVES = ["go"] * 30 + ["child"] * 6 + ["kill", "start", "start", "tick", "tick", "long"]


def play(world, choices, rerun_token=None):
    for what, which in choices:
        alive = world.alive()
        if what == "start" and len(alive) < 3:
            world.start(rerun_token)
        elif what in ("go", "kill") and alive:
            alive[which % len(alive)].step(kill=what == "kill")
        elif what == "child" and (children := world.children()):
            job_id, index = children[which % len(children)]
            world.child(job_id, index, good=which % 4 > 0, cause="oom" if which % 8 == 0 else None)
        elif what == "tick":
            world.s3.tick(3)
        elif what == "long":
            world.s3.tick(CLAIM_LEASE)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=CHOICES)
def test_every_index_is_done_once(new_world, choices):
    """Whoever is killed wherever, and however the children end."""
    world = new_world()
    try:
        world.start()
        play(world, choices)
    finally:
        world.end()
    finish(world)
    assert dict.fromkeys(range(SIZE), 1) == world.succeeded
    assert world.children() == []


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=CHOICES, again=CHOICES)
def test_a_rerun_does_every_index_once_more(new_world, first, again):
    """Also where the rerun is killed and retried, and the first run was."""
    world = new_world()
    try:
        world.start()
        play(world, first)
    finally:
        world.end()
    finish(world)
    world.succeeded.clear()
    try:
        play(world, again, rerun_token="again")
    finally:
        world.end()
    finish(world, rerun_token="again")
    assert dict.fromkeys(range(SIZE), 1) == world.succeeded
    assert Try(world).job.read().marker.rerun_token == "again"
