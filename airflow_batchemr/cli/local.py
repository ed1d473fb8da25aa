"""`batchemr local`: run the local AWS as a separate process."""

from __future__ import annotations

import json
import os
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
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 selects a free port.")] = 0,
    root: Annotated[
        Path | None,
        typer.Option(help="Working folder of the jobs, for this user only. Default: a temporary folder."),
    ] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of concurrent commands. Default: number of cores.")
    ] = None,
    path: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="Folder to put first on the jobs' PATH. Can be repeated."),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write endpoint and keys to this new file as JSON when ready.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print endpoint and keys as JSON on one line.")] = False,
    speed: Annotated[float, typer.Option(min=1.0, help="Factor by which AWS's own timeouts are shortened.")] = 1.0,
) -> None:
    """Serve AWS Batch and EMR on this machine. Jobs and steps run as local processes.

    Also serves S3, CloudWatch Logs, EventBridge and IAM. The server listens on 127.0.0.1 only, accepts only the access
    key that it prints, and discards everything when it stops.
    """
    from airflow_batchemr.local import LocalAWS

    if ready_file is not None and os.path.lexists(ready_file):
        typer.echo(f"the ready file {ready_file} exists: remove it, or choose another one", err=True)
        raise typer.Exit(1)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        aws = LocalAWS(root=root, port=port, slots=slots, path=path or (), speed=speed)
        aws.start()
    except (ImportError, OSError) as error:
        typer.echo(f"cannot start the local AWS: {error}", err=True)
        raise typer.Exit(1) from error
    written = False
    try:
        environment = aws.environment()
        for line in [json.dumps(environment)] if json_ else [f"export {n}={v}" for n, v in environment.items()]:
            typer.echo(line)
        if ready_file is not None:
            aws.write_ready_file(ready_file)
            written = True
        stop.wait()
    except OSError as error:
        typer.echo(f"cannot write the ready file: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        aws.stop()
        if ready_file is not None and written:
            ready_file.unlink(missing_ok=True)
