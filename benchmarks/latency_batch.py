"""Measure the time from the end of a Batch job to the success of its task, in a real Airflow with default settings.

    python benchmarks/latency_batch.py [--jobs 15] [--seconds 10]

Target: a median of at most 8 s for jobs of 10 s.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from demo.airflow import NO_SCHEDULES, Airflow
from demo.aws import LocalAws

#: Airflow's defaults for settings that the demo shortens.
DEFAULTS = {
    **NO_SCHEDULES,
    "AIRFLOW__CORE__PARALLELISM": "32",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "300",
}
FILE = """\
defaults: {{start_date: 2026-11-01}}
held: {{max_active_runs: 100, batch: {{queue: data, image: 'tools:1.0', command: sleep {seconds}}}}}
"""
CODE = "from airflow_batchemr import load_pipelines\n\nload_pipelines(globals(), __file__)  # airflow Dag\n"


def measure(airflow: Airflow, aws: LocalAws, jobs: int) -> list[float]:
    """Start runs at random times. Returns the seconds from the end of each job to the end of its task."""
    runs = []
    for number in range(jobs):
        runs.append(airflow.trigger("held", f"2026-11-02T00:{number:02d}:00Z"))
        time.sleep(random.uniform(2, 8))
    late = []
    for run in runs:
        state = airflow.wait_for_run("held", run)
        if state != "success":
            raise SystemExit(f"{run}: {state}\n{airflow.log('held', run, 'held')}")
    ended = {}
    for job_id in aws.jobs("held"):
        job = aws.job(job_id)
        ended[job["tags"]["batchemr:run_key"]] = job["stoppedAt"] / 1000
    for number, run in enumerate(runs):
        task = airflow.tasks("held", run)["held"]
        end = datetime.fromisoformat(task["end_date"].replace("Z", "+00:00")).timestamp()
        late.append(end - ended[f"2026-11-02T00{number:02d}00Z"])
    return late


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("aws", "dags", "airflow"):
            (folder / part).mkdir()
        (folder / "dags" / "held.yaml").write_text(FILE.format(seconds=options.seconds))
        (folder / "dags" / "held.py").write_text(CODE)
        aws = LocalAws(folder / "aws", [], slots=options.jobs)
        try:
            aws.start()
            airflow = Airflow(folder / "airflow", folder / "dags", aws, DEFAULTS)
            try:
                airflow.launch()
                airflow.wait_until_healthy()
                airflow.wait_for_dags(["held"])
                airflow.unpause("held")
                late = measure(airflow, aws, options.jobs)
            finally:
                airflow.stop()
        finally:
            aws.stop()
    print(f"python {platform.python_version()}, {os.cpu_count()} cores; load {os.getloadavg()[1]:.1f} over 5 minutes")
    print(
        f"{len(late)} jobs of {options.seconds} s, job ended -> task success: median {statistics.median(late):.1f} s, "
        f"shortest {min(late):.1f} s, longest {max(late):.1f} s"
    )


if __name__ == "__main__":
    main()
