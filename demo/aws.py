"""The local AWS as a separate process, with the bucket and the queue that the pipelines use."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from demo.processes import BIN, Program, clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUCKET = "data"
QUEUE = "data"
_LOG_GROUP = "/aws/batch/job"


class LocalAwsError(Exception):
    """The local AWS did not start. The message contains the end of its log."""


class LocalAws:
    """A local AWS in a separate process, used by Airflow, the programs and this process.

    Args:
        root: Folder for working folders of jobs and logs.
        path: Folders to put first on the jobs' PATH.
        slots: Maximum number of concurrent commands. Defaults to the number of cores.
    """

    state = f"s3://{BUCKET}/_batchemr"

    def __init__(self, root: Path, path: Sequence[Path], slots: int | None = None) -> None:
        self.root = root
        self.path = path
        self.slots = slots
        self.environment: dict[str, str] = {}
        self._program: Program | None = None

    def start(self, timeout: float = 60.0) -> None:
        """Start the process, and create the bucket and the queue.

        Raises:
            LocalAwsError: It exited or did not respond within `timeout` seconds.
        """
        ready = self.root / "ready.json"
        command = [str(BIN / "batchemr"), "local", "--root", str(self.root), "--ready-file", str(ready)]
        command += [argument for folder in self.path for argument in ("--path", str(folder))]
        command += ["--slots", str(self.slots)] if self.slots else []
        self._program = Program(command, environment=clean_environment(), log=self.root / "aws.log", grace=5.0)
        until = time.monotonic() + timeout
        while not ready.exists():
            if self._program.ended or time.monotonic() > until:
                raise LocalAwsError(f"the local AWS did not start:\n{self._program.log_tail()}")
            time.sleep(0.1)
        self.environment = json.loads(ready.read_text())["environment"]
        self.client("s3").create_bucket(Bucket=BUCKET)
        self._create_queue()

    def stop(self) -> None:
        """Stop it and all processes that its jobs have started."""
        if self._program:
            self._program.stop()

    @property
    def endpoint_url(self) -> str:
        """Endpoint URL."""
        return self.environment["AWS_ENDPOINT_URL"]

    @property
    def ended(self) -> bool:
        """Whether the process has exited."""
        return self._program is not None and self._program.ended

    def client(self, service: str) -> Any:
        """Return a boto3 client for it."""
        create: Any = boto3.client  # its overloads require literal service names
        return create(
            service,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )

    def requests(self) -> Counter[str]:
        """Return the number of calls of each operation since the start."""
        return Counter(self._own("GET", "requests"))

    def plan_fault(self, operation: str, kind: str) -> None:
        """Make the next call of an operation fail; see `airflow_batchemr.local.faults` for the kinds."""
        self._own("POST", "faults", json={"fault": "plan", "operation": operation, "kind": kind})

    def job_output(self) -> list[str]:
        """Return the lines that all jobs have printed so far, from CloudWatch Logs."""
        logs = self.client("logs")
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=_LOG_GROUP)
            return [event["message"] for page in pages for event in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []

    def jobs(self, dag_id: str) -> list[str]:
        """Return the ids of all jobs submitted for a Dag, found by their tags."""
        batch = self.client("batch")
        states = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
        pages = (batch.get_paginator("list_jobs").paginate(jobQueue=QUEUE, jobStatus=state) for state in states)
        ids = sorted({job["jobId"] for each in pages for page in each for job in page["jobSummaryList"]})
        described = batch.describe_jobs(jobs=ids)["jobs"] if ids else []
        return [job["jobId"] for job in described if job.get("tags", {}).get("batchemr:dag_id") == dag_id]

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as described by DescribeJobs."""
        (job,) = self.client("batch").describe_jobs(jobs=[job_id])["jobs"]
        return dict(job)

    def cluster_states(self, dag_id: str) -> list[str]:
        """Return the states of the EMR clusters of a Dag, newest first."""
        clusters = self.client("emr").list_clusters()["Clusters"]
        return [cluster["Status"]["State"] for cluster in clusters if cluster["Name"].startswith(f"{dag_id}-")]

    def _own(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.environment['AWS_ACCESS_KEY_ID']}"}
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.request(method, f"{self.endpoint_url}/_local/{path}", headers=headers, **options)
        return answer.raise_for_status().json()

    def _create_queue(self) -> None:
        batch = self.client("batch")
        environment = batch.create_compute_environment(computeEnvironmentName=QUEUE, type="UNMANAGED", state="ENABLED")
        batch.create_job_queue(
            jobQueueName=QUEUE,
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment["computeEnvironmentArn"]}],
        )
