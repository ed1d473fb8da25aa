"""Find the work on AWS that this package has started, by its tags."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.job_runs import Eks, Serverless
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.retry import call_again

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_runs import JobRunTarget

#: States of a Batch job that has not ended. ListJobs accepts one state per call.
WAITING_OR_RUNNING = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
PREFIX = "batchemr:"
#: Suffix of the names of submissions. EMR Serverless lists job runs without tags, and reading them takes one call each.
_OURS = re.compile(r"-[0-9a-f]{12}-a\d{4,}$")


@dataclass(frozen=True)
class Started:
    """A Batch job (single or array parent), EMR cluster or job run with this package's tags."""

    kind: Literal["job", "cluster", "run"]
    id: str
    name: str
    state: str
    created: datetime
    ended: datetime | None
    tags: Mapping[str, str]
    place: JobRunTarget | None = None
    """The application or virtual cluster of a job run."""

    def tag(self, name: str) -> str:
        """Return one of this package's tags, or an empty string if it is missing."""
        return self.tags.get(PREFIX + name, "")

    @property
    def submission(self) -> int | None:
        """Number of the submission; None for work started by `batchemr replay`."""
        number = self.tag("submission")
        return int(number) if number.isdecimal() else None

    @property
    def work(self) -> str:
        """Pipeline, run key and job, separated by spaces."""
        return " ".join(self.tag(name) for name in ("dag_id", "run_key", "job"))

    @property
    def age(self) -> float:
        """Seconds from creation until the end, or until now."""
        return ((self.ended or datetime.now(timezone.utc)) - self.created).total_seconds()


def batch_jobs(clients: Clients) -> Iterator[Started]:
    """Find unfinished jobs in all queues: one ListJobs per queue and state, one DescribeJobs per hundred jobs."""
    seen: set[str] = set()  # a job may change state between two ListJobs calls
    for queue in pages(clients.batch.describe_job_queues, "jobQueues", "batch:DescribeJobQueues"):
        for status in WAITING_OR_RUNNING:
            found = pages(
                clients.batch.list_jobs,
                "jobSummaryList",
                "batch:ListJobs",
                jobQueue=queue["jobQueueArn"],
                jobStatus=status,
            )
            ids = [one["jobId"] for one in found if one["jobId"] not in seen]
            seen.update(ids)
            for job in jobs.describe(clients, ids).values():
                if f"{PREFIX}dag_id" in job.get("tags", {}) and job["status"] not in jobs.FINAL:
                    created = datetime.fromtimestamp(job["createdAt"] / 1000, timezone.utc)
                    yield Started("job", job["jobId"], job["jobName"], job["status"], created, None, job["tags"])


def emr_clusters(clients: Clients, states: Sequence[str] = tuple(sorted(clusters.ALIVE))) -> Iterator[Started]:
    """Find clusters in the given states (empty: any state): ListClusters, then DescribeCluster for the tags of each."""
    for entry in list(clusters.listed(clients, states=states)):
        cluster = clusters.describe(clients, entry["Id"])
        tags = {tag["Key"]: tag.get("Value", "") for tag in (cluster or {}).get("Tags", [])}
        if cluster is None or f"{PREFIX}dag_id" not in tags:
            continue
        timeline = cluster["Status"].get("Timeline", {})
        created = timeline.get("CreationDateTime") or datetime.now(timezone.utc)
        state, ended = cluster["Status"]["State"], timeline.get("EndDateTime")
        yield Started("cluster", cluster["Id"], cluster["Name"], state, created, ended, tags)


def job_runs(clients: Clients, service: type[Serverless | Eks]) -> Iterator[Started]:
    """Find unfinished job runs of a service: list its applications or virtual clusters, then ListJobRuns for each."""
    for target in _targets(clients, service):
        for listed in target.listed(clients, states=list(target.living)):
            if service is Serverless:
                run = target.describe(clients, listed.run_id) if _OURS.search(listed.name) else None
            else:
                run = listed
            if run is None or f"{PREFIX}dag_id" not in run.tags or run.ended:
                continue
            created = datetime.fromisoformat(str(run.answer["createdAt"]))
            yield Started("run", run.run_id, run.name, run.state, created, None, run.tags, target)


def _targets(clients: Clients, service: type[Serverless | Eks]) -> list[JobRunTarget]:
    if service is Serverless:
        call = clients.get("emr-serverless").list_applications
        return [Serverless(one["id"], "") for one in pages(call, "applications", "emr-serverless:ListApplications")]
    call = clients.get("emr-containers").list_virtual_clusters
    found = pages(call, "virtualClusters", "emr-containers:ListVirtualClusters", states=["RUNNING"])
    return [Eks(one["id"], "") for one in found]


def instance_hours(clients: Clients, cluster: Started) -> float | None:
    """Sum the hours of a cluster's instances, including terminated ones; None if AWS no longer has the cluster."""
    try:
        instances = pages(
            clients.emr.list_instances, "Instances", "elasticmapreduce:ListInstances", "Marker", ClusterId=cluster.id
        )
    except InvalidRequest:
        return None
    until = cluster.ended or datetime.now(timezone.utc)
    hours = 0.0
    for instance in instances:
        timeline = instance.get("Status", {}).get("Timeline", {})
        begin = timeline.get("CreationDateTime") or cluster.created
        end = timeline.get("EndDateTime") or until
        hours += max((end - begin).total_seconds(), 0.0) / 3600
    return hours


def pages(call: Any, key: str, name: str, token: str = "nextToken", **arguments: Any) -> list[dict[str, Any]]:  # noqa: S107 - no secret
    """Collect all pages of a list call. `name` is the IAM action of the call."""
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        page = call_again(lambda: call(**arguments, **more), name)  # noqa: B023 - called at once
        found += page[key]
        if not page.get(token):
            return found
        more = {token: page[token]}
