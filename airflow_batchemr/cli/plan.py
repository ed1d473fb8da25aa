"""`batchemr plan`: what a run would do now."""

from __future__ import annotations

import datetime as dt
import json
import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from airflow_batchemr.cli.common import ProfileOption, RegionOption, StateOption, check_environment, new_app, state_uri

if TYPE_CHECKING:
    from airflow_batchemr.cli.plan_jobs import Forecast
    from airflow_batchemr.pipeline_file import Pipeline

app = new_app()


@app.command()
def plan(  # noqa: PLR0917 - all are options
    file: Annotated[Path, typer.Argument(help="A pipeline file.", metavar="FILE")],
    pipeline: Annotated[str | None, typer.Option("--pipeline", "-p", help="Only this pipeline of the file.")] = None,
    job: Annotated[str | None, typer.Option("--job", "-j", help="Only this job (and its cluster).")] = None,
    date: Annotated[
        str | None,
        typer.Option(
            "--date",
            "-d",
            help="Logical date of the run, in the pipeline's time zone; a day is its first run. Else the last one due.",
        ),
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Of a run that has no logical date.")] = None,
    state: StateOption = None,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Which `env:` of the file counts.")
    ] = None,
    requests: Annotated[bool, typer.Option("--requests", help="Show the requests to AWS, word for word.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a pipeline, a line each.")] = False,
    profile: ProfileOption = None,
    region: RegionOption = None,
) -> None:
    """Show what a run would do now, job by job: skip, resume or run. It reads the ledger and S3, and submits nothing.

    Exit code 0: shown; 1: the file has mistakes, or something in it would be refused; 2: wrong usage.

        batchemr plan nightly.yaml --date 2026-11-20

        batchemr plan nightly.yaml --job score --requests --json
    """
    from airflow_batchemr.pipeline_file import load_file

    spec = load_file(file, environment=environment, only=pipeline)
    check_environment(environment, spec.environments)
    for error in spec.errors:
        sys.stderr.write(f"{error}\n\n")
    chosen = {name: one for name, one in spec.pipelines.items() if pipeline in (None, name)}
    if pipeline is not None and pipeline not in spec.names:
        sys.stderr.write(f"{file} has no pipeline named {pipeline}; it has {', '.join(spec.names) or 'none'}\n")
        raise typer.Exit(1)
    if job is not None and not any(job in one.jobs for one in chosen.values()):
        known = ", ".join(name for one in chosen.values() for name in one.jobs)
        sys.stderr.write(f"{file} has no job named {job}; it has {known or 'none'}\n")
        raise typer.Exit(1)
    bad = bool(spec.errors)
    errors: set[str] = set()
    asked = _Asked(file.parent, job, date, run_id, state, profile, region)
    for one in chosen.values():
        if job is not None and job not in one.jobs:
            continue
        told = _forecast(one, asked)
        bad |= any(forecast["does"] == "refused" for forecast in told["jobs"]) or told["error"] is not None
        if json_:
            sys.stdout.write(json.dumps(told) + "\n")
        elif told["error"] is not None:
            if told["error"] not in errors:
                sys.stderr.write(f"error: {told['error']}\n")
            errors.add(told["error"])
        else:
            _show(told, requests=requests)
    raise typer.Exit(1 if bad else 0)


class _Asked(NamedTuple):
    """What the options say."""

    folder: Path
    job: str | None
    date: str | None
    run_id: str | None
    state: str | None
    profile: str | None
    region: str | None


def _forecast(pipeline: Pipeline, asked: _Asked) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError

    from airflow_batchemr.aws.clients import boto3_clients
    from airflow_batchemr.aws.errors import AwsError
    from airflow_batchemr.cli.plan_jobs import Forecast, Forecaster
    from airflow_batchemr.cli.plan_templates import Templates
    from airflow_batchemr.core.run_key import run_key as key_of
    from airflow_batchemr.dags.plan import plan_dag
    from airflow_batchemr.ledger import BucketMissingError, CredentialsError, Ledger, LedgerError

    dag = plan_dag(pipeline)
    moment = None if asked.run_id else _moment(pipeline, asked.date)
    run_id = asked.run_id or f"scheduled__{moment.isoformat() if moment else ''}"
    key = key_of(moment, None, run_id)
    params = {name: schema.get("default") for name, schema in dag.dag_kwargs["params"].items()}
    templates = Templates(moment, run_id, params)
    uri = templates.fill(pipeline.state or state_uri(asked.state) or "")
    clients = boto3_clients(profile=asked.profile, region=asked.region or pipeline.region) if uri else None
    notes = (
        []
        if uri
        else ["no ledger: neither `state:` nor --state nor Airflow's [batchemr] state is given; everything would run"]
    )
    told: list[Forecast] = []
    error = None
    try:
        ledger = Ledger(clients.s3, uri) if clients else None
    except (LedgerError, BotoCoreError) as problem:
        sys.stderr.write(f"{problem}\n")
        raise typer.Exit(1) from None
    forecaster = Forecaster(dag, key, uri or "s3://the/ledger", ledger=ledger, clients=clients, folder=asked.folder)
    for task in dag.tasks:
        served = task.kwargs.get("used_by", ())
        if asked.job not in (None, task.task_id, *served) and not task.task_id.startswith(f"{asked.job}."):
            continue
        try:
            told.append(forecaster.task(task, templates.fill(task.kwargs)))
        except (BucketMissingError, CredentialsError) as problem:  # the same for all of them
            error, told = str(problem), []
            break
        except (AwsError, LedgerError, BotoCoreError) as problem:
            told.append(Forecast(task.task_id, "refused", note=str(problem)))
    notes += [f"only Airflow can fill in {text!r}" for text in sorted(templates.unknown)]
    return {
        "pipeline": dag.dag_id,
        "run_key": key,
        "state": uri or None,
        "jobs": [asdict(forecast) for forecast in told],
        "notes": notes,
        "error": error,
    }


def _moment(pipeline: Pipeline, date: str | None) -> dt.datetime:
    """The run's logical date: as given (a day is the first run that is due on it), else the last one due, else now."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(pipeline.timezone)
    if date is None:
        now = dt.datetime.now(zone).replace(microsecond=0)
        return (_due(pipeline, now, "get_prev") or now).astimezone(dt.timezone.utc)
    try:
        moment = dt.datetime.fromisoformat(date.replace("Z", "+00:00"))
    except ValueError:
        raise typer.BadParameter(f"expected a date like 2026-11-20 or 2026-11-20T10:00, not {date}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    if len(date) == len("2026-11-20"):
        first = _due(pipeline, moment - dt.timedelta(seconds=1), "get_next")
        moment = first if first and first.date() == moment.date() else moment
    return moment.astimezone(dt.timezone.utc)


def _due(pipeline: Pipeline, moment: dt.datetime, which: Literal["get_prev", "get_next"]) -> dt.datetime | None:
    """When the cron fires before or after a moment; None where there is no cron, or it never does."""
    cron = pipeline.schedule.cron if pipeline.schedule else None
    if cron is None or cron in ("@once", "@continuous"):
        return None
    from croniter import CroniterBadDateError, croniter

    try:
        due: dt.datetime = getattr(croniter(cron, moment), which)(dt.datetime)
    except CroniterBadDateError:
        return None
    return due


def _show(told: dict[str, Any], *, requests: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    ledger = f"ledger {told['state']}" if told["state"] else "no ledger"
    table = Table(title=f"{told['pipeline']} · run {told['run_key']} · {ledger}", title_justify="left")
    for column in ("job", "does", "indices", "of", "input", "why"):
        table.add_column(column, overflow="fold")
    for one in told["jobs"]:
        size = "" if one["bytes"] is None else f"{one['bytes']:,} bytes"
        table.add_row(one["task_id"], one["does"], one["indices"], str(one["of"] or ""), size, one["note"])
    console.print(table)
    for note in told["notes"]:
        console.print(f"note: {note}", markup=False)
    if requests:
        for one in told["jobs"]:
            for request in one["requests"]:
                more = f" ({request['note']})" if "note" in request else ""
                console.print(f"\n{one['task_id']}: {request['call']}{more}", markup=False)
                console.print(json.dumps(request["request"], indent=2), markup=False)
