"""The unmodified awswrangler (AWS SDK for pandas), against the local AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_clusters_steps_and_job_runs_at_their_defaults(program_aws, clients, tmp_path):
    """The default cluster has a step that enables debugging, an instance fleet, and a release of 2022."""
    program_aws.client("s3").create_bucket(Bucket="aws-logs-123456789012-us-east-1")
    program_aws.client("s3").put_object(Bucket="logs", Key="script.sh", Body=b"touch $1\n")
    program = Path(__file__).with_name("wrangler_program.py")
    environment = {**os.environ, **clients}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["steps"] == ["COMPLETED"] * 5
    assert (found["waiting"], found["run"]) == ("WAITING", "SUCCESS")
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"run.sh", "command", "script", "one", "two", "spark", "serverless"}
    emr = program_aws.client("emr")
    first = emr.list_steps(ClusterId=found["cluster"])["Steps"][-1]
    assert (first["Name"], first["Status"]["State"]) == ("Setup Hadoop Debugging", "COMPLETED")
    fleet = emr.list_instance_fleets(ClusterId=found["cluster"])["InstanceFleets"][0]
    assert fleet["InstanceTypeSpecifications"][0]["WeightedCapacity"] == 1
