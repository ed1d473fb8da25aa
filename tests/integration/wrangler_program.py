"""Uses the EMR functions of awswrangler at their defaults. Prints what they return, as JSON."""

from __future__ import annotations

import json
import sys
import time

import awswrangler as wr

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED")


def main(folder):
    cluster = wr.emr.create_cluster("subnet-0a")
    steps = [
        wr.emr.submit_step(cluster, f"touch {folder}/command"),
        wr.emr.submit_step(cluster, f"s3://logs/script.sh {folder}/script", script=True),
        *wr.emr.submit_steps(cluster, [wr.emr.build_step(f"touch {folder}/{name}") for name in ("one", "two")]),
        wr.emr.submit_spark_step(cluster, path=f"{folder}/run.sh", args=["spark"]),
    ]
    while (states := [wr.emr.get_step_state(cluster, step) for step in steps])[-1] not in ENDED:
        time.sleep(0.1)
    waiting = wr.emr.get_cluster_state(cluster)
    wr.emr.terminate_cluster(cluster)
    while wr.emr.get_cluster_state(cluster) != "TERMINATED":
        time.sleep(0.1)
    application = wr.emr_serverless.create_application("wrangler", "emr-6.10.0")
    run = wr.emr_serverless.run_job(
        application, "arn:aws:iam::123456789012:role/runs",
        {"entryPoint": f"{folder}/run.sh", "entryPointArguments": ["serverless"]},
        emr_serverless_job_wait_polling_delay=0.1,
    )  # fmt: skip
    run_state = run["jobRun"]["state"]
    print(json.dumps({"cluster": cluster, "steps": states, "waiting": waiting, "run": run_state}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
