"""Run the examples: `python -m demo run` (`make demo`) or `python -m demo up` (`make up`)."""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from demo.airflow import NO_SCHEDULES, Airflow, AirflowError
from demo.aws import LocalAws, LocalAwsError
from demo.processes import ROOT
from demo.story import BUCKET, DemoError, Story, first_lines, keys, put_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import FrameType
    from typing import NoReturn

EXAMPLES = ROOT / "dags_examples"
PIPELINES = ("transform", "score", "publish", "shards", "daily")


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the examples, print a table of what ran, and stop everything")
    up_command = commands.add_parser("up", help="start Airflow and the local AWS, and keep them running until Ctrl-C")
    up_command.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_address,
        help="address of Airflow, with a login if other machines can connect; default: a free port on 127.0.0.1",
    )
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    try:
        if arguments.command == "run":
            run(console)
        else:
            up(console, arguments.listen)
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    except (DemoError, AirflowError, LocalAwsError) as error:
        console.print(f"\nThe demo failed: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


def run(console: Console) -> None:
    """Run all examples, print a table of what ran, and stop everything."""
    started = time.monotonic()
    with ExitStack() as stack:
        airflow, aws = start(stack, ROOT / ".demo", console, NO_SCHEDULES)
        story = Story(airflow, aws, console)
        story.run()
        console.print()
        console.print(table(story))
        for key in (next(keys(aws, "input/")), next(keys(aws, "scores/")), "published/scores.csv", "clean/17.csv"):
            console.print(f"[bold]s3://{BUCKET}/{key}[/bold]  {'  '.join(first_lines(aws, key))}  …", highlight=False)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s; all started processes are stopped.")


def up(console: Console, listen: tuple[str, int] | None) -> NoReturn:
    """Start Airflow and the local AWS with the examples and their inputs, and wait for Ctrl-C."""
    with ExitStack() as stack:
        airflow, aws = start(stack, ROOT / ".up", console, {}, listen)
        exports = " ".join(f"{name}={value}" for name, value in aws.environment.items())
        urls = "\n            ".join(airflow.address.urls)
        console.print(f"\nAirflow:    {urls}", highlight=False)
        if airflow.password is not None:
            console.print(f"login:      {airflow.user}, password {airflow.password}", markup=False, highlight=False)
        console.print(f"runs:       {airflow.url}/plugin/batchemr", highlight=False)
        console.print(f"local AWS:  {aws.endpoint_url}", highlight=False)
        console.print(f"for `aws`:  export {exports}", markup=False, highlight=False, soft_wrap=True)
        console.print(
            f"input:      s3://{BUCKET}/; s3://{BUCKET}/shards/17.csv is malformed, so `shards` fails at index 17"
        )
        console.print("\nPress Ctrl-C to stop.")
        while not (airflow.ended or aws.ended):
            time.sleep(1)
        raise DemoError(f"Airflow or the local AWS exited; their logs are in {airflow.home} and {aws.root}")


def start(
    stack: ExitStack,
    folder: Path,
    console: Console,
    settings: Mapping[str, str],
    listen: tuple[str, int] | None = None,
) -> tuple[Airflow, LocalAws]:
    """Start the local AWS with the inputs, and Airflow with the examples. The stack stops them.

    Args:
        stack: Receives the callbacks that stop them.
        folder: Folder for their homes and logs. Earlier contents are removed.
        console: Console for progress messages.
        settings: Additional Airflow settings, as environment variables.
        listen: Host and port of Airflow.

    Raises:
        DemoError: Another process uses the folder.
    """
    folder.mkdir(exist_ok=True)
    lock = stack.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DemoError(f"already running: {folder} is in use") from None
    for name in ("aws", "airflow"):
        shutil.rmtree(folder / name, ignore_errors=True)
    console.print("Starting the local AWS and Airflow …")
    aws = LocalAws(folder / "aws", [EXAMPLES / "bin"])
    stack.callback(aws.stop)
    aws.start()
    airflow = Airflow(folder / "airflow", EXAMPLES, aws, settings, listen)
    stack.callback(airflow.stop)
    began = time.monotonic()
    airflow.launch()
    put_inputs(aws)
    airflow.wait_until_healthy()
    airflow.wait_for_dags(PIPELINES)
    console.print(f"   local AWS at {aws.endpoint_url}, Airflow at {airflow.url} ({time.monotonic() - began:.0f} s)")
    return airflow, aws


def table(story: Story) -> Table:
    """Return a table of the jobs that ran."""
    rows = Table("pipeline", "job", box=SIMPLE)
    for heading in ("indices run", "indices skipped", "seconds"):
        rows.add_column(heading, justify="right")
    rows.add_column("output in S3", no_wrap=True)
    for row in story.rows:
        rows.add_row(row.pipeline, row.job, str(row.ran), str(row.skipped), f"{row.seconds:.0f}", row.output)
    return rows


def _address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT. The host defaults to 127.0.0.1."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080")
    return host.strip("[]") or "127.0.0.1", int(port)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Exit as after Ctrl-C, stopping all started processes on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
