"""One pass of the engine, with an in-memory ledger and simulated work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_batchemr.aws.batch.array_work import ArrayWork
from airflow_batchemr.core.errors import InvalidRequest, Refused, Throttled, Unknown
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import Ending, Found, NewSubmission, Observation, SubmissionPlan
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.loop import Engine, StoppedError, SupersededError
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.engine.single_work import SingleWork
from airflow_batchemr.engine.submission_records import REFUSED
from airflow_batchemr.ledger import Handle, HandleJob, Intent, Marker, Request, Result, StopRequest
from airflow_batchemr.ledger import job as job_module

AWS_ID = "job-0"


class Aws:
    """Jobs that run until the test ends them."""

    def __init__(self):
        self.status = {}  # AWS id -> running, idle, succeeded, failed or stopped
        self.names = {}  # AWS id -> name
        self.hidden = set()  # AWS ids that are not visible
        self.terminated = []
        self.closed = []
        self.lingers = False  # a terminated job runs for a while

    def submit(self, name):
        id_ = f"job-{len(self.names)}"
        self.names[id_], self.status[id_] = name, "running"
        return id_

    def terminate(self, id_):
        self.terminated.append(id_)
        if not self.lingers and self.status[id_] in {"running", "idle"}:
            self.status[id_] = "stopped"


class Job:
    """A backend and the remote work of its submissions, with one job on `Aws` per index."""

    def __init__(self, aws, work):
        self.aws, self.work = aws, work
        self.units, self.done, self.retryable_units = work.units, work.done, work.retryable_units
        self.plans = work.plans
        self.starts = []  # outcome of the next calls: an error, or (error, "carried out")
        self.refuses = None  # raised by `new_submission`
        self.staying = False
        self.on_start = lambda: None

    # Backend

    def new_submission(self, plan, state):
        if self.refuses is not None:
            raise self.refuses
        return NewSubmission(
            "batch",
            [Request(name=f"{plan.number}-{one}", indices=IndexSet.of([one]), request={}) for one in plan.indices],
        )

    def start(self, request, sleep):
        self.on_start()
        fault, carried_out = None, True
        if self.starts and (fault := self.starts.pop(0)) is not None:
            fault, carried_out = fault if isinstance(fault, tuple) else (fault, False)
        job_id = self.aws.submit(request.name) if carried_out else ""
        if fault is not None:
            raise fault
        return Handle(kind="batch", jobs=[HandleJob(job_id=job_id, name=request.name, indices=request.indices)])

    def stays(self, submission):
        return self.staying

    # Remote work

    def find(self, submission):
        ids = {name: id_ for id_, name in self.aws.names.items() if id_ not in self.aws.hidden}
        requests = submission.intent.requests
        jobs = [
            HandleJob(job_id=ids[one.name], name=one.name, indices=one.indices) for one in requests if one.name in ids
        ]
        return Found(Handle(kind="batch", jobs=jobs), complete=len(jobs) == len(requests)) if jobs else None

    def observe(self, submission):
        ids = [job.job_id for job in submission.handle.jobs]
        statuses = {self.aws.status[id_] for id_ in ids if id_ not in self.aws.hidden}
        if statuses & {"running", "idle"}:
            return Observation("running", idle="running" not in statuses)
        return Observation("not_visible" if set(ids) & self.aws.hidden else "ended")

    def result(self, submission, observation):
        status = {job.indices: self.aws.status[job.job_id] for job in submission.handle.jobs}
        succeeded = IndexSet.union(indices for indices, one in status.items() if one in {"succeeded", "idle"})
        outcome = "failed"
        if observation.status == "not_visible":
            outcome = "lost"
        elif succeeded == submission.indices:
            outcome = "succeeded"
        elif "stopped" in status.values():
            outcome = "stopped"
        result = Result(
            kind="batch", outcome=outcome, indices=submission.indices, succeeded=succeeded,
            rerun_token=submission.rerun_token,
        )  # fmt: skip
        return Ending(result, {f"children/{submission.number:04d}.json": b"{}"})

    def close(self, submission, observation):
        if observation.status == "ended":
            self.aws.closed.append(submission.number)

    def terminate(self, submission, reason):
        found = self.find(submission)
        handle = submission.handle or (found.handle if found else None)
        for job in handle.jobs if handle else ():
            self.aws.terminate(job.job_id)

    def terminate_started(self, parents):
        raise AssertionError("terminate returns none")


@pytest.fixture
def aws():
    return Aws()


@pytest.fixture
def work(s3, job, aws, monkeypatch):
    """Create a job with a given `Work`. Its `run` makes one pass."""

    def boottime():
        return s3.clock.timestamp()

    monkeypatch.setattr(job_module, "_boottime", boottime)

    def make(work=None):
        made = Job(aws, work or SingleWork())

        def run(*, prior_submissions=None, rerun_token=None, missing=(), try_number=1, **options):
            identity = JobIdentity("s3://data/_batchemr", "d", "r", "j", "run", "task", try_number=try_number)
            options = {"sleep": s3.tick, **options}
            made.engine = Engine(made, made, job, identity, **options)
            return made.engine.run(job.read(), rerun_token, prior_submissions, missing)

        made.run = run
        return made

    return make


def outcomes(job):
    return [one.result.outcome if one.result else "open" for one in job.history().submissions]


def started(aws):
    return list(aws.names.values())


# Submissions


def test_work_starts_runs_and_succeeds(work, job, aws):
    """The documents of a submission are written before its result."""
    one = work()
    first = one.run()
    assert ("wait", [1], None) == (first.action, [sub.number for sub in first.waits], first.wake_after)
    aws.status[AWS_ID] = "succeeded"
    assert "succeed" == one.run(prior_submissions=first.prior_submissions).action
    assert (["1-0"], ["succeeded"]) == (started(aws), outcomes(job))
    assert b"{}" == job.get_document("children/0001.json")


def test_a_failure_fails_the_try_and_the_next_try_starts_again(work, job, aws):
    """`prior_submissions` distinguishes the tries."""
    one = work()
    prior_submissions = one.run().prior_submissions
    aws.status[AWS_ID] = "failed"
    assert "fail" == one.run(prior_submissions=prior_submissions).action
    assert "wait" == one.run(try_number=2).action
    assert ["failed", "open"] == outcomes(job)


# Work that is not visible, and lost work


def test_the_try_waits_for_work_that_is_not_visible(work, job, aws):
    """Even if other work is missing."""
    one = work()
    one.run()
    aws.hidden.add(AWS_ID)
    for missing in ([], ["job-7"]):
        outcome = one.run(missing=missing)
        assert ("wait", "not_visible") == (outcome.action, outcome.observations[1].status)
    aws.hidden.clear()
    aws.status[AWS_ID] = "succeeded"
    assert "succeed" == one.run(missing=[AWS_ID]).action
    assert (["1-0"], ["succeeded"]) == (started(aws), outcomes(job))


def test_work_that_is_missing_for_the_grace_period_is_lost(work, job, aws):
    """It may have succeeded, so the try that records the loss starts nothing instead. A later try does."""
    one = work()
    one.run()
    aws.hidden.add(AWS_ID)
    outcome = one.run(missing=[AWS_ID], try_number=2)
    assert ("fail", True) == (outcome.action, outcome.lost)
    assert "fail" == one.run(prior_submissions=outcome.prior_submissions).action
    assert (["1-0"], ["lost"]) == (started(aws), outcomes(job))
    assert "wait" == one.run(try_number=3).action
    assert ["1-0", "2-0"] == started(aws)


# Stop requests


def test_a_stop_request_is_carried_out_by_the_next_pass(work, job, aws):
    """The process that requested it may have died before the call. The same try then runs the work again."""
    one = work()
    prior_submissions = one.run().prior_submissions
    job.request_stop(1, StopRequest(reason="the task was cleared", by="try 2"))
    assert "wait" == one.run(prior_submissions=prior_submissions).action
    assert ([AWS_ID], ["1-0", "2-0"], ["stopped", "open"]) == (aws.terminated, started(aws), outcomes(job))


def test_the_try_waits_for_stopped_work_that_still_runs(work, aws):
    """No other work runs at the same time."""
    one = work()
    one.run()
    aws.lingers = True
    job_ = one.engine.ledger
    job_.request_stop(1, StopRequest(reason="x"))
    assert [1] == [sub.number for sub in one.run().waits]
    assert ["1-0"] == started(aws)


# Refused requests


def test_a_refusal_fails_the_try_if_nothing_runs(work, job):
    """It is recorded, so that the same try does not repeat the call."""
    one = work()
    one.starts = [InvalidRequest("no such queue")]
    with pytest.raises(InvalidRequest):
        one.run()
    assert isinstance(one.engine.refused, InvalidRequest)
    (ended,) = job.history().submissions
    assert ("failed", [REFUSED]) == (ended.result.outcome, list(ended.result.causes))


def test_a_refusal_before_the_claim_claims_nothing(work, job):
    """For example, options that AWS does not accept."""
    one = work()
    one.refuses = InvalidRequest("no such image")
    with pytest.raises(InvalidRequest):
        one.run()
    assert [] == job.read().numbers


def test_a_refused_try_waits_for_running_work(work, aws):
    """Otherwise, no process would watch the work."""
    one = work(ArrayWork(2))
    one.starts = [None, Throttled("slow down")]
    one.on_start = lambda: setattr(one, "refuses", InvalidRequest("no such queue"))
    outcome = one.run()
    assert ("wait", one.refuses, [1]) == (outcome.action, outcome.blocked, [sub.number for sub in outcome.waits])
    aws.status[AWS_ID] = "succeeded"
    with pytest.raises(InvalidRequest):
        one.run(prior_submissions=outcome.prior_submissions)


def test_work_accepted_before_a_refusal_is_stopped(work, job, aws):
    """The try waits until it has ended."""
    one = work(ArrayWork(2))
    one.starts = [None, Refused("too large")]
    outcome = one.run()
    assert ("wait", [AWS_ID]) == (outcome.action, aws.terminated)
    assert "too large" in str(outcome.blocked)
    assert REFUSED == job.stop_request(1).by


# Throttling


def test_throttled_calls_are_made_later(work, job, aws):
    """The submission is abandoned, and its units can be claimed again."""
    one = work()
    one.starts = [Throttled("slow down")]
    outcome = one.run()
    assert ("wait", [], DEFAULT.resubmit_pause) == (outcome.action, outcome.waits, outcome.wake_after)
    assert "wait" == one.run(prior_submissions=outcome.prior_submissions).action
    assert ["2-0"] == started(aws)
    assert job.read().submissions[0].handle.abandoned


def test_no_call_is_made_near_the_end_of_the_lease(work, s3, job, aws):
    """Other tries may take over the submission by then. The remaining units need a new claim."""
    one = work(ArrayWork(2))
    one.on_start = lambda: s3.tick(DEFAULT.claim_lease - DEFAULT.call_margin + 1)
    one.run()
    assert ["1-0", "2-1"] == started(aws)
    assert ["0", "1"] == [str(sub.indices) for sub in job.read().submissions]


# Superseded tries


def claim_as(job, number, try_number, indices="0"):
    intent = Intent(
        kind="batch", name=str(number), requests=[], indices=indices, rerun_token=None, dag_id="d", run_key="r",
        job="j", run_id="run", task_id="task", try_number=try_number,
    )  # fmt: skip
    assert job.claim(number, intent)


def test_a_superseded_try_claims_nothing(work, s3, job, aws):
    """No process would watch its work."""
    began = s3.clock
    s3.tick(5)
    claim_as(job, 1, try_number=2)
    job.record_handle(1, Handle(kind="batch", abandoned=True))
    with pytest.raises(SupersededError, match="try 2"):
        work().run(began=began, try_number=1)
    assert [] == started(aws)


def test_claims_of_earlier_tries_do_not_supersede(work, s3, job, aws):
    """Nor do those of a later try before a clear, if they were made before this try began."""
    claim_as(job, 1, try_number=2)
    job.record_handle(1, Handle(kind="batch", abandoned=True))
    s3.tick(5)
    work().run(began=s3.clock - timedelta(seconds=1), try_number=1)
    assert ["2-0"] == started(aws)


def test_a_try_that_loses_its_claim_decides_again(work, job, aws, monkeypatch):
    """It then waits for the submission of the winner."""
    one = work()
    new_submission = one.new_submission

    def slow(plan, state):
        if plan.number == 1:
            claim_as(job, 1, try_number=1)
        return new_submission(plan, state)

    monkeypatch.setattr(one, "new_submission", slow)
    outcome = one.run()
    assert ("wait", [1], []) == (outcome.action, [sub.number for sub in outcome.waits], started(aws))


# Killed tries


def test_a_killed_try_claims_nothing(work, job):
    """The signal arrives before the claim."""
    with pytest.raises(StoppedError):
        work().run(stopping=lambda: True)
    assert [] == job.read().numbers


def test_a_try_that_is_killed_after_its_claim_makes_no_call(work, job, aws):
    """The submission is abandoned, so that the next try does not wait for the lease."""
    with pytest.raises(StoppedError):
        work().run(stopping=lambda: bool(job.read().numbers))
    assert [] == started(aws)
    assert job.read().submissions[0].handle.abandoned


def test_a_try_that_is_killed_during_the_call_stops_what_it_started(work, job, aws):
    """It also records a stop request, in case the call fails."""
    one = work()
    with pytest.raises(StoppedError):
        one.run(stopping=lambda: bool(started(aws)))
    assert ([AWS_ID], "the task was killed") == (aws.terminated, job.stop_request(1).reason)


def test_a_try_killed_after_a_lost_response_records_a_stop_request(work, job, aws):
    """The work is not visible yet; the process that finds it later stops it."""
    one = work()
    one.starts = [(Unknown("no answer"), True)]
    aws.hidden.add(AWS_ID)
    with pytest.raises(StoppedError):
        one.run(stopping=lambda: bool(started(aws)))
    assert [] == aws.terminated
    aws.hidden.clear()
    one.run(try_number=2)
    assert ([AWS_ID], ["stopped", "open"]) == (aws.terminated, outcomes(job))


# Lost responses


def test_work_with_a_lost_response_is_found_by_its_name(work, job, aws):
    """The call is not repeated."""
    one = work()
    one.starts = [(Unknown("no answer"), True)]
    outcome = one.run()
    assert ("wait", ["1-0"]) == (outcome.action, started(aws))
    assert AWS_ID == job.read().submissions[0].handle.jobs[0].job_id


def test_missing_work_with_a_lost_response_is_resubmitted_after_lease_and_grace(work, s3, job, aws):
    """Until then, it may still appear, so the try waits."""
    one = work()
    one.starts = [Unknown("no answer")]
    outcome = one.run()
    assert ("wait", [1]) == (outcome.action, [sub.number for sub in outcome.waits])
    assert DEFAULT.resubmit_pause == outcome.wake_after
    assert "wait" == one.run(prior_submissions=outcome.prior_submissions).action
    s3.tick(DEFAULT.abandon_after - 15)
    assert "wait" == one.run(prior_submissions=outcome.prior_submissions).action
    assert [] == started(aws)
    s3.tick(20)
    assert "wait" == one.run(prior_submissions=outcome.prior_submissions).action
    assert (["2-0"], ["abandoned", "open"]) == (started(aws), outcomes(job))


def test_work_is_submitted_again_only_after_two_searches_that_find_nothing(work, s3, job, aws):
    """The first list after the grace period is old; the second one shows the work."""
    one = work()
    one.starts = [(Unknown("no answer"), True)]
    aws.hidden.add(AWS_ID)
    outcome = one.run()
    s3.tick(DEFAULT.abandon_after + 5)
    pauses = []

    def appear(seconds):
        pauses.append(seconds)
        aws.hidden.clear()

    (waits,) = one.run(prior_submissions=outcome.prior_submissions, sleep=appear).waits
    assert ([DEFAULT.search_pause], AWS_ID) == (pauses, waits.handle.jobs[0].job_id)
    assert (["1-0"], ["open"]) == (started(aws), outcomes(job))


def test_work_that_appears_after_a_lost_response_is_adopted(work, s3, job, aws):
    """Lists are eventually consistent."""
    one = work()
    one.starts = [(Unknown("no answer"), True)]
    aws.hidden.add(AWS_ID)
    outcome = one.run()
    assert job.read().submissions[0].handle is None
    aws.hidden.clear()
    s3.tick(outcome.wake_after)
    one.run(prior_submissions=outcome.prior_submissions)
    assert (["1-0"], AWS_ID) == (started(aws), job.read().submissions[0].handle.jobs[0].job_id)


def test_work_of_a_late_call_is_terminated(work, s3, job, aws):
    """Another try has taken over the submission: work that only this try knows would run in addition."""
    one, other = work(), work()

    def hang():
        s3.tick(DEFAULT.abandon_after + 5)
        other.run(try_number=2)

    one.on_start = hang
    outcome = one.run()
    assert ["2-0", "1-0"] == started(aws)
    assert ["job-1"] == aws.terminated
    assert outcome.wake_after is not None
    assert ["abandoned", "open"] == outcomes(job)


# Idle submissions


class InTurn(ArrayWork):
    """Indices that run one after another, each in its own submission."""

    def plans(self, state, left, *, failed, busy):
        if failed or busy:
            return []
        return [SubmissionPlan(state.next_number, IndexSet.of([left.lowest]))]


def idle_then(work, aws, second):
    """A job with an idle first submission and a second one with the given status."""
    one = work(InTurn(2))
    prior_submissions = one.run().prior_submissions
    aws.status[AWS_ID] = "idle"
    one.run(prior_submissions=prior_submissions)
    assert ["1-0", "2-1"] == started(aws)
    aws.status["job-1"] = second
    return one, prior_submissions


def test_an_idle_submission_is_released_when_the_job_has_succeeded(work, job, aws):
    """Until then, the next submission may use it."""
    one, prior_submissions = idle_then(work, aws, "running")
    assert ("wait", ["open", "open"]) == (one.run(prior_submissions=prior_submissions).action, outcomes(job))
    aws.status["job-1"] = "succeeded"
    assert "succeed" == one.run(prior_submissions=prior_submissions).action
    assert ["succeeded", "succeeded"] == outcomes(job)
    assert 1 in aws.closed


def test_an_idle_submission_that_stays_is_left_open_after_success(work, job, aws):
    """For example, a cluster that other jobs of the run share."""
    one, prior_submissions = idle_then(work, aws, "succeeded")
    one.staying = True
    outcome = one.run(prior_submissions=prior_submissions)
    assert ("succeed", [1]) == (outcome.action, [sub.number for sub in outcome.waits])
    assert (["open", "succeeded"], [2]) == (outcomes(job), aws.closed)


@pytest.mark.parametrize("stays", [False, True])
def test_an_idle_submission_is_released_when_the_job_has_failed(work, job, aws, stays):
    """No more units are added to it."""
    one, prior_submissions = idle_then(work, aws, "failed")
    one.staying = stays
    assert "fail" == one.run(prior_submissions=prior_submissions).action
    assert ["succeeded", "failed"] == outcomes(job)
    assert 1 in aws.closed


def test_an_idle_submission_is_released_when_the_next_one_is_refused(work, job, aws):
    """A cluster does not wait for steps that cannot be added."""
    one = work(InTurn(2))
    prior_submissions = one.run().prior_submissions
    aws.status[AWS_ID] = "idle"
    one.refuses = InvalidRequest("no such step")
    with pytest.raises(InvalidRequest):
        one.run(prior_submissions=prior_submissions)
    assert (["succeeded"], [1]) == (outcomes(job), aws.closed)


# Reruns


def test_a_rerun_stops_open_submissions_before_it_starts(work, job, aws):
    """It waits until they have ended."""
    one = work()
    one.run()
    aws.lingers = True
    outcome = one.run(rerun_token="again")
    assert ("wait", [1]) == (outcome.action, [sub.number for sub in outcome.waits])
    assert ([AWS_ID], ["1-0"]) == (aws.terminated, started(aws))
    aws.status[AWS_ID] = "stopped"
    one.run(rerun_token="again", prior_submissions=outcome.prior_submissions)
    assert (["1-0", "2-0"], "again") == (started(aws), job.read().rerun_token)


def test_a_rerun_runs_successful_units_again(work, job, aws):
    """Only once: then it has its own marker."""
    one = work()
    one.run()
    aws.status[AWS_ID] = "succeeded"
    assert "succeed" == one.run().action
    job.mark(Marker(submission=1, size=1, rerun_token=None))
    assert "wait" == one.run(rerun_token="again").action
    aws.status["job-1"] = "succeeded"
    assert "succeed" == one.run(rerun_token="again").action
    assert ["1-0", "2-0"] == started(aws)


def test_a_try_that_loses_its_claim_to_a_rerun_does_not_stop_it(work, job, aws, monkeypatch):
    """It read the ledger before the rerun began, and now continues the rerun."""
    one, rerun = work(), work()
    new_submission = one.new_submission

    def slow(plan, state):
        if plan.number == 1:
            rerun.run(rerun_token="again")
        return new_submission(plan, state)

    monkeypatch.setattr(one, "new_submission", slow)
    outcome = one.run()
    assert ("wait", [1]) == (outcome.action, [sub.number for sub in outcome.waits])
    assert (["1-0"], [], "again") == (started(aws), aws.terminated, job.read().rerun_token)
