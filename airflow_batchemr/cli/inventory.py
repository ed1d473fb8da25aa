"""Find what this package has started on AWS by its tags."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.job_run_targets import Eks, Serverless
from airflow_batchemr.aws.errors import InvalidRequest, member, unexpected
from airflow_batchemr.aws.retry import pages
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.ownership import difference
from airflow_batchemr.engine.unrecorded import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_run_targets import JobRun, JobRunTarget

#: States of a Batch job that has not ended. ListJobs accepts one at a time.
WAITING_OR_RUNNING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
PREFIX = "batchemr:"
_DESCRIBE_JOBS = "batch:DescribeJobs"
#: Suffix of the names of submissions. Lists of EMR Serverless have no tags, and GetJobRun is one call per run.
_OURS = re.compile(r"-[0-9a-f]{12}-a\d{4,}$")
_OUR_STEP = re.compile(r"-[0-9a-f]{12}-a\d{4,}-s\d{4,}\]$")


@dataclass(frozen=True)
class Started:
    """A Batch job (a single one, or the parent of an array), cluster or job run with this package's tags."""

    kind: Literal["job", "cluster", "run", "step"]
    id: str
    name: str
    state: str
    created: datetime
    ended: datetime | None
    tags: Mapping[str, str]
    target: JobRunTarget | None = None
    """For a job run: its application or virtual cluster."""
    ready: datetime | None = None
    """Time at which a cluster was up; None if it was not, or if this is not a cluster."""
    cluster: str = ""
    """For a step: its cluster."""

    def tag(self, name: str) -> str:
        """The value of one of this package's tags; empty if it is missing."""
        return self.tags.get(PREFIX + name, "")

    @property
    def submission(self) -> int | None:
        """The submission's number; None if it was started manually."""
        number = self.tag("submission")
        return int(number) if re.fullmatch(r"[0-9]{1,9}", number) else None

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of submissions that start it."""
        return frozenset({"job": ["batch"], "run": ["emr_serverless", "emr_eks"]}.get(self.kind, ["emr"]))

    def foreign(self, state: str | None = None) -> str | None:
        """Return why it was not started by this package although it has its tags; None if it was.

        Its name must be the one that belongs to its tags. `state` is the state URI, if its characters are not all
        allowed in tags; by default, that of the tags.
        """
        where = state or self.tag("state"), self.tag("dag_id"), self.tag("run_key"), self.tag("job")
        if not all(where):
            return "its tags are not complete"
        identity = JobIdentity(*where, run_id=where[2], task_id=where[3])
        replayed = self.kind == "job" and self.name.startswith(f"{identity.work_name()}-replay-")
        return None if replayed else difference(identity, self.submission or 0, self.name, self.tags)

    @property
    def work(self) -> str:
        """Pipeline, run key and job."""
        return " ".join(self.tag(name) for name in ("dag_id", "run_key", "job"))

    @property
    def age(self) -> float:
        """Seconds from its creation to now, or to its end."""
        return ((self.ended or datetime.now(timezone.utc)) - self.created).total_seconds()


def batch_jobs(clients: Clients) -> Iterator[Started]:
    """Find the jobs of all queues that have not ended: ListJobs per queue and state, DescribeJobs per 100 jobs."""
    seen: set[str] = set()  # a job may move to the next state between two lists
    for queue in pages(clients.batch.describe_job_queues, "jobQueues", "batch:DescribeJobQueues", "jobQueueArn"):
        for status in WAITING_OR_RUNNING:
            call = partial(clients.batch.list_jobs, jobQueue=queue["jobQueueArn"], jobStatus=status)
            found = pages(call, "jobSummaryList", "batch:ListJobs", "jobId")
            ids = [one["jobId"] for one in found if one["jobId"] not in seen]
            seen.update(ids)
            for job in jobs.describe(clients, ids).values():
                if f"{PREFIX}dag_id" in job.get("tags", {}) and job["status"] not in jobs.FINAL:
                    created = moment(member(job, "createdAt", _DESCRIBE_JOBS))
                    if created is None:
                        raise unexpected(_DESCRIBE_JOBS, "a wrong createdAt", job)
                    yield Started("job", job["jobId"], job["jobName"], job["status"], created, None, job["tags"])


def emr_clusters(clients: Clients, states: Sequence[str] = tuple(sorted(clusters.ALIVE))) -> Iterator[Started]:
    """Find clusters in some states (empty: in any): ListClusters, and DescribeCluster for each, which has the tags."""
    for entry in list(clusters.listed(clients, states=states)):
        cluster = clusters.describe(clients, clusters.Cluster.of(entry).cluster_id)
        tags = clusters.tags_of(cluster or {})
        if cluster is None or f"{PREFIX}dag_id" not in tags:
            continue
        brief, status = clusters.Cluster.of(cluster), cluster.get("Status", {})
        timeline = status.get("Timeline", {})
        created = timeline.get("CreationDateTime") or datetime.now(timezone.utc)
        yield Started(
            "cluster", brief.cluster_id, brief.name, brief.state, created, timeline.get("EndDateTime"), tags,
            ready=timeline.get("ReadyDateTime"),
        )  # fmt: skip


def duplicate_steps(clients: Clients, cluster: Started) -> Iterator[tuple[Started, str]]:
    """Find the steps of a running cluster that have not ended and have the name of an older one, and its id: ListSteps.

    A step has the tags of its cluster, except for the submission, which is another one.
    """
    if cluster.state != "RUNNING":
        return
    tags = {name: value for name, value in cluster.tags.items() if name != f"{PREFIX}submission"}
    oldest: dict[str, str] = {}
    for entry in reversed(list(steps.listed(clients, cluster.id))):
        step = steps.Step.of(entry)
        first = oldest.setdefault(step.name, step.step_id)
        if first != step.step_id and not step.ended and _OUR_STEP.search(step.name):
            created = entry["Status"].get("Timeline", {}).get("CreationDateTime") or datetime.now(timezone.utc)
            yield Started("step", step.step_id, step.name, step.state, created, None, tags, cluster=cluster.id), first


def idle_for(clients: Clients, cluster: Started) -> float | None:
    """Return the seconds since a waiting cluster was up or ended its last step; None if it does not wait.

    Takes one ListSteps call, for the newest 50 steps.
    """
    if cluster.state != "WAITING" or cluster.ready is None:
        return None
    newest = islice(steps.listed(clients, cluster.id), 50)
    ended = [(step.get("Status", {}).get("Timeline") or {}).get("EndDateTime") for step in newest]
    since: datetime = max([cluster.ready, *(time for time in ended if time is not None)])
    return (datetime.now(timezone.utc) - since).total_seconds()


def job_runs(clients: Clients, service: type[Serverless | Eks]) -> Iterator[Started]:
    """Find the job runs of a service that have not ended: a list of its targets, and ListJobRuns for each."""
    for target in _targets(clients, service):
        for listed in target.listed(clients, states=list(target.living)):
            run: JobRun | None = listed
            if service is Serverless:
                run = target.describe(clients, listed.run_id) if _OURS.search(listed.name) else None
            if run is None or f"{PREFIX}dag_id" not in run.tags or run.ended:
                continue
            created = datetime.fromisoformat(str(member(run.answer, "createdAt", f"{target.service}:DescribeJobRun")))
            yield Started("run", run.run_id, run.name, run.state, created, None, run.tags, target)


def _targets(clients: Clients, service: type[Serverless | Eks]) -> list[JobRunTarget]:
    if service is Serverless:
        call = clients.get("emr-serverless").list_applications
        return [
            Serverless(one["id"], "") for one in pages(call, "applications", "emr-serverless:ListApplications", "id")
        ]
    call = partial(clients.get("emr-containers").list_virtual_clusters, states=["RUNNING"])
    found = pages(call, "virtualClusters", "emr-containers:ListVirtualClusters", "id")
    return [Eks(one["id"], "") for one in found]


def instance_hours(clients: Clients, cluster: Started) -> float | None:
    """Return the instance-hours of a cluster, including terminated instances; None if AWS no longer lists them."""
    try:
        machines = list(clusters.entries(clients, "ListInstances", "Instances", ClusterId=cluster.id))
    except InvalidRequest:
        return None
    until = cluster.ended or datetime.now(timezone.utc)
    hours = 0.0
    for machine in machines:
        timeline = machine.get("Status", {}).get("Timeline", {})
        begin = timeline.get("CreationDateTime") or cluster.created
        end = timeline.get("EndDateTime") or until
        hours += max((end - begin).total_seconds(), 0.0) / 3600
    return hours
