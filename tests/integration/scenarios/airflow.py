"""A task as Airflow runs it: workers, triggerers, retries, clears and marks. Each process may die or hang."""

from __future__ import annotations

import contextvars
import threading
from dataclasses import dataclass
from datetime import datetime, timezone

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from tests.integration.scenarios.faults import HungError, KilledError, Process
from tests.integration.task_engine import Task

#: Seconds without a heartbeat after which Airflow gives up a worker. It gives up a triggerer sooner.
HEARTBEAT = 400.0
#: Maximum real seconds of a step of a scenario.
PATIENCE = 50.0


@dataclass(frozen=True)
class Outcome:
    """How a task has ended."""

    state: str
    """`success`, `failed`, or `killed`."""
    value: object = None
    """Return value of the task."""
    message: str = ""
    """Reason of a failure."""
    tries: int = 1


class TaskInstance:
    """One task of one run.

    Args:
        world: AWS as seen by its processes.
        make: creates its operator; called for each process.
        run_id: id of the run.
        retries: retries of the task; None: those of the operator.
        conf: conf of the run.
    """

    def __init__(self, world, make, *, run_id="manual", retries=3, conf=None):
        sample = make()
        self.world, self.retries = world, sample.retries if retries is None else retries
        self.delay = sample.retry_delay.total_seconds()
        self.operators = []
        self.task = Task(lambda: self._made(make), run_id=run_id, conf=conf)
        self.try_number, self.max_tries = 1, self.retries
        self.trigger = None
        """Trigger of the current deferral."""
        self.running = False
        """Whether a worker that Airflow has not given up executes the task."""
        self.hung = []
        """Processes that were given up, with their threads."""
        self.before_wait = lambda: None
        """Called after a deferral, before a triggerer starts."""

    def _made(self, make):
        operator = make()
        operator.process = self.world.current()
        operator.running_in_airflow = lambda: self.running
        self.operators.append(operator)
        return operator

    def run(self):
        """Run tries until the task has ended."""
        while True:
            outcome = self.one_try()
            if outcome.state != "killed":
                return outcome
            self.try_number += 1

    def one_try(self):
        """Run one try. Its state is `killed` if its worker was lost or if it will be retried."""
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
        """Execute until the first deferral. Returns the trigger, or the task's return value."""
        return self.work(None)

    def work(self, event):
        """Execute or resume the task in a worker. Returns the trigger of its deferral, or its return value."""
        if event is None:
            self.task.started = datetime.fromtimestamp(self.world.clock.time(), timezone.utc)
        who = {"try_number": self.try_number, "clears": self.max_tries}
        self.running = True
        try:
            step = self.in_process(f"worker of try {self.try_number}", lambda: self.task.begin(event, **who))
        finally:
            self.running = False
        self.trigger = step if hasattr(step, "run") else None
        return step

    def wait(self):
        """Run the task's trigger in triggerers until it fires. Returns the event."""
        while True:
            path, arguments = type(self.trigger), self.trigger.arguments()
            try:
                return self.in_process("triggerer", lambda: self._fire(path(**arguments)))  # noqa: B023 - called now
            except (KilledError, HungError):
                continue  # the next triggerer runs the trigger

    def _finish(self, event):
        step = self.work(event)
        while self.trigger is not None:
            self.before_wait()
            step = self.work(self.wait())
        return step

    def finish_deferred(self):
        """Continue from the deferral to the end of the task, including retries."""
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

    # User actions

    def clear(self, *, killed=True):
        """Clear the task. With `killed`, `on_kill` of its trigger is called, as for a running trigger."""
        trigger, self.trigger = self.trigger, None
        self.max_tries = self.try_number + self.retries
        self.try_number += 1
        if trigger is not None and killed:
            self.stop(trigger, "scheduled")

    def mark(self, state):
        """Mark the deferred task as failed or succeeded."""
        trigger, self.trigger = self.trigger, None
        self.stop(trigger, state)

    def stop(self, trigger, state):
        """Cancel a trigger in the triggerer while the task has `state` in Airflow's database."""
        trigger._task_state = lambda: state
        self.in_process("triggerer", lambda: self.world.clock.run(trigger.on_kill()))

    # Processes

    def in_process(self, name, work):
        """Run a function in its own process. Raises KilledError or HungError if the process dies or hangs."""
        process, result = Process(name), []

        def run():
            self.world.enter(process)
            try:
                result.append((work(), None))
            except BaseException as error:  # noqa: BLE001 - raised again by the waiting thread
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
        """Send SIGTERM to the hung workers: Airflow calls their `on_kill`."""
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
            assert not thread.is_alive(), f"{thread.name} did not end"


async def _payload(trigger):
    async for event in trigger.run():
        return event.payload


def concurrently(*works):
    """Call several functions at the same time. Returns their results."""
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
