"""The forecast makes the same claims as the engine, for random ledgers."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batchemr.aws.batch.backend import BatchBackend
from airflow_batchemr.aws.batch.options import batch_options
from airflow_batchemr.aws.emr.existing_cluster import ExistingCluster
from airflow_batchemr.aws.emr.job_steps import job_steps
from airflow_batchemr.aws.emr.options import cluster_options, step_options
from airflow_batchemr.aws.emr.own_cluster import OwnCluster
from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import Ending, Found, Observation
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.loop import Engine
from airflow_batchemr.forecast.engine import forecast
from airflow_batchemr.forecast.ledger import ForecastLedger
from airflow_batchemr.ledger import Handle, HandleJob, Ledger, Marker, Request, Result, StopRequest
from tests.unit.conftest import MemoryS3

STATE = "s3://data/state"
IDENTITY = JobIdentity(STATE, "dag", "2026-11-20T000000Z", "job", "run", "job")
UNITS = 5
STEPS = [{"copy": {"source": "s3://a/", "destination": "hdfs:///a"}}, *({"command": [name]} for name in "xyz"),
         {"copy": {"source": "hdfs:///b", "destination": "s3://b/"}}]  # fmt: skip


@dataclass
class Truth:
    """State on AWS of a submission that is open in the ledger."""

    found: bool
    status: str
    idle: bool
    result: dict


@dataclass
class Remote:
    """Submissions on AWS, and the calls that changed them."""

    kind: str
    truths: dict
    touched: list = field(default_factory=list)

    def find(self, submission):
        twins = [Handle(kind="emr", cluster_id="j-second")] if submission.kind == "emr" else []
        return Found(handle_of(submission.intent), twins=twins) if self.truths[submission.number].found else None

    def observe(self, submission):
        truth = self.truths[submission.number]
        return Observation(truth.status, idle=truth.status == "running" and truth.idle)

    def result(self, submission, observation):
        return Ending(result_of(submission.intent, **self.truths[submission.number].result))

    def close(self, submission, observation):
        self.touched.append(("close", submission.number))

    def terminate(self, submission, reason):
        self.touched.append(("terminate", submission.number))

    def terminate_started(self, parents):
        self.touched.append(("terminate_started", len(parents)))


def handle_of(intent):
    if intent.kind == "batch":
        jobs = [
            HandleJob(job_id=request.name, name=request.name, indices=request.indices) for request in intent.requests
        ]
        return Handle(kind="batch", jobs=jobs)
    return Handle(kind=intent.kind, cluster_id=f"j-{intent.name}")


def result_of(intent, succeeded, outcome, memory):
    """The result of a submission. Steps are recorded by digest, indices by number."""
    done = IndexSet.of(succeeded) & intent.indices
    if outcome == "succeeded":
        done = intent.indices
    failed = intent.indices - done
    cause = "oom" if memory else "other"
    details = {"causes": {} if outcome == "stopped" or not failed else {cause: failed.text()}}
    if intent.kind != "batch":
        known = intent.details["steps"]
        details["digests"] = {number: step["digest"] for number, step in known.items() if int(number) in done}
    else:
        details["size"] = UNITS
    return Result(kind=intent.kind, outcome=outcome, indices=intent.indices, succeeded=done,
                  rerun_token=intent.rerun_token, details=details)  # fmt: skip


class Batch(BatchBackend):
    """A backend that does not look up queue and definition."""

    def definition(self):
        return {"jobDefinitionArn": "definition", "type": "container", "containerProperties": {"image": "a:1"}}

    def start(self, request, sleep):
        return Handle(kind="batch", jobs=[HandleJob(job_id="new", name=request.name, indices=request.indices)])


class Own(OwnCluster):
    """A backend that does not look up the release."""

    def prepare(self, request):
        pass

    def start(self, request, sleep):
        return Handle(kind="steps" if "JobFlowId" in request.request else "emr", cluster_id="j-new")


class Existing(ExistingCluster):
    """A backend whose cluster is up."""

    def find_cluster(self):
        return "j-existing", 1

    def start(self, request, sleep):
        return Handle(kind="steps", cluster_id="j-existing")


def batch(ledger, *, memory, preamble, token):
    options = batch_options({"queue": "q", "image": "a:1", "command": ["c"], "memory": memory, "preamble": preamble})
    return Batch.of(options, {"size": UNITS}, clients=None, ledger=ledger, identity=IDENTITY, rerun_token=token)


def steps_of():
    return job_steps(step_options(STEPS), clients=None, identity=IDENTITY, folder=Path())


def own(ledger, *, concurrency, resume):
    cluster = cluster_options({"type": "m5.xlarge", "instances": 2, "step_concurrency": concurrency,
                               "subnets": ["subnet-1", "subnet-2"]})  # fmt: skip
    return Own.of(cluster, steps_of(), tags={}, resume=resume, clients=None, ledger=ledger, identity=IDENTITY)


def existing(ledger, *, resume):
    return Existing.of(steps_of(), cluster=None, cluster_id="j-existing", cluster_name=None, resume=resume,
                       clients=None, ledger=ledger, identity=IDENTITY)  # fmt: skip


SETS = st.sets(st.integers(0, UNITS - 1), min_size=1)
ENDS = st.fixed_dictionaries({
    "succeeded": SETS,
    "outcome": st.sampled_from(["succeeded", "failed", "stopped", "lost", "abandoned"]),
    "memory": st.booleans(),
})  # fmt: skip
SUBMISSIONS = st.lists(st.fixed_dictionaries({
    "indices": SETS,
    "old": st.booleans(),
    "steps": st.booleans(),
    "handle": st.sampled_from(["none", "abandoned", "there", "there"]),
    "stop": st.booleans(),
    "token": st.sampled_from([None, None, None, "run#0"]),
    "result": st.one_of(st.none(), ENDS),
    "truth": st.builds(Truth, st.booleans(), st.sampled_from(["running", "ended", "not_visible"]), st.booleans(), ENDS),
}), max_size=4)  # fmt: skip
MARKERS = st.one_of(st.none(), st.none(), st.integers(0, 4))
TOKENS = st.sampled_from([None, None, "run#0", "run#1"])


def build(kind, submissions, marker, planned):
    """A ledger, and the state of its open submissions on AWS."""
    s3 = MemoryS3()
    ledger = Ledger(s3, STATE).job(IDENTITY.dag_id, IDENTITY.run_key, IDENTITY.job)
    truths = {}
    for number, one in enumerate(submissions, 1):
        indices = IndexSet.of(one["indices"])
        details = {"size": UNITS}
        of_kind = kind
        if kind == "emr":
            of_kind = "steps" if one["steps"] else "emr"
            known = {
                str(step.number): {"name": step.name, "digest": step.digest}
                for step in planned
                if step.number in indices
            }
            details = {"steps": known, "variant": 0, "cluster_id": "j-x"}
        request = Request(name=IDENTITY.submission_name(number), indices=indices, request={"jobQueue": "q"})
        intent = IDENTITY.intent(number, of_kind, [request], indices, rerun_token=one["token"], details=details)
        assert ledger.claim(number, intent)
        s3.tick(200 if one["old"] else 1)
        if one["handle"] == "there":
            ledger.record_handle(number, handle_of(intent))
        elif one["handle"] == "abandoned":
            ledger.record_handle(number, Handle(kind=of_kind, abandoned=True))
        if one["stop"]:
            ledger.request_stop(number, StopRequest(reason="test"))
        if one["result"] is not None and one["handle"] == "there":
            ledger.record_result(number, result_of(intent, **one["result"]))
        truths[number] = one["truth"]
    if marker is not None:
        ledger.mark(Marker(submission=marker, size=UNITS, rerun_token=None))
    return s3, truths


def claimed(ledger, before):
    """The requests of the new submissions in the ledger."""
    return [
        (one.number, one.intent.kind, [request.model_dump() for request in one.intent.requests])
        for one in ledger.history().submissions
        if one.number not in before and one.intent is not None
    ]


def compare(kind, make, submissions, marker, token):
    """Forecast, then run the engine, with the same ledger and AWS state. Returns the number of claims."""
    planned = steps_of().planned
    s3, truths = build(kind, submissions, marker, planned)
    objects = copy.copy(s3.objects)
    who = (IDENTITY.dag_id, IDENTITY.run_key, IDENTITY.job)
    unwritten, remote = ForecastLedger(s3, STATE).job(*who), Remote(kind, truths)
    foretold = outcome_of(
        lambda: forecast(make(unwritten), remote, unwritten, IDENTITY, state=unwritten.read(), token=token)
    )
    assert [] == remote.touched
    assert objects == s3.objects
    ledger, remote = Ledger(s3, STATE).job(*who), Remote(kind, truths)
    before = set(ledger.history().numbers)
    engine = Engine(make(ledger), remote, ledger, IDENTITY, sleep=lambda _: None)
    real = outcome_of(lambda: (engine.run(ledger.read(), token), None))
    if isinstance(real, str):
        assert foretold == real
        return 0
    (outcome, claims), (happened, _) = foretold, real
    assert (outcome.action, outcome.failed, outcome.prior_submissions) == (
        happened.action,
        happened.failed,
        happened.prior_submissions,
    )
    assert claimed(ledger, before) == [
        (one.number, one.new.kind, [request.model_dump() for request in one.new.requests]) for one in claims
    ]
    assert [call["request"] for claim in claims for call in claim.calls] == [
        request["request"] for _, _, requests in claimed(ledger, before) for request in requests
    ]
    return len(claims)


def outcome_of(run):
    try:
        return run()
    except InvalidRequest as error:
        return str(error)


PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(SUBMISSIONS, MARKERS, TOKENS, st.sampled_from([[512], [512, 1024, 2048]]), st.booleans())
def test_an_array_is_claimed_as_forecast(submissions, marker, token, memory, preamble):
    compare("batch", lambda ledger: batch(ledger, memory=memory, preamble=preamble, token=token),
            submissions, marker, token)  # fmt: skip


@PROPERTY
@given(SUBMISSIONS, MARKERS, TOKENS, st.sampled_from([1, 4]), st.booleans())
def test_steps_on_an_own_cluster_are_claimed_as_forecast(submissions, marker, token, concurrency, resume):
    compare("emr", lambda ledger: own(ledger, concurrency=concurrency, resume=resume), submissions, marker, token)


@PROPERTY
@given(SUBMISSIONS, MARKERS, TOKENS, st.booleans())
def test_steps_on_an_existing_cluster_are_claimed_as_forecast(submissions, marker, token, resume):
    compare("emr", lambda ledger: existing(ledger, resume=resume), submissions, marker, token)


def test_several_memory_sizes_are_several_claims():
    """The test above covers passes with more than one claim."""
    ended = {"succeeded": {0}, "outcome": "failed", "memory": True}
    truth = Truth(found=True, status="ended", idle=False, result=ended)
    first = {"indices": {0, 1, 2}, "old": True, "steps": False, "handle": "there", "stop": False, "token": None,
             "result": ended, "truth": truth}  # fmt: skip
    assert 2 == compare("batch", lambda ledger: batch(ledger, memory=[512, 1024], preamble=True, token=None),
                        [first], None, None)  # fmt: skip


@pytest.mark.parametrize("steps", [1, 4])
def test_copies_are_barriers_in_the_forecast(steps):
    """The forecast once showed all steps as concurrent with `step_concurrency`."""
    ledger = ForecastLedger(None, STATE).job(IDENTITY.dag_id, IDENTITY.run_key, IDENTITY.job)
    backend = own(ledger, concurrency=steps, resume=True)
    _, (claim,) = forecast(backend, SimpleNamespace(), ledger, IDENTITY, state=ledger.read(), token=None)
    assert claim.indices == IndexSet.of([0] if steps > 1 else range(5))
