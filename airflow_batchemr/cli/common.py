"""What the commands that read the ledger share: where it is, the clients, and how an error is told."""

from __future__ import annotations

import configparser
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.unrecorded import RemoteWorkReader
    from airflow_batchemr.ledger import JobLedger, Ledger

StateOption = Annotated[
    str | None,
    typer.Option(
        "--state",
        help="State URI; if not given, that of Airflow's configuration.",
        metavar="s3://...",
        show_default=False,
    ),
]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="AWS profile.", show_default=False)]
RegionOption = Annotated[str | None, typer.Option("--region", help="AWS region.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]


def new_app() -> typer.Typer:
    """Make the Typer app of one command."""
    return typer.Typer(
        add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
    )


def state_uri(given: str | None) -> str | None:
    """Find the state URI: the option, else Airflow's configuration, which is read without Airflow.

    ``AIRFLOW__BATCHEMR__STATE``, else ``[batchemr] state`` in the file that ``AIRFLOW_CONFIG`` names, else in
    ``$AIRFLOW_HOME/airflow.cfg`` (``~/airflow``).
    """
    if given or (given := os.environ.get("AIRFLOW__BATCHEMR__STATE")):
        return given
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    file = Path(os.environ.get("AIRFLOW_CONFIG", home / "airflow.cfg"))
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return None
    return parser.get("batchemr", "state", fallback=None)


def check_environment(given: str | None, known: Iterable[str]) -> None:
    """Refuse an environment that no file has where some have environments: it is misspelt.

    Raises:
        typer.BadParameter: with those that there are.
    """
    names = list(dict.fromkeys(known))
    if given is not None and names and given not in names:
        raise typer.BadParameter(f"no environment {given}; there is {', '.join(names)}", param_hint="--environment")


def clients(profile: str | None, region: str | None) -> Clients:
    """Make AWS clients out of boto3's own chain of credentials."""
    from airflow_batchemr.aws.clients import boto3_clients

    return boto3_clients(profile=profile, region=region)


def remote_work_reader(aws: Clients) -> RemoteWorkReader:
    """What asks AWS about submissions that the ledger has as open."""
    from airflow_batchemr.aws.remote_work import AnyRemoteWorkReader
    from airflow_batchemr.aws.retry import INTERACTIVE

    return AnyRemoteWorkReader(aws.with_config(INTERACTIVE))


def open_ledger(aws: Clients, state: str | None) -> Ledger:
    """Open the ledger; the client is only made for a URI that can be one.

    Raises:
        LedgerError: there is no state URI, or it is none.
    """
    from airflow_batchemr.ledger import Ledger, StateUriMissingError

    uri = state_uri(state)
    if not uri:
        raise StateUriMissingError
    return Ledger(aws.s3, uri)


def existing_job(ledger: Ledger, pipeline: str, run_key: str, job: str) -> JobLedger:
    """Find the job's ledger.

    Raises:
        LookupError: there is none; says what there is.
    """
    existing_run(ledger, pipeline, run_key)
    _known(ledger, job, ledger.jobs(pipeline, run_key), f"job of {pipeline} {run_key}")
    return ledger.job(pipeline, run_key, job)


def existing_run(ledger: Ledger, pipeline: str, run_key: str) -> None:
    """Look for a run; raises LookupError that says what there is."""
    _known(ledger, run_key, existing_pipeline(ledger, pipeline), f"run of {pipeline}")


def existing_pipeline(ledger: Ledger, pipeline: str) -> list[str]:
    """The run keys of a pipeline, oldest first; raises LookupError that says what there is."""
    _known(ledger, pipeline, ledger.pipelines(), "pipeline")
    return ledger.runs(pipeline)


def _known(ledger: Ledger, name: str, known: list[str], what: str) -> None:
    if name not in known:
        there = ", ".join(known[-20:]) or "none"
        raise LookupError(f"the ledger {ledger.uri} has no {what} named {name!r}; there are: {there}")


@contextmanager
def errors() -> Iterator[None]:
    """Tell an error of AWS or the ledger in its own words, without a traceback, and end with exit code 1."""
    from botocore.exceptions import BotoCoreError, ClientError

    from airflow_batchemr.aws.errors import AwsError, classify
    from airflow_batchemr.ledger import LedgerError

    try:
        yield
    except (LedgerError, AwsError, LookupError) as error:
        fail(str(error))
    except (BotoCoreError, ClientError) as error:
        fail(str(classify(error)))


def fail(message: str) -> None:
    """Say what is wrong and end with exit code 1."""
    say(f"error: {message}")
    raise typer.Exit(1)


def say(message: str) -> None:
    """Tell the person something that is not the command's answer."""
    sys.stderr.write(f"{message}\n")


def table(headings: list[str], rows: list[list[str]]) -> None:
    """Print rows in columns; nothing where there are no rows. Nothing is cut where the output is no terminal."""
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 10_000
    console.print(shown)


def duration(seconds: float) -> str:
    """Give a time in its two largest units, such as ``3d 4h``."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
