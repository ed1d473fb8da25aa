"""`batchemr local`: the local AWS in a process of its own."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

__all__ = ["app", "local"]

app = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
)


@app.command()
def local(  # noqa: PLR0917 (all are options)
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    root: Annotated[Path | None, typer.Option(help="Where jobs work; a temporary folder if not given.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Commands at once; as many as cores if not given.")] = None,
    path: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder where jobs' commands are looked for first. Can be repeated."
        ),
    ] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Written once it serves: endpoint and keys as JSON.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Endpoint and keys as one JSON object on a line.")] = False,
    speed: Annotated[float, typer.Option(min=1.0, help="How much faster AWS's own timeouts pass.")] = 1.0,
) -> None:
    """Serve AWS Batch and EMR on this machine, with jobs and steps that really run as local processes.

    S3, CloudWatch Logs, EventBridge and IAM are there too. It listens on 127.0.0.1 only, answers only to the access
    key that it prints, and keeps nothing when it stops.
    """
    from airflow_batchemr.local import LocalAWS

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        aws = LocalAWS(root=root, port=port, slots=slots, path=path or (), speed=speed)
        aws.start()
    except (ImportError, OSError) as error:
        typer.echo(f"the local AWS does not start: {error}", err=True)
        raise typer.Exit(1) from error
    try:
        environment = aws.environment()
        for line in [json.dumps(environment)] if json_ else [f"export {n}={v}" for n, v in environment.items()]:
            typer.echo(line)
        if ready_file is not None:
            aws.write_ready_file(ready_file)
        stop.wait()
    finally:
        aws.stop()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
