"""A run of a backend's pipeline with faults, and the conditions that must hold afterwards."""

from __future__ import annotations

import time
from collections import Counter

from airflow_batchemr.ledger import Ledger
from tests.integration.scenarios.airflow import Outcome, TaskInstance

#: Real seconds that AWS has to end work that was stopped.
ENDING = 10.0


class Run:
    """A run of the pipeline.

    Args:
        world: AWS as seen by its processes.
        backend: kind of its work.
        run_id: id of the run.
        conf: conf of the run.
        retries: retries of its tasks, except the teardown, which sets its own.
        watch: whether to check for overlapping work.
    """

    def __init__(self, world, backend, *, run_id="manual", conf=None, retries=3, watch=True):
        self.world, self.backend = world, backend
        self.overlaps = []
        """Work that was active when more was started."""
        self.tasks = {
            name: TaskInstance(world, make, run_id=run_id, conf=conf, retries=None if name == "down" else retries)
            for name, make in backend.stages().items()
        }
        if watch:
            world.at_start = self._look_for_overlaps
            for task in self.tasks.values():
                task.before_wait = self.settle  # else the number of polls depends on the machine's speed

    @property
    def work(self):
        """The task whose units are counted."""
        return self.tasks["work"]

    def _look_for_overlaps(self, operation):
        if operation == self.backend.start and (alive := self.backend.alive()):
            self.overlaps.append(alive)

    def run(self):
        """Run all tasks like a scheduler: after a failure, only the teardown runs. Returns the worst outcome."""
        worst = Outcome("success")
        for name, task in self.tasks.items():
            if worst.state != "success" and name != "down":
                continue
            outcome = task.run()
            if outcome.state != "success":
                worst = outcome
            elif worst.state == "success" and name == "work":
                self.value = outcome.value
        return worst

    def run_again(self):
        """Clear all tasks and run them."""
        for task in self.tasks.values():
            task.trigger = None
            task.clear()
        return self.run()

    def until_work(self):
        """Run the tasks before the work."""
        for name, task in self.tasks.items():
            if name == "work":
                return
            assert "success" == task.run().state

    def after_work(self):
        """Run the teardown."""
        if "down" in self.tasks:
            assert "success" == self.tasks["down"].run().state

    def until_hung(self):
        """Run until a process hangs, and give it up."""
        for task in self.tasks.values():
            while not task.hung:
                outcome = task.one_try()
                if outcome.state == "success":
                    break
            else:
                return
        raise AssertionError("no process hangs")

    def hung(self):
        """Whether a process hangs."""
        return any(task.hung for task in self.tasks.values())

    def terminate_hung(self):
        """Send SIGTERM to the hung workers."""
        for task in self.tasks.values():
            task.terminate_hung()

    def settle(self):
        """Wait until AWS executes nothing, unless commands are held."""
        end = time.monotonic() + ENDING
        while not self.backend.held() and self.backend.working():
            assert time.monotonic() < end, "the work did not end"
            time.sleep(0.01)

    def releasing_once_ended(self):
        """Return a function that releases the commands once all current work has ended, so that none of it succeeds."""
        old = set(self.backend.working())

        def release():
            end = time.monotonic() + ENDING
            while old.intersection(self.backend.working()):
                assert time.monotonic() < end, "the work was not stopped"
                time.sleep(0.01)
            self.backend.release()

        return release

    def resume_all(self):
        """Resume all hung processes and wait for their end."""
        self.world.resume()
        for task in self.tasks.values():
            task.resumed()

    def alive(self):
        """Return the work that is still active after AWS had time to end it."""
        end = time.monotonic() + ENDING
        while (alive := self.backend.alive() + self.backend.ending()) and time.monotonic() < end:
            time.sleep(0.02)
        return alive

    def until_alone(self):
        """Wait until AWS has ended the work of a resumed process: at most the work of its successor remains."""
        end = time.monotonic() + ENDING
        while len(self.backend.alive()) > 1 and time.monotonic() < end:
            time.sleep(0.02)

    def marker(self):
        """Return the marker of the work."""
        identity = Ledger(self.backend.aws.client("s3"), self.backend.state)
        return identity.job("dag", "2026-11-20T000000Z", "work").read().marker

    def check(self, outcome, *, times=1):
        """Check that each unit has succeeded `times` times, and that nothing is left running.

        All errors are reported at once.
        """
        wrong = []
        if outcome.state != "success":
            wrong.append(f"the run is {outcome.state}: {outcome.message}")
        ended = self.backend.recorded("end")
        if ended != Counter(dict.fromkeys(self.backend.units, times)):
            wrong.append(f"units that succeeded: {dict(ended)}")
        wrong += self.problems()
        if self.marker() is None:
            wrong.append("there is no marker")
        assert not wrong, "; ".join(wrong)

    def problems(self):
        """Return violations of the conditions that hold however a run ends."""
        wrong = [f"work was started while {alive} was alive" for alive in self.overlaps]
        if alive := self.alive():
            wrong.append(f"left running: {alive}")
        return wrong
