"""`batchemr orphans`: find work on AWS that no run needs any more."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from airflow_batchemr.cli import common
from airflow_batchemr.core.units import seconds
from airflow_batchemr.engine.orphans import Verdict, judge

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.cli.inventory import Started
    from airflow_batchemr.ledger import LedgerState

app = common.new_app()
#: Reason given to AWS and recorded in the ledger.
REASON = "orphaned: no run needs it any more"


@app.command()
def orphans(  # noqa: PLR0917 (all are options)
    terminate: Annotated[bool, typer.Option("--terminate", help="Stop the orphans.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Also treat work as orphaned that has been in use, or is not in the ledger, for longer than this. For "
            "runs that will never be resumed.",
            metavar="24h",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also show work that is still in use.")] = False,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Find EMR clusters, Batch jobs, and EMR Serverless and EMR on EKS job runs that no run needs any more.

    Compares everything that has this package's tags with the ledger. Work is orphaned if the ledger records that it
    has ended, was superseded by a rerun or was requested to stop, or if all jobs that use it have succeeded. Work that
    is not in the ledger is shown, but not stopped unless --older-than applies.

    Exit codes: 1: orphans were found and left running; 0: no orphans, or all were stopped.

        batchemr orphans

        batchemr orphans --terminate --older-than 3d
    """
    limit = _limit(older_than)
    with common.errors():
        aws = common.clients(profile, region)
        found = [(one, verdict) for one, verdict in _judged(aws, common.state_uri(state), limit)]
        orphaned = [one for one, verdict in found if verdict.status == "orphaned"]
        shown = [(one, verdict) for one, verdict in found if all_ or verdict.status != "in use"]
        _show(shown, json_=json_)
        if terminate:
            _stop(aws, orphaned)
    if not json_:
        outcome = "" if not orphaned else ": stopped" if terminate else ": left running; use --terminate to stop"
        common.say(f"{len(orphaned)} orphan{'s' * (len(orphaned) != 1)}{outcome}")
    raise typer.Exit(1 if orphaned and not terminate else 0)


def _limit(older_than: str | None) -> float | None:
    if older_than is None:
        return None
    try:
        return seconds(older_than)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error


def _judged(clients: Clients, state: str | None, limit: float | None) -> list[tuple[Started, Verdict]]:
    """Compare everything that runs with the ledger: with `state` if given, else with the ledger named by each tag."""
    from airflow_batchemr.cli.inventory import batch_jobs, emr_clusters
    from airflow_batchemr.engine.job_identity import tag_value

    wanted = state and tag_value(state.rstrip("/"))
    ledgers = _Ledgers(clients)
    found = []
    for one in [*batch_jobs(clients), *emr_clusters(clients), *_job_runs(clients)]:
        if wanted and one.tag("state") != wanted:
            continue
        verdict = ledgers.judge(one)
        if (
            verdict.status != "orphaned"
            and limit is not None
            and one.age > limit
            and not verdict.reason.startswith("kept")
        ):
            verdict = Verdict("orphaned", f"{verdict.reason}, for {common.duration(one.age)}")
        found.append((one, verdict))
    return found


def _job_runs(clients: Clients) -> list[Started]:
    """Return all job runs. A service that is unavailable in the region or not permitted is skipped with a note."""
    from airflow_batchemr.aws.emr.job_runs import Eks, Serverless
    from airflow_batchemr.aws.errors import AwsError
    from airflow_batchemr.cli.inventory import job_runs

    found: list[Started] = []
    for service in (Serverless, Eks):
        try:
            found += job_runs(clients, service)
        except AwsError as error:
            common.say(f"note: skipped {service.service}: {error}")
    return found


class _Ledgers:
    """Reads the ledger of each job once."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._read: dict[tuple[str, str, str, str], LedgerState] = {}

    def judge(self, one: Started) -> Verdict:
        from airflow_batchemr.ledger import LedgerError

        key = one.tag("state"), one.tag("dag_id"), one.tag("run_key"), one.tag("job")
        if not all(key):
            return Verdict("unknown", "its tags are incomplete")
        try:
            state = self._state(*key)
            served = self._unfinished_users(*key[:3], state, one.submission)
        except LedgerError as error:
            if error.retryable:
                raise
            return Verdict("unknown", f"cannot read its ledger: {error}")
        return judge(state, one.submission, one.id, served=served)

    def _state(self, uri: str, dag_id: str, run_key: str, job: str) -> LedgerState:
        from airflow_batchemr.ledger import Ledger

        key = uri, dag_id, run_key, job
        if key not in self._read:
            self._read[key] = Ledger(self._clients.s3, uri).job(dag_id, run_key, job).history()
        return self._read[key]

    def _unfinished_users(
        self, uri: str, dag_id: str, run_key: str, state: LedgerState, number: int | None
    ) -> list[str] | None:
        """Return the jobs that use a shared cluster and have no marker yet; None if it is not a shared cluster."""
        intent = next((submission.intent for submission in state.submissions if submission.number == number), None)
        names = intent.details.get("used_by") if intent else None
        if not isinstance(names, list) or not names:
            return None
        return [str(name) for name in names if self._state(uri, dag_id, run_key, str(name)).marker is None]


def _show(found: list[tuple[Started, Verdict]], *, json_: bool) -> None:
    if json_:
        for one, verdict in found:
            record = {
                "kind": one.kind, "id": one.id, "name": one.name, "state": one.state, "verdict": verdict.status,
                "reason": verdict.reason, "created": one.created.isoformat(), "tags": dict(one.tags),
            }  # fmt: skip
            sys.stdout.write(json.dumps(record) + "\n")
        return
    rows = [
        [verdict.status, one.kind, one.id, one.state, common.duration(one.age), one.work, verdict.reason]
        for one, verdict in found
    ]
    common.table(["", "kind", "id", "state", "age", "pipeline run job", "reason"], rows)


def _request_stop(clients: Clients, one: Started) -> None:
    """Record a stop request for tasks that may still wait for the work. Without a ledger, no task waits for it."""
    from airflow_batchemr.ledger import Ledger, LedgerError, StopRequest

    if one.submission is None:
        return
    try:
        ledger = Ledger(clients.s3, one.tag("state")).job(one.tag("dag_id"), one.tag("run_key"), one.tag("job"))
        if one.submission in ledger.read().numbers:
            ledger.request_stop(one.submission, StopRequest(reason=REASON, by="batchemr orphans"))
    except LedgerError as error:
        common.say(f"note: cannot record the stop request in the ledger: {error}")


def _stop(clients: Clients, orphaned: list[Started]) -> None:
    from airflow_batchemr.aws.batch import jobs
    from airflow_batchemr.aws.emr import clusters

    for one in orphaned:
        _request_stop(clients, one)
    jobs.terminate(clients, [one.id for one in orphaned if one.kind == "job"], REASON)
    clusters.terminate(clients, [one.id for one in orphaned if one.kind == "cluster"])
    for one in orphaned:
        if one.place is not None:
            one.place.cancel(clients, one.id)
