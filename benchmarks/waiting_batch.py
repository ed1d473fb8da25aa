"""Measure the calls, memory and longest stall of the event loop for 1,000 deferred Batch jobs in one triggerer.

For comparison, the amazon provider's trigger runs on the same local AWS. It needs aiobotocore, which requires another
boto3 version: pass a Python with `apache-airflow-providers-amazon[aiobotocore]` as `--peer`.

    python benchmarks/waiting_batch.py [--jobs 1000] [--seconds 60] [--peer PYTHON]

Target: at most 10 DescribeJobs calls per interval (2.5 s at first, longer while nothing changes), at most 30 MB above
the idle process, no stall above 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Seconds between two wake-ups of the loop. A stall is the delay of a wake-up.
BEAT = 0.01
#: Default poll interval of the amazon provider's operators, in seconds.
PEER_INTERVAL = 30
#: Number of triggers that Airflow's triggerer claims at once.
CLAIMED = 50


def resident() -> float:
    """Return the current memory of this process, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def pulse(stalls: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT)
        stalls.append(time.perf_counter() - before - BEAT)


def ours(ids: list[str]) -> list:
    # Imported before the memory is measured: the peer's trigger imports it at once, ours with the first client
    from airflow.providers.amazon.aws.hooks import base_aws  # noqa: F401

    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.triggers.batch import BatchJobsTrigger

    return [
        BatchJobsTrigger(
            jobs={job_id: "0"},
            identity=JobIdentity("s3://state/ledger", "dag", "key", f"job{number}", "run", "task").values(),
            submissions=[1],
            aws_conn_id=None,
        )
        for number, job_id in enumerate(ids)
    ]


def peer(ids: list[str]) -> list:
    from airflow.providers.amazon.aws.triggers.batch import BatchJobTrigger

    return [
        BatchJobTrigger(job_id=job_id, region_name="us-east-1", aws_conn_id=None, waiter_delay=PEER_INTERVAL)
        for job_id in ids
    ]


async def wait(triggers: list, seconds: float) -> dict[str, float]:
    async def run(trigger: Any) -> None:
        async for _ in trigger.run():
            raise SystemExit(f"a job that should still run has ended: {_}")

    stalls: list[float] = []
    before = resident()
    beat = asyncio.create_task(pulse(stalls))
    waits = []
    for start in range(0, len(triggers), CLAIMED):  # like the triggerer
        waits += [asyncio.create_task(run(trigger)) for trigger in triggers[start : start + CLAIMED]]
        await asyncio.sleep(0.2)
    await asyncio.sleep(seconds)
    ended = [task for task in waits if task.done()]
    if ended:
        ended[0].result()
    figures = {"memory": resident() - before, "stall": max(stalls) * 1000, "late": sorted(stalls)[-20] * 1000}
    for task in [*waits, beat]:
        task.cancel()
    await asyncio.gather(*waits, beat, return_exceptions=True)
    return figures


def child(who: str, seconds: float, path: str) -> None:
    """Run the process that takes the place of the triggerer. Its memory is measured after its imports."""
    triggers = {"ours": ours, "peer": peer}[who](json.loads(Path(path).read_text()))
    print(json.dumps(asyncio.run(wait(triggers, seconds))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--peer")
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.seconds, options.child[1])
        return
    from airflow_batchemr.local import LocalAWS

    print(
        f"python {platform.python_version()}, {os.cpu_count()} cores; {options.jobs} jobs, {options.seconds:.0f} s each"
    )
    with tempfile.TemporaryDirectory() as folder, LocalAWS(root=Path(folder) / "aws", slots=1) as aws:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **aws.environment(),
            "AIRFLOW_HOME": f"{folder}/airflow",
        }
        batch = aws.client("batch")
        definition = batch.register_job_definition(
            jobDefinitionName="held",
            type="container",
            containerProperties={
                "image": "busybox",
                "command": ["sleep", "3600"],
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
            },
        )["jobDefinitionArn"]
        ids = [
            batch.submit_job(jobName=f"held-{number}", jobQueue="default", jobDefinition=definition)["jobId"]
            for number in range(options.jobs)
        ]
        listed = Path(folder) / "ids.json"
        listed.write_text(json.dumps(ids))
        print(f"{'':34} {'DescribeJobs':>12} {'other calls':>11} {'MB':>6} {'longest stall, ms':>18} {'20th':>6}")
        runs = [("ours", sys.executable)] + ([("peer", options.peer)] if options.peer else [])
        for who, python in runs:
            aws.reset_requests()
            answer = subprocess.run(
                [python, __file__, "--seconds", str(options.seconds), "--child", who, str(listed)],
                env=environment,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            figures = json.loads(answer.stdout.splitlines()[-1])
            requests = aws.requests()
            described = requests.pop("DescribeJobs", 0)
            name = {"ours": "airflow-batchemr", "peer": "amazon provider, BatchJobTrigger"}[who]
            print(
                f"{name:34} {described:>12} {sum(requests.values()):>11} {figures['memory']:>6.1f} "
                f"{figures['stall']:>18.0f} {figures['late']:>6.0f}"
            )
        if not options.peer:
            print("not compared with the amazon provider: pass --peer")


if __name__ == "__main__":
    main()
