"""`batchemr plan`: what a run would do now."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from airflow_batchemr.cli.common import (
    ProfileOption,
    RegionOption,
    StateOption,
    check_environment,
    engine_policy,
    load_pipelines,
    new_app,
    put_args,
    state_uri,
)
from airflow_batchemr.core.foreign_text import clean, clean_line

if TYPE_CHECKING:
    from airflow_batchemr.forecast import PipelineForecast
    from airflow_batchemr.pipeline_file import Pipeline
    from airflow_batchemr.pipeline_file.policy import Policy

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
            help="Logical date of the run, in the pipeline's time zone; a day means its first run. Defaults to the "
            "last run that is due.",
        ),
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Id of a run that has no logical date.")] = None,
    state: StateOption = None,
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", help="Which environment of the file to use.")
    ] = None,
    requests: Annotated[bool, typer.Option("--requests", help="Show the requests to AWS in full.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per pipeline, one per line.")] = False,
    profile: ProfileOption = None,
    region: RegionOption = None,
) -> None:
    """Show what a run would do now, job by job: skip, run, resume or wait. It reads from AWS and submits nothing.

    Without a state URI it makes no calls. Exit code 0: no errors; 1: the file has errors, or a request would be
    refused; 2: wrong usage.

        batchemr plan nightly.yaml --date 2026-11-20

        batchemr plan nightly.yaml --job score --requests --json
    """
    spec = load_pipelines(file, environment, only=pipeline)
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
    wanted = _Wanted(file.parent, job, date, run_id, state, profile, region, spec.policy)
    for one in chosen.values():
        if job is not None and job not in one.jobs:
            continue
        made = _forecast(one, wanted)
        bad |= any(forecast.does == "refused" for forecast in made.jobs) or made.error is not None
        if json_:
            sys.stdout.write(json.dumps(asdict(made)) + "\n")
        elif made.error is not None:
            if made.error not in errors:
                sys.stderr.write(f"error: {made.error}\n")
            errors.add(made.error)
        else:
            _show(made, requests=requests)
    raise typer.Exit(1 if bad else 0)


class _Wanted(NamedTuple):
    """The options."""

    folder: Path
    job: str | None
    date: str | None
    run_id: str | None
    state: str | None
    profile: str | None
    region: str | None
    policy: Policy | None


def _forecast(pipeline: Pipeline, wanted: _Wanted) -> PipelineForecast:
    from botocore.exceptions import BotoCoreError

    from airflow_batchemr.core.errors import AwsError
    from airflow_batchemr.forecast import forecast_pipeline, run_date
    from airflow_batchemr.ledger import LedgerError

    try:
        date = None if wanted.run_id else run_date(pipeline, wanted.date)
    except ValueError:
        raise typer.BadParameter(f"expected a date like 2026-11-20 or 2026-11-20T10:00, not {wanted.date}") from None
    try:
        return forecast_pipeline(
            pipeline,
            folder=wanted.folder,
            date=date,
            run_id=wanted.run_id,
            job=wanted.job,
            state=pipeline.state or state_uri(wanted.state),
            profile=wanted.profile,
            region=wanted.region,
            put_args=put_args(),
            policy=wanted.policy,
            engine_policy=engine_policy(),
        )
    except (LedgerError, AwsError, BotoCoreError) as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from None


def _show(made: PipelineForecast, *, requests: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    ledger = f"ledger {made.state}" if made.state else "no ledger"
    title = Text(clean_line(f"{made.pipeline} · run {made.run_key} · {ledger}"))
    table = Table(title=title, title_justify="left")
    for column in ("job", "does", "indices", "of", "input", "why"):
        table.add_column(column, overflow="fold")
    for one in made.jobs:
        size = "" if one.bytes is None else f"{one.bytes:,} bytes"
        cells = (one.task_id, one.does, one.indices, str(one.of or ""), size, one.note)
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console.print(table)
    for note in made.notes:
        sys.stdout.write(f"note: {note}\n")
    if requests:
        for one in made.jobs:
            for request in one.requests:
                more = f" ({request['note']})" if "note" in request else ""
                sys.stdout.write(f"\n{one.task_id}: {request['call']}{more}\n")
                sys.stdout.write(json.dumps(request["request"], indent=2) + "\n")
