"""Plan, claim, submit and record an array of 100,000 indices in ten SubmitJob calls. Measure time, memory and calls.

    python benchmarks/array_submit_batch.py [--size 100000]

Target: at most 60 s with the local AWS, at most 150 MB above the idle worker.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def resident(field: str = "VmRSS") -> float:
    """Return the current (VmRSS) or peak (VmHWM) memory of this process, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def worker(size: int) -> None:
    """Run the worker process. Its memory is measured after all imports, with all clients created."""
    from airflow_batchemr.aws.batch.backend import BatchBackend
    from airflow_batchemr.aws.remote_work import AnyRemoteWork
    from airflow_batchemr.connections import connection_clients
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.engine.loop import Engine
    from airflow_batchemr.ledger import Ledger
    from airflow_batchemr.operators.batch import BatchArrayOperator  # noqa: F401 - a worker imports it
    from airflow_batchemr.pipeline_file.models import Batch

    clients = connection_clients(None, "us-east-1")
    identity = JobIdentity("s3://state/ledger", "dag", "2026-11-20T000000Z", "job", "run", "job")
    ledger = Ledger(clients.s3, identity.state).job(identity.dag_id, identity.run_key, identity.job)
    clients.batch.describe_job_queues(jobQueues=["default"])
    options = Batch(queue="default", image="busybox", command=["true"])
    backend = BatchBackend(options=options, size=size, clients=clients, ledger=ledger, identity=identity)
    engine = Engine(backend, AnyRemoteWork(clients, ledger, identity), ledger, identity)

    idle = resident()
    started = time.perf_counter()
    outcome = engine.run(ledger.read(), None)
    seconds = time.perf_counter() - started
    jobs = outcome.waits[0].handle.jobs
    print(json.dumps({"seconds": seconds, "memory": resident("VmHWM") - idle, "jobs": len(jobs)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    if options.worker:
        worker(options.size)
        return
    from airflow_batchemr.local import LocalAWS

    with tempfile.TemporaryDirectory() as folder, LocalAWS(root=Path(folder) / "aws", slots=1) as aws:
        aws.client("s3").create_bucket(Bucket="state")
        aws.faults.no_capacity("default")
        aws.reset_requests()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **aws.environment(),
            "AIRFLOW_HOME": f"{folder}/airflow",
        }
        answer = subprocess.run(
            [sys.executable, __file__, "--worker", "--size", str(options.size)],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        figures = json.loads(answer.stdout.splitlines()[-1])
        calls = dict(sorted(aws.requests().items()))
    print(f"python {platform.python_version()}, {os.cpu_count()} cores; array of {options.size:,}")
    print(f"{figures['jobs']} jobs recorded in {figures['seconds']:.1f} s, {figures['memory']:.0f} MB above idle")
    print(f"calls: {calls}")


if __name__ == "__main__":
    main()
