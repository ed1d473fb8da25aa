"""Measure how soon after a deferral a trigger may fire on a busy machine.

    python benchmarks/deferral_race.py [--burners 12] [--copies 6] [--delays 0 1 2 3 5 8 12 20] [--heartbeat 5]
                                       [--hold 0]

Starts `airflow standalone` (SQLite, LocalExecutor) and processes that only use CPU. Each task has no retries and defers
once, to a trigger that fires after a given number of seconds. For each delay, the script prints how many tasks the
scheduler failed with "finished with state success, but the task instance's state attribute is …". It also prints how
long after each deferral the scheduler processed the worker's exit: the window in which an event is unsafe. With
`--hold 20`, the triggers delay their events as those of this package do by default; then no task must fail.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from demo.airflow import FINISHED, Airflow, AirflowError

DAG = "deferral_race"
#: Airflow's default idle sleep time, which the demo shortens, and a higher parallelism.
SETTINGS = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__CORE__PARALLELISM": "16",
}
CODE = """
import datetime, time
from airflow.sdk import DAG, BaseOperator
from held import HeldTrigger

class Defer(BaseOperator):
    def __init__(self, *, delay, journal, **kwargs):
        super().__init__(**kwargs)
        self.delay = delay
        self.journal = journal

    def execute(self, context):
        now = time.time()
        with open(self.journal, "a") as file:
            file.write(f"{self.task_id} {now}\\n")
        moment = datetime.datetime.fromtimestamp(now + self.delay, datetime.timezone.utc)
        self.defer(trigger=HeldTrigger(moment=moment, deferred_at=now), method_name="resume")

    def resume(self, context, event=None):
        return None

with DAG("deferral_race", schedule=None, max_active_tasks=200) as dag:
    for delay in DELAYS:
        for copy in range(COPIES):
            Defer(task_id=f"delay_{delay}_{copy}", delay=delay, journal=JOURNAL, retries=0)
"""
TRIGGER = """
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow_batchemr.triggers.hold import hold_event

class HeldTrigger(DateTimeTrigger):
    def __init__(self, *, deferred_at, **kwargs):
        super().__init__(**kwargs)
        self.deferred_at = deferred_at

    def serialize(self):
        return "held.HeldTrigger", {**super().serialize()[1], "deferred_at": self.deferred_at}

    async def run(self):
        async for event in super().run():
            await hold_event(self, self.deferred_at)
            yield event
"""
FINISHED_LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT[\d:.]+Z?).*TaskInstance Finished: .*task_id=(delay_[^,]+),.* state=(\w+), executor="
)
MISMATCH_LINE = re.compile(r"task instance .*\.(delay_\S+) .*finished with state \w+, but .* attribute is (\w+)")


def burn() -> None:
    """Keep one core busy."""
    while True:
        sum(range(100_000))


def ended(airflow: Airflow, run_id: str) -> bool:
    """Whether the run has ended. At this load, SQLite sometimes times out."""
    try:
        return airflow.run(DAG, run_id)["state"] in FINISHED
    except AirflowError:
        return False


def windows(log: str, journal: Path) -> tuple[list[float], dict[str, str]]:
    """Return the seconds from each deferral to the processing of the worker's exit, and the states of failed tasks."""
    deferred = {task: float(moment) for task, moment in map(str.split, journal.read_text().splitlines())}
    first: dict[str, float] = {}
    mismatches: dict[str, str] = {}
    for line in re.sub(r"\x1b\[[\d;]*m", "", log).splitlines():
        if (found := FINISHED_LINE.search(line)) and found[2] in deferred:  # a worker can also fail before it defers
            moment = datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp()
            first.setdefault(found[2], moment - deferred[found[2]])
        elif found := MISMATCH_LINE.search(line):
            mismatches.setdefault(found[1], found[2])
    return sorted(first.values()), mismatches


def run(folder: Path, delays: list[float], copies: int, settings: dict[str, str]) -> None:
    """Run the tasks and print the results."""
    dags, journal = folder / "dags", folder / "journal"
    dags.mkdir()
    code = f"DELAYS, COPIES, JOURNAL = {delays!r}, {copies}, {str(journal)!r}\n{CODE}"
    (dags / "deferral_race.py").write_text(code)
    (dags / "held.py").write_text(TRIGGER)
    aws: Any = SimpleNamespace(
        state="s3://none/none",
        endpoint_url="http://127.0.0.1:1",
        environment=dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), "none"),
    )
    airflow = Airflow(folder / "airflow", dags, aws, {**SETTINGS, **settings, "PYTHONPATH": str(dags)})
    try:
        airflow.launch()
        airflow.wait_until_healthy(900)
        airflow.wait_for_dags([DAG], 900)
        airflow.unpause(DAG)
        started = time.time()
        run_id = airflow.trigger(DAG)
        airflow.wait(lambda: ended(airflow, run_id), "the run", timeout=1500, every=3)
        tasks = airflow.tasks(DAG, run_id)
        log = (airflow.home / "standalone.log").read_text(errors="replace")
    finally:
        airflow.stop()
    seen, mismatches = windows(log, journal)
    print(f"{len(tasks)} tasks in {time.time() - started:.0f} s, load {os.getloadavg()[0]:.0f}")
    for delay in delays:
        names = [f"delay_{delay}_{copy}" for copy in range(copies)]
        failed = [name for name in names if tasks[name]["state"] == "failed"]
        unfinished = sum(tasks[name]["state"] not in FINISHED for name in names)
        found = dict(Counter(mismatches.get(name, "not logged") for name in failed))
        print(f"event after {delay:g} s: {len(failed)} of {copies} failed {found or ''}, {unfinished} unfinished")
    if seen:
        cuts = statistics.quantiles(seen, n=100) if len(seen) > 1 else seen * 99
        print(
            json.dumps(
                {
                    "workers": len(seen),
                    **{f"p{p}": round(cuts[p - 1], 1) for p in (10, 50, 90, 99)},
                    "max": round(seen[-1], 1),
                }
            )
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--burners", type=int, default=12)
    parser.add_argument("--copies", type=int, default=6)
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 1, 2, 3, 5, 8, 12, 20])
    parser.add_argument(
        "--heartbeat", type=int, default=5, help="[workers] min_heartbeat_interval; Airflow's default is 5"
    )
    parser.add_argument("--hold", type=float, default=0, help="[batchemr] min_deferral")
    options = parser.parse_args()
    settings = {
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": str(options.heartbeat),
        "AIRFLOW__BATCHEMR__MIN_DEFERRAL": str(options.hold),
    }
    burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(options.burners)]
    with tempfile.TemporaryDirectory() as folder:
        for burner in burners:
            burner.start()
        try:
            run(Path(folder), options.delays, options.copies, settings)
        finally:
            for burner in burners:
                burner.kill()


if __name__ == "__main__":
    main()
