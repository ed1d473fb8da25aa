"""Shared by the commands: common options, AWS clients, access to the ledger, error handling and output."""

from __future__ import annotations

import configparser
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from airflow_batchemr.core.foreign_text import clean, clean_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.policy import Policy as EnginePolicy
    from airflow_batchemr.engine.unrecorded import RemoteWorkReader
    from airflow_batchemr.ledger import JobLedger, Ledger
    from airflow_batchemr.pipeline_file import PipelineFile
    from airflow_batchemr.pipeline_file.policy import Policy

StateOption = Annotated[
    str | None,
    typer.Option(
        "--state",
        help="State URI. Default: from Airflow's configuration.",
        metavar="s3://...",
        show_default=False,
    ),
]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="AWS profile to use.", show_default=False)]
RegionOption = Annotated[str | None, typer.Option("--region", help="AWS region to use.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def new_app() -> typer.Typer:
    """Create the Typer app of one command."""
    return typer.Typer(
        add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
    )


def state_uri(given: str | None) -> str | None:
    """Return the state URI from the option or else from Airflow's configuration."""
    return given or _configured("state")


def _configured(name: str) -> str | None:
    """Return an option of Airflow's configuration, without importing Airflow.

    Reads ``AIRFLOW__BATCHEMR__<NAME>``, then the section ``[batchemr]`` in the file named by ``AIRFLOW_CONFIG``, or in
    ``$AIRFLOW_HOME/airflow.cfg`` (default: ``~/airflow``) if that variable is not set.
    """
    if given := os.environ.get(f"AIRFLOW__BATCHEMR__{name.upper()}"):
        return given
    file = Path(os.environ.get("AIRFLOW_CONFIG", _airflow_home() / "airflow.cfg"))
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return None
    return parser.get("batchemr", name, fallback=None) or None


def _airflow_home() -> Path:
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def load_pipelines(file: Path, environment: str | None, only: str | None = None) -> PipelineFile:
    """Load a pipeline file and apply `[batchemr] policy`, as Airflow does."""
    from airflow_batchemr.pipeline_file import apply_policy, load_file

    spec = load_file(file, environment=environment, only=only)
    apply_policy(spec, _policy(_configured("policy")))
    return spec


def _policy(path: str | None) -> Policy | None:
    from airflow_batchemr import settings

    # Where Airflow adds its own folders to the path
    folders = [str(_airflow_home() / name) for name in ("config", "plugins")] if path else []
    sys.path += [folder for folder in folders if folder not in sys.path]
    try:
        return settings.policy_at(path)
    except ImportError as error:
        fail(f"{error}. Add its folder to PYTHONPATH: without the policy, this would not be what Airflow runs")


def check_environment(given: str | None, known: Iterable[str]) -> None:
    """Reject an environment that no file defines although some files define environments: it is a typo.

    Raises:
        typer.BadParameter: Lists the environments that exist.
    """
    names = list(dict.fromkeys(known))
    if given is not None and names and given not in names:
        raise typer.BadParameter(
            f"unknown environment {given}; available: {', '.join(names)}", param_hint="--environment"
        )


def clients(profile: str | None, region: str | None) -> Clients:
    """Create AWS clients from boto3's default credential chain."""
    from airflow_batchemr.aws.clients import boto3_clients

    return boto3_clients(profile=profile, region=region, put_args=put_args())


def put_args() -> dict[str, Any]:
    """Return `[batchemr] s3_put_args` of Airflow's configuration.

    Raises:
        InvalidRequest: It is invalid.
    """
    from airflow_batchemr.aws.s3_put_args import parse

    return parse(_configured("s3_put_args"))


def engine_policy() -> EnginePolicy:
    """Return the grace periods and limits of the tasks, from Airflow's configuration."""
    from airflow_batchemr import settings

    try:
        return settings.engine_policy(_configured)
    except ValueError as error:
        fail(str(error))


def remote_work_reader(aws: Clients) -> RemoteWorkReader:
    """Return a reader that asks AWS about open submissions."""
    from airflow_batchemr.aws.remote_work import AnyRemoteWorkReader
    from airflow_batchemr.aws.retry import INTERACTIVE

    return AnyRemoteWorkReader(aws.with_config(INTERACTIVE), engine_policy())


def open_ledger(aws: Clients, state: str | None) -> Ledger:
    """Open the ledger. The S3 client is created only if a state URI is configured.

    Raises:
        LedgerError: The state URI is missing or invalid.
    """
    from airflow_batchemr.ledger import StateUriMissingError

    uri = state_uri(state)
    if not uri:
        raise StateUriMissingError
    return aws.ledger(uri)


def existing_job(ledger: Ledger, pipeline: str, run_key: str, job: str) -> JobLedger:
    """Return the ledger of a job.

    Raises:
        LookupError: The pipeline, run or job is not in the ledger; lists what is.
    """
    existing_run(ledger, pipeline, run_key)
    _known(ledger, job, ledger.jobs(pipeline, run_key), f"job of {pipeline} {run_key}")
    return ledger.job(pipeline, run_key, job)


def existing_run(ledger: Ledger, pipeline: str, run_key: str) -> None:
    """Check that a run is in the ledger.

    Raises:
        LookupError: The pipeline or run is not in the ledger; lists what is.
    """
    _known(ledger, run_key, existing_pipeline(ledger, pipeline), f"run of {pipeline}")


def existing_pipeline(ledger: Ledger, pipeline: str) -> list[str]:
    """Return the run keys of a pipeline, oldest first.

    Raises:
        LookupError: The pipeline is not in the ledger; lists those that are.
    """
    _known(ledger, pipeline, ledger.pipelines(), "pipeline")
    return ledger.runs(pipeline)


def _known(ledger: Ledger, name: str, known: list[str], what: str) -> None:
    if name not in known:
        available = ", ".join(known[-20:]) or "none"
        raise LookupError(f"the ledger {ledger.uri} has no {what} named {name!r}; available: {available}")


@contextmanager
def errors() -> Iterator[None]:
    """Print errors from AWS or the ledger without a traceback, and exit with code 1."""
    from botocore.exceptions import BotoCoreError, ClientError

    from airflow_batchemr.aws.errors import AwsError, classify
    from airflow_batchemr.ledger import LedgerError

    try:
        yield
    except (LedgerError, AwsError, LookupError) as error:
        fail(str(error))
    except (BotoCoreError, ClientError) as error:
        fail(str(classify(error)))


def fail(message: str) -> NoReturn:
    """Print an error message to stderr and exit with code 1."""
    say(f"error: {message}")
    raise typer.Exit(1)


def say(message: str) -> None:
    """Print a message to stderr, separate from the command's output."""
    sys.stderr.write(f"{message}\n")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is run or ended. Exits with code 1 if the answer is no, or if there is nobody to ask.

    Args:
        question: Question to answer with yes or no.
        yes: Whether it was answered by `--yes`.
    """
    if yes:
        return
    if not has_terminal():
        fail("nothing was done, because stdin is not a terminal on which to ask: check the above, and add --yes")
    if not typer.confirm(question, default=False, err=True):
        fail("nothing was done")


def has_terminal() -> bool:
    """Return whether somebody can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()  # None: closed


def table(headings: list[str], rows: list[list[str]]) -> None:
    """Print rows in columns, or nothing if there are no rows. Lines are not wrapped if stdout is not a terminal."""
    if not rows:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    for heading in headings:
        shown.add_column(Text(clean_line(heading)), overflow="fold")
    for row in rows:
        shown.add_row(*(Text(clean(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 10_000
    console.print(shown)


def duration(seconds: float) -> str:
    """Format a duration in seconds by its two largest units, such as ``3d 4h``."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
