"""Measure the time from the end of a step to the trigger's event, at the longest poll interval.

    python benchmarks/latency_emr.py [--clusters 40]

Steps of different lengths run concurrently on the local EMR. The poll interval is the one after four minutes without a
change (12 s); younger waits are polled more often. Airflow takes about 1.5 s from the event to the end of the task.

Target: a median of at most 10 s from the end of a step to the success of its task.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

#: Seconds that Airflow takes from a trigger's event to the end of the task.
RESUME = 1.5


async def wait(trigger: Any) -> float:
    async for _ in trigger.run():
        break
    return time.time()


async def watch(triggers: list[Any]) -> list[float]:
    from airflow_batchemr.aws.emr import poll
    from airflow_batchemr.aws.poller import shared_poller
    from airflow_batchemr.connections import shared_clients
    from airflow_batchemr.engine.policy import DEFAULT

    clients = shared_clients(None, None)
    slow = poll.EmrPoller(clients, shortest=DEFAULT.emr_poll_longest, longest=DEFAULT.emr_poll_longest)
    shared_poller((None, None, "emr"), lambda: slow)
    return list(await asyncio.gather(*(wait(trigger) for trigger in triggers)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clusters", type=int, default=40)
    options = parser.parse_args()
    from airflow_batchemr.local import LocalAWS

    with tempfile.TemporaryDirectory() as folder, LocalAWS(root=Path(folder), slots=options.clusters) as aws:
        aws.client("s3").create_bucket(Bucket="state")  # triggers record here that they fire
        os.environ |= {**aws.environment(), "AIRFLOW_HOME": f"{folder}/airflow"}
        emr = aws.client("emr")
        started = {}
        for number in range(options.clusters):
            length = random.uniform(15, 60)
            jar = {"Jar": "command-runner.jar", "Args": ["sleep", f"{length:.2f}"]}
            cluster_id = emr.run_job_flow(
                Name=f"held-{number}",
                ReleaseLabel="emr-7.5.0",
                Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
                ServiceRole="EMR_DefaultRole",
                JobFlowRole="EMR_EC2_DefaultRole",
                Steps=[{"Name": "sleep", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}],
            )["JobFlowId"]
            started[cluster_id] = emr.list_steps(ClusterId=cluster_id)["Steps"][0]["Id"]
        from airflow_batchemr.engine.job_identity import JobIdentity
        from airflow_batchemr.triggers.emr import EmrTrigger

        triggers = [
            EmrTrigger(
                cluster_id=cluster_id,
                step_ids=[step_id],
                names=["sleep"],
                created="2020-01-01T00:00:00+00:00",
                own=True,
                identity=JobIdentity("s3://state/x", "dag", "key", f"job{number}", "run", "task").values(),
                submissions=[1],
                aws_conn_id=None,
            )
            for number, (cluster_id, step_id) in enumerate(started.items())
        ]
        ended = asyncio.run(watch(triggers))
        late = []
        for (cluster_id, step_id), moment in zip(started.items(), ended, strict=True):
            step = emr.describe_step(ClusterId=cluster_id, StepId=step_id)["Step"]
            late.append(moment - step["Status"]["Timeline"]["EndDateTime"].timestamp())
    print(f"python {platform.python_version()}, {os.cpu_count()} cores; {options.clusters} steps")
    print(
        f"step ended -> event: median {statistics.median(late):.1f} s, longest {max(late):.1f} s; "
        f"with Airflow's {RESUME} s: median {statistics.median(late) + RESUME:.1f} s"
    )


if __name__ == "__main__":
    main()
