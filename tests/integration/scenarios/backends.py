"""One adapter per backend: its operators, the effects of its commands, and its active work on AWS."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from collections import Counter
from typing import ClassVar

from airflow.sdk import DAG

from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.operators.emr import (
    EmrCreateClusterOperator,
    EmrJobRunOperator,
    EmrStepsOperator,
    EmrTerminateClusterOperator,
    EphemeralEmrOperator,
)
from tests.integration.emr_steps import CLUSTER

#: States of a cluster that costs money. A TERMINATING cluster has been stopped.
ALIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
ROLE = "arn:aws:iam::123456789012:role/runs"
#: Runs the program's last argument as a shell script.
FAKE_SUBMIT = '#!/bin/sh\nfor script; do :; done\nexec sh -c "$script"\n'
HOLD = "while [ -e hold ] && [ ! -e go ]; do sleep 0.02; done"


class Backend(ABC):
    """A kind of work, run against the local AWS.

    Args:
        aws: the local AWS.
        folder: commands record their effects here. They wait while it contains `hold` but not `go`.
        state: the state URI.
    """

    name: str
    units: tuple[str, ...]
    """Each of these must succeed once."""
    start: str
    """The call that starts the work."""
    reads: tuple[str, ...]
    """Calls that read its state."""
    stops: tuple[str, ...]
    """Calls that end it."""
    calls: str
    """The calls of a clean run at which a scenario may inject a fault: all that change something, and the first reads.

    Listed in order, numbered by operation, under the process that makes them.
    """
    unsupported: ClassVar[dict[str, str]] = {}
    """Rows that the backend does not support, and the reason."""

    def __init__(self, aws, folder, state):
        self.aws, self.folder, self.state = aws, folder, state
        self.log = folder / "effects.txt"

    @abstractmethod
    def stages(self):
        """Functions that create the operators, by task id, in the order in which the tasks run."""

    @abstractmethod
    def alive(self):
        """Ids of the job's work that AWS has not ended."""

    def ending(self):
        """Ids of work that AWS is ending, and whose programs may still run for a moment."""
        return []

    def working(self):
        """Ids of the work that AWS is executing; excludes idle clusters."""
        return self.alive()

    def prepare(self):  # noqa: B027 - most backends need nothing
        """Create what the run requires."""

    def clean(self):  # noqa: B027 - likewise
        """Delete what `prepare` created."""

    def arguments(self, **more):
        """Arguments that all operators of the package accept."""
        return {"state": self.state, "aws_conn_id": None, **more}

    def script(self, unit):
        """A command that records its start and its success."""
        log = shlex.quote(str(self.log))
        return f"cd {shlex.quote(str(self.folder))}; echo begin {unit} >> {log}; {HOLD}; echo end {unit} >> {log}"

    def hold(self):
        """Make commands wait for `release`."""
        (self.folder / "hold").touch()

    def release(self):
        """Let commands continue."""
        (self.folder / "go").touch()

    def held(self):
        """Whether commands are waiting."""
        return (self.folder / "hold").exists() and not (self.folder / "go").exists()

    def recorded(self, what):
        """How often each unit has begun, or has succeeded."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter(line.removeprefix(f"{what} ") for line in lines if line.startswith(f"{what} "))

    def begun(self, seconds=20):
        """Wait until a unit has begun."""
        end = time.monotonic() + seconds
        while not self.recorded("begin"):
            assert time.monotonic() < end, "no unit has begun"
            time.sleep(0.01)


class BatchSingle(Backend):
    """One Batch job."""

    name = "batch"
    units = ("0",)
    start, reads, stops = "SubmitJob", ("DescribeJobs",), ("TerminateJob",)
    array: int | None = None
    calls = (
        "worker: ListObjectsV2 1, RegisterJobDefinition 1, PutObject 1, SubmitJob 1, PutObject 2, PutObject 3; "
        "triggerer: DescribeJobs 1, PutObject 4; worker: ListObjectsV2 2, DescribeJobs 2, PutObject 5, PutObject 6"
    )

    def stages(self):
        return {"work": self._operator}

    def _operator(self):
        return BatchArrayOperator(
            **self.arguments(task_id="work"),
            queue="default",
            image="busybox",
            command=["sh", "-c", self.script('"$AWS_BATCH_JOB_ARRAY_INDEX"')],
            array=self.array,
        )

    def alive(self):
        batch = self.aws.client("batch")
        found = []
        for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"):
            found += [one["jobId"] for one in batch.list_jobs(jobQueue="default", jobStatus=status)["jobSummaryList"]]
        return sorted(set(found))


class BatchArray(BatchSingle):
    """An array job of size 3."""

    name = "array"
    units = ("0", "1", "2")
    array = 3
    calls = (
        "worker: ListObjectsV2 1, RegisterJobDefinition 1, PutObject 1, SubmitJob 1, PutObject 2, PutObject 3; "
        "triggerer: DescribeJobs 1, PutObject 4; worker: ListObjectsV2 2, DescribeJobs 2, DescribeJobs 3, PutObject 5, "
        "PutObject 6, PutObject 7"
    )


class Emr(Backend):
    """Common parts of the EMR backends: two command steps."""

    units = ("a", "b")
    reads, stops = ("DescribeCluster", "ListSteps"), ("TerminateJobFlows",)

    def prepare(self):
        self.aws.clusters.delays.starting = 0.02
        self.aws.clusters.delays.terminating = 0.01

    def steps(self):
        return [{"name": unit, "command": ["sh", "-c", self.script(unit)]} for unit in self.units]

    def in_dag(self, kind, task_id, **more):
        """Return a function that creates an operator inside a Dag, because EMR operators read the Dag's file."""

        def make():
            with DAG("dag", schedule=None):
                return kind(**self.arguments(task_id=task_id), **more)

        return make

    def clusters(self):
        return [one["Id"] for one in self.aws.client("emr").list_clusters(ClusterStates=ALIVE)["Clusters"]]

    def ending(self):
        return [one["Id"] for one in self.aws.client("emr").list_clusters(ClusterStates=["TERMINATING"])["Clusters"]]

    def active_steps(self, cluster_id):
        steps = self.aws.client("emr").list_steps(
            ClusterId=cluster_id, StepStates=["PENDING", "RUNNING", "CANCEL_PENDING"]
        )
        return [one["Id"] for one in steps["Steps"]]


class OwnCluster(Emr):
    """A cluster for this job only."""

    name = "own_cluster"
    start = "RunJobFlow"
    calls = (
        "worker: ListObjectsV2 1, PutObject 1, RunJobFlow 1, ListSteps 1, PutObject 2, PutObject 3; "
        "triggerer: DescribeCluster 1, ListSteps 2, PutObject 4; "
        "worker: ListObjectsV2 2, DescribeCluster 2, ListSteps 3, PutObject 5, PutObject 6"
    )

    def stages(self):
        return {"work": self.in_dag(EphemeralEmrOperator, "work", cluster=CLUSTER, steps=self.steps())}

    def alive(self):
        return self.clusters()


class ExistingCluster(Emr):
    """Steps on an existing cluster."""

    name = "existing_cluster"
    start, stops = "AddJobFlowSteps", ("CancelSteps",)
    calls = (
        "worker: ListObjectsV2 1, DescribeCluster 1, PutObject 1, AddJobFlowSteps 1, PutObject 2, PutObject 3; "
        "triggerer: DescribeCluster 2, ListSteps 1, PutObject 4; "
        "worker: ListObjectsV2 2, PutObject 5, PutObject 6, AddJobFlowSteps 2, PutObject 7, PutObject 10, PutObject 11"
    )

    def prepare(self):
        super().prepare()
        self.cluster_id = self.aws.client("emr").run_job_flow(
            Name="theirs",
            ReleaseLabel="emr-7.5.0",
            Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
            ServiceRole="EMR_DefaultRole",
            JobFlowRole="EMR_EC2_DefaultRole",
        )["JobFlowId"]

    def clean(self):
        self.aws.client("emr").terminate_job_flows(JobFlowIds=[self.cluster_id])

    def stages(self):
        return {"work": self.in_dag(EmrStepsOperator, "work", cluster_id=self.cluster_id, steps=self.steps())}

    def alive(self):
        return self.active_steps(self.cluster_id)


class SharedCluster(Emr):
    """A cluster with a setup task, a job and a teardown task."""

    name = "shared_cluster"
    start = "RunJobFlow"
    calls = (
        "worker: ListObjectsV2 1, PutObject 1, RunJobFlow 1, PutObject 2, PutObject 3; "
        "triggerer: DescribeCluster 1, PutObject 4; worker: PutObject 5, PutObject 6, "
        "PutObject 7, AddJobFlowSteps 1, PutObject 8, DescribeCluster 12, TerminateJobFlows 1, DescribeCluster 13, "
        "PutObject 18"
    )

    def stages(self):
        return {
            "up": self.in_dag(EmrCreateClusterOperator, "up", job="shared.cluster", cluster=CLUSTER, used_by=["work"]),
            "work": self.in_dag(EmrStepsOperator, "work", cluster="shared.cluster", steps=self.steps()),
            "down": self.in_dag(EmrTerminateClusterOperator, "down", cluster="shared.cluster"),
        }

    def alive(self):
        return self.clusters()

    def working(self):
        starting = self.aws.client("emr").list_clusters(ClusterStates=["STARTING", "BOOTSTRAPPING"])["Clusters"]
        return [one["Id"] for one in starting] + [step for one in self.clusters() for step in self.active_steps(one)]


class JobRun(Backend):
    """Common parts of the two job run services. `FAKE_SUBMIT` replaces `spark-submit`, which takes seven seconds."""

    units = ("0",)
    start, stops = "StartJobRun", ("CancelJobRun",)
    service: str
    place: ClassVar[dict[str, str]]
    on: ClassVar[dict[str, dict[str, str]]]
    active_states: tuple[str, ...]

    def stages(self):
        return {"work": self._operator}

    def _operator(self):
        spark = {"py": "s3://code/program.py", "args": [self.script(self.units[0])]}
        return EmrJobRunOperator(**self.arguments(task_id="work"), spark=spark, on=self.on)

    def alive(self):
        runs = self.aws.client(self.service).list_job_runs(**self.place)["jobRuns"]
        return [one["id"] for one in runs if one["state"] in self.active_states]


class Serverless(JobRun):
    """A job run on EMR Serverless."""

    name = "emr_serverless"
    service, reads = "emr-serverless", ("GetJobRun",)
    place: ClassVar = {"applicationId": "default"}
    on: ClassVar = {"emr_serverless": {"application": "default", "role": ROLE}}
    active_states = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING", "QUEUED")
    calls = (
        "worker: ListObjectsV2 1, PutObject 1, StartJobRun 1, PutObject 2, PutObject 3; "
        "triggerer: GetJobRun 1, PutObject 4; worker: ListObjectsV2 2, GetJobRun 2, PutObject 5, PutObject 6"
    )


class Eks(JobRun):
    """A job run on EMR on EKS."""

    name = "emr_eks"
    service, reads = "emr-containers", ("DescribeJobRun",)
    place: ClassVar = {"virtualClusterId": "default"}
    on: ClassVar = {"emr_eks": {"virtual_cluster": "default", "role": ROLE, "release": "emr-7.5.0-latest"}}
    active_states = ("PENDING", "SUBMITTED", "RUNNING", "CANCEL_PENDING")
    calls = (
        "worker: ListObjectsV2 1, PutObject 1, StartJobRun 1, PutObject 2, PutObject 3; "
        "triggerer: DescribeJobRun 1, PutObject 4; worker: ListObjectsV2 2, DescribeJobRun 2, PutObject 5, PutObject 6"
    )


BACKENDS = (BatchSingle, BatchArray, OwnCluster, ExistingCluster, SharedCluster, Serverless, Eks)
