"""`batchemr orphans`: work that runs on AWS although no task needs it, and ended work without a recorded result."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_batchemr.cli import common, ending
from airflow_batchemr.core.units import seconds
from airflow_batchemr.engine.orphans import Verdict, judge, judge_idle, unplanned

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.cli.inventory import Started
    from airflow_batchemr.engine.unrecorded import JobRecords, RemoteStatus
    from airflow_batchemr.ledger import LedgerState

app = common.new_app()


@app.command()
def orphans(  # noqa: PLR0917 (all are options)
    terminate: Annotated[bool, typer.Option("--terminate", help="Show the orphans, ask, and end them.")] = False,
    yes: ending.YesOption = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Count everything older than this as orphaned, except for clusters that are kept alive: for runs that "
            "nobody will continue.",
            metavar="24h",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also show what is still needed.")] = False,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Find orphaned clusters, Batch jobs and job runs of EMR Serverless and EMR on EKS; --terminate ends them.

    Everything with this package's tags is compared with the ledger. --terminate lists what it will end and asks, unless
    --yes is given; without a terminal it requires --yes.

    orphaned: according to the ledger it has ended, was replaced by a rerun, is a duplicate of the recorded one with the
    same name, or was requested to stop; or all jobs that use the cluster have succeeded. --terminate ends it.

    probably orphaned: a cluster that has been idle for 15 minutes while nothing else of its run was running. The task
    that should have ended it may have been skipped because Airflow failed another one. --terminate ends it only if
    --older-than covers its age: its next job may just be waiting.

    duplicate: two have the name of one submission, and the ledger does not record yet which one counts. The next try of
    the task adopts the older one. Or a step of a running cluster has the name of an older one. --terminate ends them
    only if --older-than covers their age.

    in use: its submission is open. Shown with --all, as are clusters that are kept alive.

    unknown: the ledger has no record of it. --terminate ends it only if --older-than covers its age.

    not ours: it has this package's tags, but not the name that belongs to them, or the submission in its tags has not
    requested it. Somebody has copied the tags. --terminate never ends it.

    not recorded: it has ended on AWS, but Airflow ended the task before it could record the result. Nothing runs; clear
    the task, and its next try records the result. Covers the last 10 runs of each pipeline of the state URI.

    Exit code 1: something orphaned, probably orphaned or duplicate was left running, or the answer was no; 2:
    --terminate needs --yes; else 0.

        batchemr orphans

        batchemr orphans --terminate --older-than 3d
    """
    limit = _limit(older_than)
    if terminate:
        ending.check_can_ask("--terminate", yes=yes)
    with common.errors():
        aws = common.clients(profile, region)
        uri = common.state_uri(state)
        found = _judged(aws, uri, limit)
        unrecorded = _unrecorded(aws, uri)
        ends = [(one, verdict.reason) for one, verdict in found if verdict.finding == "orphaned"]
        orphaned = [one for one, _ in ends]
        doubtful = [one for one, verdict in found if verdict.finding in {"probably orphaned", "duplicate"}]
        shown = [(one, verdict) for one, verdict in found if all_ or verdict.finding not in {"in use", "kept alive"}]
        _show([_row(one, verdict.finding, verdict.reason) for one, verdict in shown] + unrecorded, json_=json_)
        if terminate and orphaned:
            ending.confirm(ends, yes=yes)
            _end(aws, orphaned)
    if not json_:
        what = "ended" if terminate else "left running; --terminate ends them" if orphaned else "there are none"
        common.say(f"{len(orphaned)} orphan{'s' * (len(orphaned) != 1)}: {what}")
        if doubtful:
            common.say(f"{len(doubtful)} more may be: left running; --terminate with --older-than ends them")
        if unrecorded:
            common.say(f"{len(unrecorded)} ended on AWS but not recorded: clear the tasks")
    raise typer.Exit(1 if doubtful or (orphaned and not terminate) else 0)


def _limit(older_than: str | None) -> float | None:
    if older_than is None:
        return None
    try:
        return seconds(older_than)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error


def _judged(clients: Clients, state: str | None, limit: float | None) -> list[tuple[Started, Verdict]]:
    """Compare all running work with the ledger: `state` if given, else the ledger in the tags."""
    from airflow_batchemr.cli.inventory import batch_jobs, duplicate_steps, emr_clusters
    from airflow_batchemr.cli.open_submissions import with_exact_names
    from airflow_batchemr.core.tags import tag_value

    state = state and state.rstrip("/")
    wanted = state and tag_value(state)
    ledgers = _Ledgers(clients)
    running = [*batch_jobs(clients), *emr_clusters(clients), *_job_runs(clients)]
    running = [with_exact_names(clients, one, state) for one in running if not wanted or one.tag("state") == wanted]
    same_name: dict[tuple[str, str], list[str]] = {}
    for one in running:
        if not one.foreign(state):
            same_name.setdefault((one.kind, one.name), []).append(one.id)
    found = []
    for one in running:
        same = [id_ for id_ in same_name.get((one.kind, one.name), ()) if id_ != one.id]
        verdict = ledgers.judge(one, same, state)
        found.append((one, _aged(one, verdict, limit)))
        ours = verdict.finding != "not ours"
        for step, first in duplicate_steps(clients, one) if one.kind == "cluster" and ours else ():
            verdict = Verdict("duplicate", f"it does the work of {first} on {one.id} again, which has the same name")
            found.append((step, _aged(step, verdict, limit)))
    return found


def _aged(one: Started, verdict: Verdict, limit: float | None) -> Verdict:
    if verdict.finding in {"orphaned", "kept alive", "not ours"} or limit is None or one.age <= limit:
        return verdict
    return Verdict("orphaned", f"{verdict.reason}, for {common.duration(one.age)}")


def _job_runs(clients: Clients) -> list[Started]:
    """Return all job runs. A service that the region lacks, or that the caller may not list, is skipped with a note."""
    from airflow_batchemr.aws.emr.job_run_targets import Eks, Serverless
    from airflow_batchemr.aws.errors import AwsError
    from airflow_batchemr.cli.inventory import job_runs

    found: list[Started] = []
    for service in (Serverless, Eks):
        try:
            found += job_runs(clients, service)
        except AwsError as error:
            common.say(f"note: {service.service} is skipped: {error}")
    return found


class _Ledgers:
    """Reads the ledger of each job once."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._read: dict[tuple[str, str, str, str], LedgerState] = {}

    def judge(self, one: Started, twins: list[str], given: str | None) -> Verdict:
        """Compare something on AWS with the ledger in its tags, or with the `given` one."""
        from airflow_batchemr.ledger import LedgerError

        if problem := one.foreign(given):
            return Verdict("not ours", problem)
        uri, dag_id, run_key, job = given or one.tag("state"), one.tag("dag_id"), one.tag("run_key"), one.tag("job")
        try:
            state = self._state(uri, dag_id, run_key, job)
            if one.submission is not None and (problem := unplanned(state, one.submission, one.kinds, one.name)):
                return Verdict("not ours", problem)
            unused = self._unused(uri, dag_id, run_key, state, one.submission)
            verdict = judge(state, one.submission, one.id, unused=unused, twins=twins)
            return judge_idle(verdict, self._idle_for(one)) if verdict.finding == "in use" else verdict
        except LedgerError as error:
            if error.retryable:
                raise
            return Verdict("unknown", f"its ledger cannot be read: {error}")

    def _state(self, uri: str, dag_id: str, run_key: str, job: str) -> LedgerState:

        key = uri, dag_id, run_key, job
        if key not in self._read:
            self._read[key] = self._clients.ledger(uri).job(dag_id, run_key, job).history()
        return self._read[key]

    def _unused(self, uri: str, dag_id: str, run_key: str, state: LedgerState, number: int | None) -> bool:
        """Whether all jobs that use a cluster have succeeded; False if no other jobs use it."""
        intent = next((submission.intent for submission in state.submissions if submission.number == number), None)
        names = intent.details.get("used_by") if intent else None
        if not isinstance(names, list) or not names:
            return False
        # All of them are read: if one cannot be, nothing is known about the cluster
        markers = [self._state(uri, dag_id, run_key, str(name)).marker for name in names]
        return all(marker is not None for marker in markers)

    def _idle_for(self, one: Started) -> float | None:
        """Return the seconds for which a cluster has waited for steps, if no other work of its run is running."""
        from airflow_batchemr.cli.inventory import idle_for
        from airflow_batchemr.cli.open_submissions import run_is_busy

        if one.kind != "cluster" or one.state != "WAITING":
            return None
        ledger, reader = self._clients.ledger(one.tag("state")), common.remote_work_reader(self._clients)
        if run_is_busy(ledger, reader, one.tag("dag_id"), one.tag("run_key"), one.id):
            return None
        return idle_for(self._clients, one)


def _unrecorded(clients: Clients, state: str | None) -> list[dict[str, Any]]:
    """Rows for submissions that have ended on AWS without a recorded result."""
    from airflow_batchemr.cli.open_submissions import ended_unrecorded
    from airflow_batchemr.ledger import LedgerError

    if not state:
        return []
    try:
        found = list(ended_unrecorded(clients.ledger(state), common.remote_work_reader(clients)))
    except LedgerError as error:
        common.say(f"note: cannot search for results that are not recorded: {error}")
        return []
    return [_unrecorded_row(job, sighting) for job, sighting in found]


def _unrecorded_row(job: JobRecords, sighting: RemoteStatus) -> dict[str, Any]:
    submission, identity = sighting.submission, job.identity
    handle, result, claimed = submission.handle, submission.result, submission.claimed_at
    assert handle is not None  # noqa: S101 - AWS has described it
    assert result is not None  # noqa: S101 - it has ended
    kind = {"batch": "job", "emr": "cluster", "steps": "steps"}.get(result.kind, "run")
    return {
        "verdict": "not recorded",
        "kind": kind,
        "id": handle.cluster_id or ", ".join(one.job_id for one in handle.jobs),
        "name": submission.intent.name if submission.intent is not None else "",
        "state": sighting.aws_state,
        "age": (job.state.now - (sighting.ended_at or claimed or job.state.now)).total_seconds(),
        "created": claimed.isoformat() if claimed is not None else None,
        "work": f"{identity.dag_id} {identity.run_key} {identity.job}",
        "reason": f"submission {submission.number} {result.outcome} on AWS. If its task has ended, clear it: the next "
        "try records the result",
        "tags": identity.tags(submission.number),
    }


def _row(one: Started, finding: str, reason: str) -> dict[str, Any]:
    return {
        "verdict": finding,
        "kind": one.kind,
        "id": one.id,
        "name": one.name,
        "state": one.state,
        "age": one.age,
        "created": one.created.isoformat(),
        "work": one.work,
        "reason": reason,
        "tags": dict(one.tags),
    }


def _show(rows: list[dict[str, Any]], *, json_: bool) -> None:
    if json_:
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        return
    cells = [
        [row["verdict"], row["kind"], row["id"], row["state"], common.duration(row["age"]), row["work"], row["reason"]]
        for row in rows
    ]
    common.table(["", "what", "id", "state", "age", "pipeline run job", "reason"], cells)


def _end(clients: Clients, orphaned: list[Started]) -> None:
    from airflow_batchemr.aws.batch import jobs
    from airflow_batchemr.aws.emr import clusters, steps
    from airflow_batchemr.cli.open_submissions import request_stop

    for one in orphaned:
        request_stop(clients, one, "it is orphaned", by="batchemr orphans")
    jobs.terminate(clients, [one.id for one in orphaned if one.kind == "job"], "it is orphaned")
    for one in orphaned:
        if one.kind == "step":  # before its cluster
            steps.cancel(clients, one.cluster, [one.id])
    clusters.terminate(clients, [one.id for one in orphaned if one.kind == "cluster"])
    for one in orphaned:
        if one.target is not None:
            one.target.cancel(clients, one.id)
