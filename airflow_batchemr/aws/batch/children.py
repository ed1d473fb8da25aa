"""Child jobs, which the program of a job starts itself: find them by name prefix, wait for them, stop them with it.

A program (a driver) gets a prefix in `BATCHEMR_CHILD_PREFIX`. Jobs whose names begin with it belong to the program, in
any queue of the account. In an array, the prefix followed by an index and a hyphen
(`${BATCHEMR_CHILD_PREFIX}17-resize`) marks a child of that index; other names belong to all indices.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.results import cause
from airflow_batchemr.aws.errors import AwsError
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.job_container import container_of
from airflow_batchemr.ledger.records import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_batchemr.aws.batch.results import JobEnd
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import Submission

#: In the details of an intent: whether the submission ends only when its children have.
WAITED_FOR = "wait_for_children"
#: `Failure.cause` of failed children.
CAUSE = "child"
#: Seconds between searches for what a driver starts while it is being ended; AWS kills it 30 s after its SIGTERM.
LOOKS = (0.0, 0.5, 1.0, 2.0, 4.0)
#: Up to this many parents, children are searched by name; for more, all jobs that have not ended are listed.
FEW = 5


@dataclass(frozen=True)
class Settled:
    """The children of a submission whose own jobs have ended."""

    running: list[str]
    """Ids of those that have not ended: then the submission has not ended, either."""
    found: list[dict[str, Any]]
    """All of them, oldest first: as ListJobs gives them, failed ones as DescribeJobs does."""
    ended: list[JobEnd]
    """The submission's jobs; an index whose child failed has failed."""
    unwanted: list[str] = field(default_factory=list)
    """Ids of the running ones that are not needed: of failed indices, or all if the submission was stopped."""


@dataclass(frozen=True)
class Parent:
    """A submission whose jobs have been terminated, and which may have children."""

    prefix: str
    """Of the children's names."""
    ids: list[str]
    """Of its own jobs."""
    reason: str
    """For AWS."""
    waits: bool
    """Whether it is known as a driver."""


def waited_for(submission: Submission) -> bool:
    """Whether the submission waits for its children. Read from its intent, so that every try concludes the same."""
    return submission.intent is not None and bool(submission.intent.details.get(WAITED_FOR))


def find(clients: Clients, prefix: str) -> list[dict[str, Any]]:
    """Jobs of any queue whose names begin with `prefix`, oldest first: DescribeJobQueues, and ListJobs per queue."""
    found = [job for queue in jobs.queue_names(clients) for job in jobs.find(clients, queue, prefix)]
    return sorted(found, key=jobs.created_at)


def status_of(job: Mapping[str, Any]) -> str:
    """The status of an entry of ListJobs; empty if AWS left it out, as in botocore's example: it has not ended."""
    return str(job.get("status", ""))


def settle(clients: Clients, prefix: str, ended: list[JobEnd], *, stopped: bool) -> Settled:
    """Check the children of a submission whose own jobs have ended.

    Of several children with one name the last one counts: a driver may restart what has failed.

    Args:
        clients: for the calls.
        prefix: of the children's names.
        ended: the submission's jobs.
        stopped: whether a stop of the submission was requested: then all children end with it.
    """
    found = find(clients, prefix)
    everything = IndexSet.union(one.indices for one in ended)
    left = IndexSet.union(one.indices - one.succeeded for one in ended)

    def indices_of(child: Mapping[str, Any]) -> IndexSet:
        index = re.match(r"(\d{1,7})-", child["jobName"].removeprefix(prefix), re.ASCII)
        return IndexSet.of([int(index[1])]) if index and int(index[1]) in everything else everything

    running = [child for child in found if status_of(child) not in jobs.FINAL]
    unwanted = [child["jobId"] for child in running if stopped or indices_of(child) & left]
    if running:
        return Settled([child["jobId"] for child in running], found, ended, unwanted)
    # ListJobs leaves reasons and exit codes out of lists by name
    bare = [child["jobId"] for child in found if status_of(child) == "FAILED" and not child.get("container")]
    described = jobs.describe(clients, bare)
    found = [described.get(child["jobId"], child) for child in found]
    last = {child["jobName"]: child for child in found}
    failed = [(child, indices_of(child)) for child in last.values() if status_of(child) == "FAILED"]
    return Settled([], found, [_without(one, failed) for one in ended])


def _without(one: JobEnd, failed: Sequence[tuple[Mapping[str, Any], IndexSet]]) -> JobEnd:
    """The end of a job with the indices as failed whose children have failed."""
    failures = list(one.failures)
    succeeded = one.succeeded
    for child, indices in failed:
        hit = indices & succeeded
        succeeded -= hit
        status_reason = str(child.get("statusReason") or "AWS gave no reason")
        failures += [
            Failure(
                index=index,
                reason=f"the job {child['jobName']} that it had started has failed: {status_reason}",
                exit_code=container_of(child).get("exitCode"),
                job_id=child["jobId"],
                cause="stopped" if cause(status_reason, None) == "stopped" else CAUSE,
            )
            for index in hit
        ]
    return replace(one, succeeded=succeeded, failures=failures)


def stop(clients: Clients, parents: Sequence[Parent], *, sleep: Callable[[float], object] = time.sleep) -> None:
    """Stop the children of jobs that are being ended, also those that a driver starts while it ends.

    For jobs that are not known as drivers, the first search finds out whether they are. One search serves all parents:
    one ListJobs per queue and parent for a few parents, else one per queue and status for all of them.

    Args:
        clients: for the calls.
        parents: whose jobs have been terminated.
        sleep: waits.

    Raises:
        AwsError: a call failed; everything else has been terminated.
    """
    left = list(parents)
    ended: set[str] = set()
    failure: AwsError | None = None
    for pause in LOOKS:
        sleep(pause)
        known = jobs.describe(clients, [id_ for parent in left for id_ in parent.ids]) if pause else {}
        living = _living(clients, [parent.prefix for parent in left])
        drivers = []
        for parent in left:
            own = [child["jobId"] for child in living if child["jobName"].startswith(parent.prefix)]
            try:
                jobs.terminate(clients, [id_ for id_ in own if id_ not in ended], parent.reason)
            except AwsError as error:
                failure = failure or error
            gone = pause > 0 and all(known[id_]["status"] in jobs.FINAL for id_ in parent.ids if id_ in known)
            if not gone and (parent.waits or own):
                drivers.append(replace(parent, waits=True))
            ended.update(own)
        left = drivers
        if not left:
            break
    if failure is not None:
        raise failure


def _living(clients: Clients, prefixes: Sequence[str]) -> list[dict[str, Any]]:
    """Jobs that have not ended, including those with these prefixes."""
    if len(prefixes) <= FEW:
        found = [job for prefix in prefixes for job in find(clients, prefix)]
        return [job for job in found if status_of(job) not in jobs.FINAL]
    return [job for queue in jobs.queue_names(clients) for job in jobs.living(clients, queue)]
