"""A table of failures and kinds of work.

After every failure, each unit succeeds exactly once, as recorded by the commands; at most one piece of work is active
at a time; nothing is left running; and the user gets the same message from every backend.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.aws.remote_work import AnyRemoteWorkReader
from airflow_batchemr.engine.history import run_histories
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.ledger import Ledger, StopRequest
from tests.integration.scenarios.airflow import concurrently
from tests.integration.scenarios.backends import BACKENDS
from tests.integration.scenarios.faults import STARTS, Fault, Point
from tests.integration.scenarios.scenario import Run

FOREVER = 1e9
#: Messages to the user, the same for every backend.
LOST = r"This work may have succeeded, so it does not run again automatically"
DENIED = r"(?i)not allowed|denied|refused|permission|IAM action"

CHANGES = frozenset({"PutObject", "RegisterJobDefinition", "TerminateJobFlows", *STARTS})


def points(kind):
    """The calls of a clean run at which a scenario may inject a fault."""
    found = []
    for part in kind.calls.split("; "):
        by, _, calls = part.partition(": ")
        for call in calls.split(", "):
            operation, ordinal = call.split()
            found.append(Point(operation, int(ordinal), by))
    return found


def cell(kind, row, *values):
    """A cell of the table. Skipped with the reason if the backend does not support the row."""
    reason = kind.unsupported.get(row)
    marks = [pytest.mark.skip(reason=reason)] if reason else []
    return pytest.param(kind, *values, id="-".join(map(str, [kind.name, *values])), marks=marks)


def row(name, *columns):
    """All backends, once per column."""
    return [cell(kind, name, *values) for kind in BACKENDS for values in columns or [()]]


def at_calls(name, **chosen):
    """All backends, with each kind of fault at the calls selected for it."""
    return [
        cell(kind, name, point, fault)
        for kind in BACKENDS
        for fault, choose in chosen.items()
        for point in points(kind)
        if choose(kind, point)
    ]


def change(_, point):
    """A call that changes something. Dying after it is the same as dying before the next call."""
    return point.operation in CHANGES


def look(kind, point):
    """A call that reads."""
    return not change(kind, point)


def start(kind, point):
    """The call that starts the work, or the first read."""
    return point in {Point(kind.start), Point("ListObjectsV2")}


def around_start(kind, point):
    """The calls around the start: the claim, the start, and the calls that record it, until the try defers."""
    calls = points(kind)
    place = calls.index(Point(kind.start))
    return change(kind, point) and point.by == "worker" and place - 1 <= calls.index(point) <= place + 3


def claim_to_record(kind, point):
    """The claim, the call that starts the work, and the record of its handle."""
    calls = points(kind)
    return around_start(kind, point) and calls.index(point) <= calls.index(Point(kind.start)) + 1


def first(_, point):
    """The first call of its operation."""
    return point.ordinal == 1


def change_or_start(kind, point):
    """A call that changes something, or the first read."""
    return change(kind, point) or start(kind, point)


def change_or_start_but_not_the_call(kind, point):
    """Like `change_or_start`, without the calls that start work; for these, see `test_hung_in_the_call`."""
    return change_or_start(kind, point) and point.operation not in STARTS


def test_all_backends_are_in_the_table():
    assert len({kind.name for kind in BACKENDS}) == 7


@pytest.mark.parametrize("kind", row("clean"))
def test_clean(world, make_backend, kind):
    """Without faults, the run succeeds and makes the calls at which other tests inject faults, in order."""
    run = Run(world, make_backend(kind))
    run.check(run.run())
    made = world.points()
    assert points(kind) == [point for point in made if point in points(kind)]


# Processes


@pytest.mark.parametrize(
    ("kind", "point", "fault"),
    at_calls("killed", kill_before=lambda *one: look(*one) or start(*one), kill_after=change),
)
def test_killed(world, make_backend, kind, point, fault):
    """The process dies before a call, or after it took effect."""
    world.faults = [Fault(point, fault)]
    run = Run(world, make_backend(kind))
    run.check(run.run())
    assert world.faults[0].met


@pytest.mark.parametrize("kind", row("sigkill"))
def test_killed_by_the_kernel(world, make_backend, kind):
    """A real process receives a real SIGKILL after the call that starts the work."""
    backend = make_backend(kind)
    module = "tests.integration.scenarios.worker"
    arguments = [kind.name, str(backend.folder), backend.state, getattr(backend, "cluster_id", "")]
    root = Path(__file__).parents[3]
    worker = subprocess.run([sys.executable, "-m", module, *arguments], check=False, cwd=root, timeout=60)
    assert -signal.SIGKILL == worker.returncode
    run = Run(world, backend)
    for task in run.tasks.values():
        task.try_number = 2
    run.check(run.run())


@pytest.mark.parametrize(
    ("kind", "point", "fault"), at_calls("hung", hang_before=change_or_start_but_not_the_call, hang_after=start)
)
def test_hung(world, make_backend, kind, point, fault):
    """The process hangs at a call and is given up; later tries do the work; then it resumes."""
    world.faults = [Fault(point, fault)]
    run = Run(world, make_backend(kind))
    outcome = run.run()
    assert world.faults[0].met
    run.resume_all()
    run.check(outcome)


@pytest.mark.parametrize("kind", row("hung_in_the_call"))
def test_hung_in_the_call(world, make_backend, kind):
    """The call that starts the work is sent by a process whose claim was given up minutes ago.

    The call takes effect, because it has no client token, or one per submission. When the process resumes, it ends
    what it started.
    """
    world.faults = [Fault(Point(kind.start), "hang_before")]
    backend = make_backend(kind)
    run = Run(world, backend)
    outcome = run.run()
    assert world.faults[0].met
    backend.hold()
    run.resume_all()
    run.check(outcome)


@pytest.mark.parametrize(
    ("kind", "point", "fault"), at_calls("hung_midway", hang_before=around_start, hang_after=around_start)
)
def test_hung_and_resumed_while_a_later_try_waits(world, make_backend, kind, point, fault):
    """A process that was given up receives SIGTERM and resumes while its successor waits for running work."""
    world.faults = [Fault(point, fault)]
    backend = make_backend(kind)
    backend.hold()
    run = Run(world, backend)

    def resume_hung():
        if run.hung() and backend.held():
            backend.begun()
            run.terminate_hung()
            run.resume_all()
            run.until_alone()
        backend.release()

    run.work.before_wait = resume_hung
    outcome = run.run()
    run.check(outcome)
    if (point, fault) != (Point(kind.start), "hang_before"):  # there, it starts work that is then ended
        assert set(backend.recorded("begin").values()) == {1}, backend.recorded("begin")


@pytest.mark.parametrize(
    ("kind", "point", "fault"), at_calls("hung_last", hang_before=claim_to_record, hang_after=start)
)
def test_hung_without_a_later_try(world, make_backend, kind, point, fault):
    """The process was given up, and no try follows. When it resumes, it leaves nothing running."""
    world.faults = [Fault(point, fault)]
    backend = make_backend(kind)
    backend.hold()
    run = Run(world, backend, retries=0)
    run.until_hung()
    run.after_work()
    run.resume_all()
    assert [] == run.alive()
    assert not backend.recorded("end")
    backend.release()


@pytest.mark.parametrize("kind", row("two_tries"))
def test_two_tries_at_once(world, make_backend, kind):
    """Two workers run the same task: one claims the work, the other adopts it."""
    backend = make_backend(kind)
    run, other = Run(world, backend), Run(world, backend)
    run.until_work()
    other.work.try_number = 2
    outcomes = concurrently(run.work.run, other.work.run)
    run.after_work()
    for outcome in outcomes:
        run.check(outcome)


# Calls


@pytest.mark.parametrize(("kind", "point", "fault"), at_calls("lost_answer", lose_before=change, lose_after=change))
def test_lost_response(world, make_backend, kind, point, fault):
    """A call takes effect or not, and its response is lost."""
    world.faults = [Fault(point, fault)]
    run = Run(world, make_backend(kind))
    run.check(run.run())
    assert world.faults[0].met


@pytest.mark.parametrize(("kind", "point", "fault"), at_calls("throttled", throttle=first, broken=first))
def test_throttled_or_server_error(world, make_backend, kind, point, fault):
    """AWS throttles or fails a call more often than botocore retries."""
    world.faults = [Fault(point, fault, times=2)]
    run = Run(world, make_backend(kind))
    run.check(run.run())


@pytest.mark.parametrize(
    ("kind", "point", "fault"),
    at_calls("refused", refuse=lambda kind, point: first(kind, point) or around_start(kind, point)),
)
def test_refused_once(world, make_backend, kind, point, fault):
    """After a single 403, the task succeeds, or it fails with a message and a clear completes the work."""
    world.faults = [Fault(point, fault)]
    run = Run(world, make_backend(kind), retries=0)
    outcome = run.run()
    if outcome.state == "failed":
        assert re.search(DENIED, outcome.message), outcome.message
        outcome = run.run_again()
    run.check(outcome)


# Visibility

HIDDEN = [(seconds, lost) for seconds in (30, 100) for lost in (None, "handle", "answer")]


@pytest.mark.parametrize(("kind", "seconds", "killed"), row("hidden", *HIDDEN))
def test_not_visible_yet(world, make_backend, kind, seconds, killed):
    """AWS does not show the work for some time, either to the same try or, after a kill, to the next one."""
    world.hidden_for = seconds
    backend = make_backend(kind)
    world.faults = kill_at_start(backend, killed)
    run = Run(world, backend)
    run.check(run.run())
    assert not world.missed(), world.missed()


@pytest.mark.parametrize(("kind", "killed"), row("hidden_forever", (None,), ("handle",)))
def test_never_visible(world, make_backend, kind, killed):
    """The task waits, then fails with a message. No other work is started."""
    world.hidden_for = FOREVER
    backend = make_backend(kind)
    world.faults = kill_at_start(backend, killed)
    run = Run(world, backend, retries=1)
    outcome = run.run()
    assert "failed" == outcome.state
    assert re.search(LOST, outcome.message), outcome.message
    assert 1 == world.count(backend.start)


@pytest.mark.parametrize(("kind", "ordinal"), row("hidden_forever", (4,), (5,), (6,)))
def test_killed_around_the_record_of_a_loss(world, make_backend, kind, ordinal):
    """The next try reports the loss. No other work is started until a user clears the task."""
    world.hidden_for = FOREVER
    world.faults = [Fault(Point("PutObject", ordinal), "kill_after")]
    run = Run(world, make_backend(kind))
    outcome = run.run()
    assert "failed" == outcome.state
    assert re.search(LOST, outcome.message), outcome.message
    assert 1 == world.count(kind.start)


def kill_at_start(backend, when):
    """Kill the worker after the call that starts the work (losing its response), or after recording the handle."""
    if when is None:
        return []
    if when == "answer":
        return [Fault(Point(backend.start), "kill_after")]
    calls = points(type(backend))
    later = calls[calls.index(Point(backend.start)) + 1 :]
    return [Fault(next(one for one in later if one.operation == "PutObject"), "kill_after")]


# The history


@pytest.mark.parametrize("kind", row("history"))
def test_history_of_work_whose_id_was_not_recorded(world, make_backend, kind, aws, state):
    """The worker was killed when it had started the work, and no try followed. AWS is searched, and not changed."""
    backend = make_backend(kind)
    world.faults = [Fault(Point(backend.start), "kill_after")]
    run = Run(world, backend, watch=False)
    for task in run.tasks.values():
        if not world.faults[0].met:
            task.one_try()
    run.settle()
    clients = Clients(lambda service, config: aws.client(service, config=config))
    ledger = Ledger(clients.s3, state)

    def shown():
        (jobs,) = run_histories(ledger, "dag", ["2026-11-20T000000Z"], AnyRemoteWorkReader(clients, DEFAULT))
        return [submission for job in jobs for submission in job.submissions][-1]

    assert ("running", True) == (shown().state, shown().recorded)  # a worker may still make the call
    world.clock.skip(3600)
    before = world.count(*CHANGES)
    found = shown()
    assert before == world.count(*CHANGES)
    waits = "up" in run.tasks  # a cluster that waits for steps
    assert ("running" if waits else "succeeded", waits) == (found.state, found.recorded)
    assert found.facts
    run.check(run.run())


# User actions


@pytest.mark.parametrize("kind", row("run_again"))
def test_second_run_starts_nothing(world, make_backend, kind):
    """A second run of the same date returns the XCom of the first."""
    backend = make_backend(kind)
    first, second = Run(world, backend), Run(world, backend, run_id="again")
    first.check(first.run())
    second.check(second.run())
    assert first.value == second.value


@pytest.mark.parametrize("kind", row("rerun"))
def test_rerun(world, make_backend, kind):
    """A run that names the job in `rerun` runs all of it again."""
    backend = make_backend(kind)
    first, second = Run(world, backend), Run(world, backend, run_id="again", conf={"rerun": ["work"]})
    first.check(first.run())
    second.check(second.run(), times=2)


@pytest.mark.parametrize("kind", row("rerun_midway"))
def test_rerun_while_the_first_run_is_in_progress(world, make_backend, kind):
    """A rerun first stops the running work. None of that work counts."""
    backend = make_backend(kind)
    backend.hold()
    first = Run(world, backend)
    first.until_work()
    first.work.begin()
    backend.begun()
    release = first.releasing_once_ended()
    second = Run(world, backend, run_id="again", conf={"rerun": ["work"]})
    second.until_work()
    second.work.before_wait = release
    outcome = second.work.run()
    second.after_work()
    second.check(outcome)


@pytest.mark.parametrize(("kind", "heard"), row("cleared", ("heard",), ("unheard",)))
def test_cleared_while_deferred(world, make_backend, kind, heard):
    """The trigger stops the work; if it had not started, the next try does. That try then runs the rest."""
    backend = make_backend(kind)
    backend.hold()
    run = Run(world, backend)
    run.until_work()
    run.work.begin()
    backend.begun()
    release = run.releasing_once_ended()
    run.work.clear(killed=heard == "heard")
    run.work.before_wait = release
    outcome = run.work.run()
    run.after_work()
    run.check(outcome)
    assert world.count(*backend.stops) > 0


@pytest.mark.parametrize(("kind", "mark"), row("marked", ("failed",), ("success",)))
def test_marked_while_deferred(world, make_backend, kind, mark):
    """Nothing is left running, and a clear runs the rest."""
    backend = make_backend(kind)
    backend.hold()
    run = Run(world, backend)
    run.until_work()
    run.work.begin()
    backend.begun()
    run.work.mark(mark)
    if len(run.tasks) == 1:
        assert [] == run.alive()
    run.after_work()
    assert [] == run.alive()
    assert not backend.recorded("end")
    backend.release()
    run.check(run.run_again())


@pytest.mark.parametrize(
    ("kind", "point", "fault"), at_calls("sigterm", hang_before=around_start, hang_after=around_start)
)
def test_killed_by_a_user_while_running(world, make_backend, kind, point, fault):
    """A running task is marked and receives SIGTERM at a call. Nothing is left running, and a clear runs the rest."""
    world.faults = [Fault(point, fault)]
    backend = make_backend(kind)
    backend.hold()  # a command that ends while it is being stopped may have succeeded
    run = Run(world, backend, retries=0)
    run.until_hung()
    run.terminate_hung()
    run.resume_all()
    run.after_work()
    assert [] == run.alive()
    backend.release()
    run.check(run.run_again())


@pytest.mark.parametrize("kind", row("cleared_late"))
def test_cleared_after_the_work_has_ended(world, make_backend, kind):
    """The task is cleared before the trigger has noticed the end: successful units do not run again."""
    backend = make_backend(kind)
    run = Run(world, backend)
    run.until_work()
    run.work.begin()
    run.settle()
    assert backend.recorded("end")
    run.work.clear()
    outcome = run.work.run()
    run.after_work()
    run.check(outcome)


@pytest.mark.parametrize(("kind", "crash"), row("deleted", ("no_crash",), ("crash",)))
def test_deleted_and_triggered_again(world, make_backend, kind, crash):
    """A new run of the same date adopts the running work. A crash of that run is not mistaken for a clear."""
    backend = make_backend(kind)
    backend.hold()
    first = Run(world, backend, run_id="first", retries=5)
    first.until_work()
    first.work.begin()
    backend.begun()
    first.work.try_number = 2
    first.work.begin()  # after a crash, the second try waits
    second = Run(world, backend, run_id="second", retries=1)
    second.until_work()
    second.work.begin()
    stops = world.count(*backend.stops)
    if crash == "crash":
        second.work.try_number = 2
        second.work.begin()
    assert stops == world.count(*backend.stops)
    backend.release()
    outcome = second.work.finish_deferred()
    second.after_work()
    second.check(outcome)


@pytest.mark.parametrize("kind", row("deleted_late"))
def test_late_sigterm_of_a_deleted_run(world, make_backend, kind):
    """A worker of a deleted run receives SIGTERM while a new run for the same date waits for the adopted work."""
    backend = make_backend(kind)
    backend.hold()
    world.faults = [Fault(Point("PutObject", 3), "hang_after")]
    first = Run(world, backend, run_id="first")
    first.until_hung()
    second = Run(world, backend, run_id="second", retries=1)
    second.until_work()
    second.work.begin()
    backend.begun()
    stops = world.count(*backend.stops)
    first.terminate_hung()
    assert stops == world.count(*backend.stops)
    backend.release()
    outcome = second.work.finish_deferred()
    first.resume_all()
    second.after_work()
    second.check(outcome)


@pytest.mark.parametrize("kind", row("recreated"))
def test_killed_after_the_run_was_created_again_with_its_id(world, make_backend, kind):
    """The numbers of its tries start from 1 again: it adopts the work of try 2, and SIGTERM stops that work."""
    backend = make_backend(kind)
    backend.hold()
    first = Run(world, backend, retries=5)
    first.until_work()
    first.work.try_number = 2
    first.work.begin()
    backend.begun()
    world.clock.skip(60)
    second = Run(world, backend, retries=0)
    second.until_work()
    world.faults = [Fault(Point("ListObjectsV2", 2), "hang_after")]
    second.until_hung()
    second.terminate_hung()
    second.resume_all()
    second.after_work()
    assert [] == second.alive()
    backend.release()


@pytest.mark.parametrize("kind", row("stopped_early"))
def test_stop_request_during_the_call(world, make_backend, kind):
    """A newer run requests the stop before AWS shows the work: the work is stopped as soon as its id is recorded."""
    backend = make_backend(kind)
    backend.hold()
    run = Run(world, backend, watch=False)
    requested = []

    def request_stop(operation):
        if operation == kind.start and not requested:
            ledger = Ledger(backend.aws.client("s3"), backend.state)
            for job in ("work", "shared.cluster"):
                one = ledger.job("dag", "2026-11-20T000000Z", job)
                for submission in one.read().open_submissions:
                    one.request_stop(submission.number, StopRequest(reason="a newer run", by="newer run"))
                    requested.append(job)

    world.at_start = request_stop
    next(iter(run.tasks.values())).begin()
    assert requested
    assert [] == run.alive()
    assert not backend.recorded("end")
    backend.release()


# Outages

AWS = frozenset({"batch", "emr", "emr-serverless", "emr-containers", "logs"})
S3 = frozenset({"s3"})
OUTAGES = {
    "aws": (AWS, 200.0, None),
    "s3": (S3, 200.0, None),
    "s3_403": (S3, 20.0, ("AccessDenied", 403)),
    "s3_404": (S3, 20.0, ("NoSuchBucket", 404)),
}


def once_started(kind, point):
    """A ledger call after the task has started work, except claims and calls of a shared cluster's tasks."""
    calls = points(kind)
    place, started = calls.index(point), calls.index(Point(kind.start))
    other_task = kind.name == "shared_cluster" and place > started + 5
    return point.operation in {"PutObject", "ListObjectsV2"} and place > started and not other_task


@pytest.mark.parametrize(
    ("kind", "point", "outage"),
    at_calls(
        "outage",
        aws=lambda kind, point: first(kind, point) and point.operation not in {"ListObjectsV2", kind.start},
        s3=lambda kind, point: around_start(kind, point) or point.operation == "ListObjectsV2",
        s3_403=once_started,
        s3_404=lambda kind, point: point.operation == "ListObjectsV2" and once_started(kind, point),
    ),
)
def test_outage(world, make_backend, kind, point, outage):
    """Services are unreachable from a call on: the task waits without using a retry."""
    world.outage_at = (point, *OUTAGES[outage])
    run = Run(world, make_backend(kind), retries=0)
    outcome = run.run()
    assert world.outage is not None
    run.check(outcome)
