"""One run of a pipeline of one backend, with faults, and what has to be true of it afterwards."""

from __future__ import annotations

import time
from collections import Counter

from airflow_batchemr.ledger import Ledger
from tests.integration.scenarios.airflow import Outcome, TaskInstance

#: Real seconds in which AWS ends what it was asked to end.
ENDING = 10.0


class Run:
    """A run of the pipeline.

    Args:
        world: what its processes see.
        backend: its work.
        run_id: of the run.
        conf: of the run.
        retries: of its tasks, but for the teardown, which has its own.
        watch: whether to look at what is alive.
    """

    def __init__(self, world, backend, *, run_id="manual", conf=None, retries=3, watch=True):
        self.world, self.backend = world, backend
        self.overlaps = []
        """Work that was alive when more was started."""
        self.tasks = {
            name: TaskInstance(world, make, run_id=run_id, conf=conf, retries=None if name == "down" else retries)
            for name, make in backend.stages().items()
        }
        if watch:
            world.at_start = self._look_for_overlaps
            for task in self.tasks.values():
                task.before_wait = self.settle  # or the number of looks would depend on how fast this machine is

    @property
    def work(self):
        """The task that has the units."""
        return self.tasks["work"]

    def _look_for_overlaps(self, operation):
        if operation == self.backend.start and (alive := self.backend.alive()):
            self.overlaps.append(alive)

    def run(self):
        """All tasks as a scheduler runs them: a failure skips what follows, but for the teardown. Gives the worst."""
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
        """Clear what has failed or was skipped, and run it."""
        for task in self.tasks.values():
            task.trigger = None
            task.clear()
        return self.run()

    def until_work(self):
        """Run what comes before the work."""
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
        raise AssertionError("nothing hangs")

    def hung(self):
        """Whether a process hangs."""
        return any(task.hung for task in self.tasks.values())

    def terminate_hung(self):
        """Send SIGTERM to the workers that hang."""
        for task in self.tasks.values():
            task.terminate_hung()

    def settle(self):
        """Wait until AWS has nothing to do, unless commands are held."""
        end = time.monotonic() + ENDING
        while not self.backend.held() and self.backend.working():
            assert time.monotonic() < end, "the work does not end"
            time.sleep(0.01)

    def releasing_once_ended(self):
        """Gives what lets commands go on once all that AWS carries out now has ended: nothing of it is to succeed."""
        old = set(self.backend.working())

        def release():
            end = time.monotonic() + ENDING
            while old.intersection(self.backend.working()):
                assert time.monotonic() < end, "the work is not stopped"
                time.sleep(0.01)
            self.backend.release()

        return release

    def resume_all(self):
        """Let all that hangs go on, to its end."""
        self.world.resume()
        for task in self.tasks.values():
            task.resumed()

    def alive(self):
        """What is still alive once AWS has had the time to end it."""
        end = time.monotonic() + ENDING
        while (alive := self.backend.alive()) and time.monotonic() < end:
            time.sleep(0.02)
        return alive

    def until_alone(self):
        """Wait until AWS has ended what a resumed process started: at most the work of its successor is alive."""
        end = time.monotonic() + ENDING
        while len(self.backend.alive()) > 1 and time.monotonic() < end:
            time.sleep(0.02)

    def marker(self):
        """The marker of the work."""
        identity = Ledger(self.backend.aws.client("s3"), self.backend.state)
        return identity.job("dag", "2026-11-20T000000Z", "work").read().marker

    def check(self, outcome, *, times=1):
        """Each unit has succeeded `times` times, and nothing is left.

        All errors are reported at once.
        """
        wrong = []
        if outcome.state != "success":
            wrong.append(f"the run is {outcome.state}: {outcome.message}")
        ended = self.backend.noted("end")
        if ended != Counter(dict.fromkeys(self.backend.units, times)):
            wrong.append(f"units that succeeded: {dict(ended)}")
        wrong += self.problems()
        if self.marker() is None:
            wrong.append("there is no marker")
        assert not wrong, "; ".join(wrong)

    def problems(self):
        """What may never be, however a run ends."""
        wrong = [f"work was started while {alive} was alive" for alive in self.overlaps]
        if alive := self.alive():
            wrong.append(f"left running: {alive}")
        return wrong
