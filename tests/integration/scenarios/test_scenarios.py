"""The table: each thing that can go wrong, against each kind of work.

Whatever goes wrong, each unit succeeds once, counted by what the commands wrote; no more than one piece of work is
alive at a time; none is left running; and the user reads the same message.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.scenarios.airflow import at_once
from tests.integration.scenarios.backends import BACKENDS
from tests.integration.scenarios.faults import STARTS, Fault, Point
from tests.integration.scenarios.scenario import Run

FOREVER = 1e9
#: What the user reads, whatever the backend.
LOST = r"This work may have succeeded, so it does not run again automatically"
DENIED = r"(?i)not allowed|denied|refused|permission|IAM action"

CHANGES = frozenset({"PutObject", "RegisterJobDefinition", "TerminateJobFlows", *STARTS})


def points(kind):
    """The calls of a clean run at which a scenario may strike."""
    found = []
    for part in kind.calls.split("; "):
        by, _, calls = part.partition(": ")
        for call in calls.split(", "):
            operation, ordinal = call.split()
            found.append(Point(operation, int(ordinal), by))
    return found


def cell(kind, row, *values):
    """A cell of the table; skipped with the reason where the backend cannot support the row."""
    reason = kind.cannot.get(row)
    marks = [pytest.mark.skip(reason=reason)] if reason else []
    return pytest.param(kind, *values, id="-".join(map(str, [kind.name, *values])), marks=marks)


def row(name, *columns):
    """All backends, once for each of the columns."""
    return [cell(kind, name, *values) for kind in BACKENDS for values in columns or [()]]


def at_calls(name, **chosen):
    """All backends: each kind of fault at the calls that are chosen for it."""
    return [
        cell(kind, name, point, fault)
        for kind in BACKENDS
        for fault, choose in chosen.items()
        for point in points(kind)
        if choose(kind, point)
    ]


def change(_, point):
    """A call that changes something. To die after it is to die before the next call, whatever that is."""
    return point.operation in CHANGES


def look(kind, point):
    """A call that reads."""
    return not change(kind, point)


def start(kind, point):
    """The call that starts the work, or the first that reads."""
    return point in {Point(kind.start), Point("ListObjectsV2")}


def around_start(kind, point):
    """The claim, the call, and what records it: all that a try does before it waits."""
    calls = points(kind)
    place = calls.index(Point(kind.start))
    return change(kind, point) and point.by == "worker" and place - 1 <= calls.index(point) <= place + 3


def first(_, point):
    """The first call of its operation."""
    return point.ordinal == 1


def change_or_start(kind, point):
    """A call that changes something, or the first that reads."""
    return change(kind, point) or start(kind, point)


def change_or_start_but_not_the_call(kind, point):
    """As `change_or_start`, without the calls that start work: see `test_hung_in_the_call`."""
    return change_or_start(kind, point) and point.operation not in STARTS


def test_all_backends_are_in_the_table():
    assert len({kind.name for kind in BACKENDS}) == 7


@pytest.mark.parametrize("kind", row("clean"))
def test_clean(world, make_backend, kind):
    """Nothing goes wrong; and the calls at which the rows below strike are made, in their order."""
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
    """A real process, and a real SIGKILL after the call that starts the work."""
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
    """The process hangs at a call, is given up, later tries do the work, and then it goes on."""
    world.faults = [Fault(point, fault)]
    run = Run(world, make_backend(kind))
    outcome = run.run()
    assert world.faults[0].met
    run.resume_all()
    run.check(outcome)


@pytest.mark.parametrize("kind", row("hung_in_the_call"))
def test_hung_in_the_call(world, make_backend, kind):
    """The call that starts the work leaves a process whose claim was given up minutes ago.

    Nothing can keep it from taking effect: the calls have no client token, or one for each submission. What it has
    started is ended as soon as the process goes on.
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
def test_hung_and_resumed_while_its_successor_waits(world, make_backend, kind, point, fault):
    """The process that was given up receives SIGTERM and goes on while the work of its successor runs, and goes on."""
    world.faults = [Fault(point, fault)]
    backend = make_backend(kind)
    backend.hold()
    run = Run(world, backend)

    def zombies_end():
        if run.hung() and backend.held():
            backend.begun()
            run.terminate_hung()
            run.resume_all()
            run.until_alone()
        backend.release()

    run.work.before_wait = zombies_end
    outcome = run.run()
    run.check(outcome)
    if (point, fault) != (Point(kind.start), "hang_before"):  # there, it starts something that is then ended
        assert set(backend.noted("begin").values()) == {1}, backend.noted("begin")


@pytest.mark.parametrize("kind", row("two_tries"))
def test_two_tries_at_once(world, make_backend, kind):
    """Two workers have the same task: one claims, the other one adopts."""
    backend = make_backend(kind)
    run, other = Run(world, backend), Run(world, backend)
    run.until_work()
    other.work.try_number = 2
    outcomes = at_once(run.work.run, other.work.run)
    run.after_work()
    for outcome in outcomes:
        run.check(outcome)


# Calls


@pytest.mark.parametrize(("kind", "point", "fault"), at_calls("lost_answer", lose_before=change, lose_after=change))
def test_lost_answer(world, make_backend, kind, point, fault):
    """The call took effect or not; its caller does not hear of it."""
    world.faults = [Fault(point, fault)]
    run = Run(world, make_backend(kind))
    run.check(run.run())
    assert world.faults[0].met


@pytest.mark.parametrize(("kind", "point", "fault"), at_calls("throttled", throttle=first, broken=first))
def test_throttled_or_broken(world, make_backend, kind, point, fault):
    """AWS is busy, or answers 5xx, beyond what botocore makes good."""
    world.faults = [Fault(point, fault, times=2)]
    run = Run(world, make_backend(kind))
    run.check(run.run())


@pytest.mark.parametrize(
    ("kind", "point", "fault"),
    at_calls("refused", refuse=lambda kind, point: first(kind, point) or around_start(kind, point)),
)
def test_refused_once(world, make_backend, kind, point, fault):
    """A single 403: either it is made good, or the user reads of it, and a clear does the rest."""
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
    """AWS does not show the work for some time, to the same try or, where the worker was killed, to the next."""
    world.hidden_for = seconds
    backend = make_backend(kind)
    world.faults = kill_at_start(backend, killed)
    run = Run(world, backend)
    run.check(run.run())
    assert not world.missed(), world.missed()


@pytest.mark.parametrize(("kind", "killed"), row("hidden_forever", (None,), ("handle",)))
def test_never_visible(world, make_backend, kind, killed):
    """It is waited for, then the user hears of it; no other work is started instead."""
    world.hidden_for = FOREVER
    backend = make_backend(kind)
    world.faults = kill_at_start(backend, killed)
    run = Run(world, backend, retries=1)
    outcome = run.run()
    assert "failed" == outcome.state
    assert re.search(LOST, outcome.message), outcome.message
    assert 1 == world.count(backend.start)


def kill_at_start(backend, when):
    """Kill the worker after the call that starts the work (its answer is lost), or after its handle is recorded."""
    if when is None:
        return []
    if when == "answer":
        return [Fault(Point(backend.start), "kill_after")]
    calls = points(type(backend))
    later = calls[calls.index(Point(backend.start)) + 1 :]
    return [Fault(next(one for one in later if one.operation == "PutObject"), "kill_after")]


# What users do


@pytest.mark.parametrize("kind", row("run_again"))
def test_run_again_does_nothing(world, make_backend, kind):
    """A second run of the same date ends with the XCom of the first."""
    backend = make_backend(kind)
    first, second = Run(world, backend), Run(world, backend, run_id="again")
    first.check(first.run())
    second.check(second.run())
    assert first.value == second.value


@pytest.mark.parametrize("kind", row("rerun"))
def test_rerun(world, make_backend, kind):
    """A run that names the job runs all of it once more."""
    backend = make_backend(kind)
    first, second = Run(world, backend), Run(world, backend, run_id="again", conf={"rerun": ["work"]})
    first.check(first.run())
    second.check(second.run(), times=2)


@pytest.mark.parametrize("kind", row("rerun_midway"))
def test_rerun_while_the_first_run_is_under_way(world, make_backend, kind):
    """What runs is stopped first; nothing of it counts."""
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
    """The work is stopped, by the trigger or, where that had not begun, by the next try, which does what is left."""
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
    """Nothing is left running; a clear does what is left."""
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
    assert not backend.noted("end")
    backend.release()
    run.check(run.run_again())


@pytest.mark.parametrize(
    ("kind", "point", "fault"), at_calls("sigterm", hang_before=around_start, hang_after=around_start)
)
def test_killed_by_a_user_while_it_works(world, make_backend, kind, point, fault):
    """SIGTERM at a call, as when a running task is marked: nothing is left running, and a clear does the rest."""
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
    """The clear comes before the trigger has seen the end: what has succeeded stays done."""
    backend = make_backend(kind)
    run = Run(world, backend)
    run.until_work()
    run.work.begin()
    run.settle()
    assert backend.noted("end")
    run.work.clear()
    outcome = run.work.run()
    run.after_work()
    run.check(outcome)


@pytest.mark.parametrize(("kind", "crash"), row("deleted", ("no_crash",), ("crash",)))
def test_deleted_and_triggered_again(world, make_backend, kind, crash):
    """Another run of the same date goes on with what runs; a crash of it is none of the old run's clears."""
    backend = make_backend(kind)
    backend.hold()
    first = Run(world, backend, run_id="first", retries=5)
    first.until_work()
    first.work.begin()
    backend.begun()
    first.work.try_number = 2
    first.work.begin()  # a crash: the second try waits now
    second = Run(world, backend, run_id="second", retries=1)
    second.until_work()
    second.work.begin()
    stops = world.count(*backend.stops)
    if crash == "crash":
        second.work.try_number = 2
        second.work.begin()
    assert stops == world.count(*backend.stops)
    backend.release()
    outcome = second.work.go_on()
    second.after_work()
    second.check(outcome)


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
    """A call of the ledger once the task has started work: no claim, and nothing of the tasks that share a cluster."""
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
    """A service is out of reach from a call on: the task waits it out, without a retry of the task."""
    world.outage_at = (point, *OUTAGES[outage])
    run = Run(world, make_backend(kind), retries=0)
    outcome = run.run()
    assert world.outage is not None
    run.check(outcome)
