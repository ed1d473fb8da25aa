"""A task as Airflow runs it: workers, triggerers, retries, clears and marks, each in a process that may die or hang."""

from __future__ import annotations

import contextvars
import threading
from dataclasses import dataclass
from datetime import datetime, timezone

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from tests.integration.scenarios.faults import HungError, KilledError, Process
from tests.integration.task_engine import Task

#: Seconds without a heartbeat after which Airflow gives a worker up. A triggerer is given up sooner.
HEARTBEAT = 400.0
#: Real seconds that a step of a scenario may take.
PATIENCE = 50.0


@dataclass(frozen=True)
class Outcome:
    """How a task has ended for its user."""

    state: str
    """`success`, `failed`, or `killed`."""
    value: object = None
    """What it returned."""
    message: str = ""
    """Why it failed."""
    tries: int = 1


class TaskInstance:
    """One task of one run.

    Args:
        world: what its processes see.
        make: makes its operator, anew for each process.
        run_id: of the run.
        retries: of the task; None: as the operator has them.
        conf: of the run.
    """

    def __init__(self, world, make, *, run_id="manual", retries=3, conf=None):
        sample = make()
        self.world, self.retries = world, sample.retries if retries is None else retries
        self.delay = sample.retry_delay.total_seconds()
        self.operators = []
        self.task = Task(lambda: self._made(make), run_id=run_id, conf=conf)
        self.try_number, self.max_tries = 1, self.retries
        self.trigger = None
        """That of its present wait."""
        self.hung = []
        """Processes that were given up, with what they do when they are resumed."""
        self.before_wait = lambda: None
        """Called when the task has been deferred, before a triggerer begins."""

    def _made(self, make):
        operator = make()
        operator.process = self.world.current()
        self.operators.append(operator)
        return operator

    def run(self):
        """All tries, until the task has ended."""
        while True:
            outcome = self.one_try()
            if outcome.state != "killed":
                return outcome
            self.try_number += 1

    def one_try(self):
        """A try to its end. One that was lost with its worker is `killed`, as is one that is to be retried."""
        try:
            return Outcome("success", self._finish(None), tries=self.try_number)
        except (KilledError, HungError):
            return Outcome("killed", tries=self.try_number)
        except AirflowFailException as error:
            return Outcome("failed", message=str(error), tries=self.try_number)
        except AirflowException as error:
            state = "failed"
            if self.try_number <= self.max_tries:
                state = "killed"
                self.world.clock.skip(self.delay)
            return Outcome(state, message=str(error), tries=self.try_number)

    def begin(self):
        """Work until the first deferral; gives the trigger, or what the task returned."""
        return self.work(None)

    def work(self, event):
        """A worker takes the task up; gives the trigger of its deferral, or what it returned."""
        if event is None:
            self.task.started = datetime.fromtimestamp(self.world.clock.time(), timezone.utc)
        who = {"try_number": self.try_number, "clears": self.max_tries}
        step = self.in_process(f"worker of try {self.try_number}", lambda: self.task.begin(event, **who))
        self.trigger = step if hasattr(step, "run") else None
        return step

    def wait(self):
        """Triggerers run the trigger of the task until it fires; gives the event."""
        while True:
            path, arguments = type(self.trigger), self.trigger.arguments()
            try:
                return self.in_process("triggerer", lambda: self._fire(path(**arguments)))  # noqa: B023 - called now
            except (KilledError, HungError):
                continue  # the next triggerer has the trigger

    def _finish(self, event):
        step = self.work(event)
        while self.trigger is not None:
            self.before_wait()
            step = self.work(self.wait())
        return step

    def go_on(self):
        """From the wait on, to the end of the try and all that follow."""
        try:
            step = None
            while self.trigger is not None:
                step = self.work(self.wait())
            return Outcome("success", step, tries=self.try_number)
        except AirflowException as error:
            if isinstance(error, AirflowFailException) or self.try_number > self.max_tries:
                return Outcome("failed", message=str(error), tries=self.try_number)
        except (KilledError, HungError):
            pass
        self.try_number += 1
        return self.run()

    def _fire(self, trigger):
        return self.world.clock.run(_payload(trigger))

    # What a user does

    def clear(self, *, killed=True):
        """Clear the task; `killed`: its trigger hears of it, as a trigger does that is running."""
        trigger, self.trigger = self.trigger, None
        self.max_tries = self.try_number + self.retries
        self.try_number += 1
        if trigger is not None and killed:
            self.stop(trigger, "scheduled")

    def mark(self, state):
        """Mark the task as failed or succeeded while it waits."""
        trigger, self.trigger = self.trigger, None
        self.stop(trigger, state)

    def stop(self, trigger, state):
        """The triggerer takes a trigger away, while Airflow's database has the task in `state`."""
        trigger._task_state = lambda: state
        self.in_process("triggerer", lambda: self.world.clock.run(trigger.on_kill()))

    # Processes

    def in_process(self, name, work):
        """Do something in a process of its own; raises KilledError or HungError where that does not end."""
        process, result = Process(name), []

        def run():
            self.world.enter(process)
            try:
                result.append((work(), None))
            except BaseException as error:  # noqa: BLE001 - it is raised again by whoever waits
                result.append((None, error))
            process.ended = True
            process.changed.set()

        thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name=name, daemon=True)
        thread.start()
        assert process.changed.wait(PATIENCE), f"{name} neither ended nor died nor hung"
        if process.dead:
            raise KilledError
        if process.hung and not process.ended:
            self.hung.append((process, thread))
            self.world.clock.skip(HEARTBEAT)
            raise HungError
        value, error = result[0]
        if error is not None:
            raise error
        return value

    def terminate_hung(self):
        """Send SIGTERM to the workers that hang: Airflow calls `on_kill` in them."""
        for process, _ in self.hung:
            for operator in self.operators:
                if operator.process is process:
                    self.world.enter(process)
                    operator.on_kill()
                    self.world.enter(None)

    def resumed(self):
        """Wait for the processes that were given up and have been resumed."""
        for _, thread in self.hung:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} does not end"


async def _payload(trigger):
    async for event in trigger.run():
        return event.payload


def at_once(*works):
    """Do several things at the same time; gives what they return."""
    results = [None] * len(works)

    def run(number, work):
        results[number] = work()

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return results
