"""Count the calls, by operation, for 100 deferred waits for clusters with 10 steps each in one triggerer.

For comparison, the amazon provider's trigger for steps runs on the same local AWS. It needs aiobotocore, which requires
another boto3 version: pass a Python with `apache-airflow-providers-amazon[aiobotocore]` as `--peer`.

    python benchmarks/waiting_emr.py [--clusters 100] [--seconds 60] [--peer PYTHON]

Target: per interval, at most 2 calls for the states of all clusters, and at most 1 ListSteps call for each cluster
whose steps may have changed. An interval is 4 s at first and 12 s while nothing changes.
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
from collections import Counter
from pathlib import Path
from typing import Any

#: Default poll interval of the amazon provider's operators, in seconds.
PEER_INTERVAL = 30
STEPS = 10
POLLS = ("ListClusters", "DescribeCluster", "ListSteps", "DescribeStep")


def ours(clusters: dict[str, list[str]], *, own: bool = True) -> list:
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.triggers.emr import EmrTrigger

    return [
        EmrTrigger(
            cluster_id=cluster_id,
            step_ids=step_ids,
            names=step_ids,
            created="2020-01-01T00:00:00+00:00",
            own=own,
            identity=JobIdentity("s3://state/ledger", "dag", "key", f"job{number}", "run", "task").values(),
            submissions=[1],
            aws_conn_id=None,
        )
        for number, (cluster_id, step_ids) in enumerate(clusters.items())
    ]


def peer(clusters: dict[str, list[str]]) -> list:
    from airflow.providers.amazon.aws.triggers.emr import EmrAddStepsTrigger

    return [
        EmrAddStepsTrigger(
            job_flow_id=cluster_id,
            step_ids=step_ids,
            waiter_delay=PEER_INTERVAL,
            waiter_max_attempts=10_000,
            aws_conn_id=None,
        )
        for cluster_id, step_ids in clusters.items()
    ]


#: The measured variants: label and function that creates the triggers.
RUNS = {
    "own": ("airflow-batchemr, own clusters", ours),
    "shared": ("airflow-batchemr, shared clusters", lambda clusters: ours(clusters, own=False)),
    "peer": ("amazon provider, EmrAddStepsTrigger", peer),
}


async def wait(triggers: list, seconds: float) -> None:
    async def run(trigger: Any) -> None:
        async for event in trigger.run():
            raise SystemExit(f"a wait that should continue has ended: {event}")

    waits = [asyncio.create_task(run(trigger)) for trigger in triggers]
    await asyncio.sleep(seconds)
    ended = [task for task in waits if task.done()]
    if ended:
        ended[0].result()
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def start(emr: Any, count: int) -> dict[str, list[str]]:
    """Start clusters with steps, the first of which runs for a long time, and wait until all clusters are up."""
    sleep = {"HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["sleep", "3600"]}, "ActionOnFailure": "CONTINUE"}
    clusters = {}
    for number in range(count):
        cluster_id = emr.run_job_flow(
            Name=f"held-{number}",
            ReleaseLabel="emr-7.5.0",
            Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
            ServiceRole="EMR_DefaultRole",
            JobFlowRole="EMR_EC2_DefaultRole",
        )["JobFlowId"]
        steps = [{"Name": f"step {step}", **sleep} for step in range(STEPS)]
        clusters[cluster_id] = emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=steps)["StepIds"]
    while True:
        states = Counter()
        for page in emr.get_paginator("list_clusters").paginate():
            states.update(one["Status"]["State"] for one in page["Clusters"])
        if set(states) <= {"RUNNING", "WAITING"}:
            return clusters
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--peer")
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        clusters = json.loads(Path(options.child[1]).read_text())
        asyncio.run(wait(RUNS[options.child[0]][1](clusters), options.seconds))
        return
    from airflow_batchemr.local import LocalAWS

    print(
        f"python {platform.python_version()}, {os.cpu_count()} cores; {options.clusters} clusters of {STEPS} steps, "
        f"{options.seconds:.0f} s each"
    )
    with tempfile.TemporaryDirectory() as folder, LocalAWS(root=Path(folder) / "aws", slots=2) as aws:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **aws.environment(),
            "AIRFLOW_HOME": f"{folder}/airflow",
        }
        listed = Path(folder) / "clusters.json"
        listed.write_text(json.dumps(start(aws.client("emr"), options.clusters)))
        print(f"{'':34} " + " ".join(f"{name:>16}" for name in POLLS) + "   calls per second")
        runs = [("own", sys.executable), ("shared", sys.executable)] + (
            [("peer", options.peer)] if options.peer else []
        )
        for who, python in runs:
            aws.reset_requests()
            subprocess.run(
                [python, __file__, "--seconds", str(options.seconds), "--child", who, str(listed)],
                env=environment,
                check=True,
            )
            requests = aws.requests()
            counts = [requests.get(poll, 0) for poll in POLLS]
            row = " ".join(f"{count:>16}" for count in counts)
            print(f"{RUNS[who][0]:34} {row}   {sum(counts) / options.seconds:.1f}")
        if not options.peer:
            print("not compared with the amazon provider: pass --peer")


if __name__ == "__main__":
    main()
