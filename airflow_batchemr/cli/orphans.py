"""`batchemr orphans`: what still runs on AWS although its run is over."""

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


@app.command()
def orphans(  # noqa: PLR0917 (all are options)
    terminate: Annotated[bool, typer.Option("--terminate", help="End the orphans.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Also what is in hand, or unknown to the ledger, for longer than this: for runs that nobody will "
            "ever go on with.",
            metavar="24h",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Show what is still wanted, too.")] = False,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Find clusters, Batch jobs and job runs of EMR Serverless and EMR on EKS whose run is over; --terminate ends them.

    Everything that bears this package's tags is compared with the ledger. An orphan is what the ledger knows to have
    ended, to be overtaken by a rerun, to be asked to stop, or to serve jobs that have all succeeded. What the ledger
    does not know is shown, and left alone unless --older-than says otherwise.

    Exit code 1: there are orphans, and they were left running. 0: there are none (any more).

        batchemr orphans

        batchemr orphans --terminate --older-than 3d
    """
    limit = _limit(older_than)
    with common.errors():
        aws = common.clients(profile, region)
        found = [(one, verdict) for one, verdict in _judged(aws, common.state_uri(state), limit)]
        over = [one for one, verdict in found if verdict.word == "over"]
        shown = [(one, verdict) for one, verdict in found if all_ or verdict.word != "wanted"]
        _show(shown, json_=json_)
        if terminate:
            _end(aws, over)
    if not json_:
        what = "ended" if terminate else "left running; --terminate ends them" if over else "there are none"
        common.say(f"{len(over)} orphan{'s' * (len(over) != 1)}: {what}")
    raise typer.Exit(1 if over and not terminate else 0)


def _limit(older_than: str | None) -> float | None:
    if older_than is None:
        return None
    try:
        return seconds(older_than)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error


def _judged(clients: Clients, state: str | None, limit: float | None) -> list[tuple[Started, Verdict]]:
    """Compare all that runs with the ledger: `state` alone if given, else the one that each thing's tag names."""
    from airflow_batchemr.cli.inventory import batch_jobs, emr_clusters
    from airflow_batchemr.engine.job_identity import tag_value

    wanted = state and tag_value(state.rstrip("/"))
    ledgers = _Ledgers(clients)
    found = []
    for one in [*batch_jobs(clients), *emr_clusters(clients), *_job_runs(clients)]:
        if wanted and one.tag("state") != wanted:
            continue
        verdict = ledgers.judge(one)
        if verdict.word != "over" and limit is not None and one.age > limit and not verdict.why.startswith("kept"):
            verdict = Verdict("over", f"{verdict.why}, for {common.duration(one.age)}")
        found.append((one, verdict))
    return found


def _job_runs(clients: Clients) -> list[Started]:
    """All job runs; who uses a service in no region or may not look into it does without."""
    from airflow_batchemr.aws.emr.job_runs import Eks, Serverless
    from airflow_batchemr.aws.errors import AwsError
    from airflow_batchemr.cli.inventory import job_runs

    found: list[Started] = []
    for service in (Serverless, Eks):
        try:
            found += job_runs(clients, service)
        except AwsError as error:
            common.say(f"note: {service.service} was not looked at: {error}")
    return found


class _Ledgers:
    """Reads each job's ledger once."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._read: dict[tuple[str, str, str, str], LedgerState] = {}

    def judge(self, one: Started) -> Verdict:
        from airflow_batchemr.ledger import LedgerError

        place = one.tag("state"), one.tag("dag_id"), one.tag("run_key"), one.tag("job")
        if not all(place):
            return Verdict("unknown", "its tags are not complete")
        try:
            state = self._state(*place)
            served = self._not_served(*place[:3], state, one.submission)
        except LedgerError as error:
            if error.retryable:
                raise
            return Verdict("unknown", f"its ledger cannot be read: {error}")
        return judge(state, one.submission, one.id, served=served)

    def _state(self, uri: str, dag_id: str, run_key: str, job: str) -> LedgerState:
        from airflow_batchemr.ledger import Ledger

        key = uri, dag_id, run_key, job
        if key not in self._read:
            self._read[key] = Ledger(self._clients.s3, uri).job(dag_id, run_key, job).history()
        return self._read[key]

    def _not_served(
        self, uri: str, dag_id: str, run_key: str, state: LedgerState, number: int | None
    ) -> list[str] | None:
        """Of a cluster that serves other jobs: those whose marker does not stand."""
        intent = next((submission.intent for submission in state.submissions if submission.number == number), None)
        names = intent.details.get("used_by") if intent else None
        if not isinstance(names, list) or not names:
            return None
        return [str(name) for name in names if self._state(uri, dag_id, run_key, str(name)).marker is None]


def _show(found: list[tuple[Started, Verdict]], *, json_: bool) -> None:
    if json_:
        for one, verdict in found:
            record = {
                "kind": one.kind, "id": one.id, "name": one.name, "state": one.state, "verdict": verdict.word,
                "why": verdict.why, "created": one.created.isoformat(), "tags": dict(one.tags),
            }  # fmt: skip
            sys.stdout.write(json.dumps(record) + "\n")
        return
    rows = [
        [verdict.word, one.kind, one.id, one.state, common.duration(one.age), one.work, verdict.why]
        for one, verdict in found
    ]
    common.table(["", "what", "id", "state", "age", "pipeline run job", "why"], rows)


def _leave_word(clients: Clients, one: Started) -> None:
    """Tell whoever may still wait for it; where the ledger has gone, there is nobody to tell."""
    from airflow_batchemr.ledger import Ledger, LedgerError, StopRequest

    if one.submission is None:
        return
    try:
        ledger = Ledger(clients.s3, one.tag("state")).job(one.tag("dag_id"), one.tag("run_key"), one.tag("job"))
        if one.submission in ledger.read().numbers:
            ledger.request_stop(one.submission, StopRequest(reason="its run is over", by="batchemr orphans"))
    except LedgerError as error:
        common.say(f"note: no word was left in the ledger: {error}")


def _end(clients: Clients, over: list[Started]) -> None:
    from airflow_batchemr.aws.batch import jobs
    from airflow_batchemr.aws.emr import clusters

    for one in over:
        _leave_word(clients, one)
    jobs.terminate(clients, [one.id for one in over if one.kind == "job"], "its run is over")
    clusters.terminate(clients, [one.id for one in over if one.kind == "cluster"])
    for one in over:
        if one.place is not None:
            one.place.cancel(clients, one.id)
