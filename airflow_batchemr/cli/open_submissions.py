"""Open submissions for `batchemr orphans` and `batchemr clusters`: their state on AWS, and requests to stop them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_batchemr.cli import common
from airflow_batchemr.cli.inventory import PREFIX
from airflow_batchemr.core.tags import tag_value
from airflow_batchemr.engine.orphans import unplanned
from airflow_batchemr.engine.submissions import remote_ids
from airflow_batchemr.engine.unrecorded import observe_open, read_job
from airflow_batchemr.ledger import LedgerError, StopRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.cli.inventory import Started
    from airflow_batchemr.engine.unrecorded import JobRecords, RemoteStatus, RemoteWorkReader
    from airflow_batchemr.ledger import Ledger, LedgerState, Submission

#: Number of newest runs of each pipeline that are searched for submissions without a recorded result. AWS deletes Batch
#: jobs after about a week.
RECENT_RUNS = 10
#: Number of lists of 1,000 names each that are read to find the Dag and job of something.
MOST_LISTS = 20
_THREADS = 8


def run_is_busy(ledger: Ledger, reader: RemoteWorkReader, dag_id: str, run_key: str, cluster: str) -> bool:
    """Return whether work of a run may be running on AWS, other than a cluster and other clusters for several jobs.

    Args:
        ledger: Ledger of the state URI.
        reader: Reader of the state on AWS.
        dag_id: Dag id.
        run_key: Run key.
        cluster: Id of the cluster.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    records = [read_job(ledger, dag_id, run_key, job) for job in ledger.jobs(dag_id, run_key)]
    open_ = [one for sightings in observe_open(reader, records) for one in sightings.values() if not one.ended]
    return any(not _is_cluster(one.submission, cluster) for one in open_)


def _is_cluster(submission: Submission, cluster: str) -> bool:
    intent, handle = submission.intent, submission.handle
    if intent is None or intent.kind != "emr":
        return False
    return "used_by" in intent.details or (handle is not None and handle.cluster_id == cluster)


def ended_unrecorded(ledger: Ledger, reader: RemoteWorkReader) -> Iterator[tuple[JobRecords, RemoteStatus]]:
    """Yield the submissions of recent runs that have ended on AWS and whose result is not recorded.

    Jobs whose records cannot be read are left out with a note.

    Takes one LIST per pipeline and run, and for each job one LIST and the calls of `JobLedger.read`.

    Raises:
        LedgerError: the ledger cannot be read at the moment.
    """
    runs = [(dag_id, key) for dag_id in ledger.pipelines() for key in ledger.runs(dag_id)[-RECENT_RUNS:]]

    def unfinished(run: tuple[str, str]) -> list[JobRecords]:
        found = []
        for job in ledger.jobs(*run):
            try:
                if _open(ledger.job(*run, job).read()):
                    found.append(read_job(ledger, *run, job))
            except LedgerError as error:
                if error.retryable:
                    raise
                common.say(f"note: {' '.join(run)} {job} is left out: {error}")
        return found

    with ThreadPoolExecutor(_THREADS) as threads:
        records = [one for found in threads.map(unfinished, runs) for one in found]
    for job, sightings in zip(records, observe_open(reader, records), strict=True):
        for sighting in sightings.values():
            if sighting.ended:
                yield job, sighting


def _open(state: LedgerState) -> bool:
    return any(one.open for one in state.submissions)


def with_exact_names(clients: Clients, one: Started, state: str | None = None) -> Started:
    """Return something with the Dag id and job of the ledger in its tags, if it was started for them.

    Tags have an underscore for each character that AWS does not accept, so its name does not match them. Takes about
    two LISTs, and at most `MOST_LISTS`, for what seems not to be ours: its tags may name anybody's ledger. It stays not
    ours if that cannot be read.
    """
    if one.foreign(state) is None or "_" not in one.tag("dag_id") + one.tag("job"):
        return one
    with suppress(LedgerError):
        ledger, run_key = clients.ledger(state or one.tag("state")), one.tag("run_key")
        ledger.limit_reads(MOST_LISTS, 0)
        for dag_id in [id_ for id_ in ledger.pipelines() if tag_value(id_) == one.tag("dag_id")]:
            for job in [name for name in ledger.jobs(dag_id, run_key) if tag_value(name) == one.tag("job")]:
                exact = replace(one, tags={**one.tags, f"{PREFIX}dag_id": dag_id, f"{PREFIX}job": job})
                if exact.foreign(state) is None:
                    return exact
    return one


def not_requested(clients: Clients, one: Started) -> str | None:
    """Return why this package did not start something, by its name and by the intent in the ledger; None if it did.

    Raises:
        LedgerError: the ledger cannot be read now.
    """
    if problem := one.foreign():
        return problem
    try:
        ledger = clients.ledger(one.tag("state")).job(one.tag("dag_id"), one.tag("run_key"), one.tag("job"))
        return unplanned(ledger.history(), one.submission or 0, one.kinds, one.name)
    except LedgerError as error:
        if error.retryable:
            raise
        return None


def request_stop(clients: Clients, one: Started, reason: str, *, by: str) -> None:
    """Record a stop request for a task that may still wait for work which a user terminates.

    There is no such task without a ledger, or for a duplicate: a request would stop the work that is recorded instead.
    """
    if one.submission is None:
        return
    try:
        ledger = clients.ledger(one.tag("state")).job(one.tag("dag_id"), one.tag("run_key"), one.tag("job"))
        handle = ledger.handle(one.submission)
        duplicate = handle is not None and one.id not in remote_ids(handle)
        if not duplicate and one.submission in ledger.read().numbers:
            ledger.request_stop(one.submission, StopRequest(reason=reason, by=by))
    except LedgerError as error:
        common.say(f"note: cannot record the stop request in the ledger: {error}")
