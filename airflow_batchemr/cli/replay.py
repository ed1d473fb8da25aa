"""`batchemr replay`: rerun a single index of a recorded job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_batchemr.cli import common
from airflow_batchemr.core.container_overrides import own_container, recorded
from airflow_batchemr.engine.replay import docker_command, recorded_shard, shell_text, with_definition

if TYPE_CHECKING:
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.replay import Shard
    from airflow_batchemr.ledger import LedgerState

app = common.new_app()


@app.command()
def replay(  # noqa: PLR0917 (all are options)
    pipeline: Annotated[str, typer.Argument(help="Dag id.")],
    run_key: Annotated[
        str, typer.Argument(help="Run key, such as 2026-11-20T000000Z: the PIPELINE_RUN_ID of the jobs.")
    ],
    job: Annotated[str, typer.Argument(help="Job.")],
    index: Annotated[int, typer.Option("--index", "-i", min=0, help="Index of the array job; 0 for a single job.")] = 0,
    print_: Annotated[bool, typer.Option("--print", help="Print the shell command (the default).")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Run the program as a local process in the current folder.")
    ] = False,
    docker: Annotated[bool, typer.Option("--docker", help="Run the image locally with Docker.")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Submit a single AWS Batch job and wait for it.")] = False,
    instance_type: Annotated[
        str | None, typer.Option(help="With --batch: use a queue whose instances are all of this type.")
    ] = None,
    mark: Annotated[
        bool,
        typer.Option(
            "--mark", help="On success, record the index as done, and write the job's marker if it was the last."
        ),
    ] = False,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Rerun a single index of a recorded job with the same command, environment and input.

    Without --mark, nothing is recorded. Exits with the exit code of the program.

        batchemr replay nightly 2026-11-20T000000Z score --index 17

        batchemr replay nightly 2026-11-20T000000Z score --index 17 --docker

        batchemr replay nightly 2026-11-20T000000Z score --index 17 --batch --mark
    """
    if local + docker + batch + (print_ or json_) > 1:
        raise typer.BadParameter("use only one of --print, --local, --docker and --batch")
    if instance_type and not batch:
        raise typer.BadParameter("--instance-type requires --batch")
    if mark and not (local or docker or batch):
        raise typer.BadParameter("--mark requires --local, --docker or --batch, because --print does not run anything")
    with common.errors():
        aws = common.clients(profile, region)
        ledger = common.open_ledger(aws, state)
        job_ledger = common.existing_job(ledger, pipeline, run_key, job)
        history = job_ledger.history()
        shard = _complete(aws, recorded_shard(history, index), needed=docker)
        if mark:
            _check_free(history, index)
        if batch:
            from airflow_batchemr.cli.replay_batch import run_on_batch

            code = run_on_batch(aws, ledger.uri, job_ledger, shard, instance_type=instance_type, mark=mark)
        elif local or docker:
            code = _run_here(shard, profile, region, docker=docker)
            if mark and code == 0:
                from airflow_batchemr.cli.replay_mark import record_success

                common.say(record_success(job_ledger, shard, "docker" if docker else "local"))
        else:
            _show(shard, json_=json_)
            code = 0
    raise typer.Exit(code)


def _complete(aws: Clients, shard: Shard, *, needed: bool) -> Shard:
    """Add values from the job definition, which is required for the image and for a command that only it defines."""
    from airflow_batchemr.aws.errors import AwsError, member
    from airflow_batchemr.aws.retry import call_again

    name = str(shard.request["jobDefinition"])
    try:
        answer = call_again(
            lambda: aws.batch.describe_job_definitions(jobDefinitions=[name]), "batch:DescribeJobDefinitions"
        )
        found = member(answer, "jobDefinitions", "batch:DescribeJobDefinitions")
    except AwsError as error:
        if needed or not shard.argv:
            raise
        found = []
        common.say(f"note: cannot read the job definition; its own settings are missing: {error}")
    if not found:
        if needed or not shard.argv:
            raise LookupError(f"AWS Batch no longer has the job definition {name}")
        return shard
    if own_container(found[0], recorded(shard.request).get("name")).get("secrets"):
        common.say("note: the job definition has secrets, which only AWS Batch can resolve")
    return with_definition(shard, found[0])


def _check_free(state: LedgerState, index: int) -> None:
    if index in state.done:
        raise LookupError(f"index {index} is already recorded as done; to run it anyway, omit --mark")
    if index in state.running:
        holders = [str(submission.number) for submission in state.open_submissions if index in submission.indices]
        raise LookupError(
            f"index {index} belongs to submission {', '.join(holders)}, which has not ended; wait for it or clear the "
            "task, or omit --mark to run the index anyway"
        )


def _show(shard: Shard, *, json_: bool) -> None:
    if not json_:
        sys.stdout.write(shell_text(shard) + "\n")
        return
    shown: dict[str, Any] = {
        "index": shard.index,
        "size": shard.size,
        "submission": shard.submission,
        "command": shard.program(),
        "environment": shard.program_environment(),
        "image": shard.image,
        "queue": shard.request.get("jobQueue"),
        "definition": shard.request.get("jobDefinition"),
        "request": shard.request,
    }
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")


def _run_here(shard: Shard, profile: str | None, region: str | None, *, docker: bool) -> int:
    if docker:
        return _run_in_docker(shard, _credentials(profile, region))
    command = shard.program()
    common.say(f"note: running in {Path.cwd()}; files that the program writes there are kept")
    try:
        return subprocess.run(command, env={**os.environ, **shard.program_environment()}, check=False).returncode
    except FileNotFoundError:
        raise LookupError(f"program {command[0]!r} is not on the PATH: add it, or use --docker or --batch") from None


def _run_in_docker(shard: Shard, credentials: dict[str, str]) -> int:
    """Run the image. Variables are passed in a file readable only by this user, so that `ps` shows no credentials."""
    endpoint = credentials.get("AWS_ENDPOINT_URL", "")
    local_endpoint = any(f"//{host}" in endpoint for host in ("127.", "localhost", "[::1]"))
    environment = {**credentials, **shard.program_environment()}
    lines = {name: value for name, value in environment.items() if "\n" not in value}
    with tempfile.NamedTemporaryFile("w", prefix="batchemr-", suffix=".env", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in lines.items())
        file.flush()
        multiline = [f"{name}={value}" for name, value in environment.items() if name not in lines]
        command = docker_command(shard, file.name, multiline, host_network=local_endpoint)
        try:
            return subprocess.run(command, check=False).returncode
        except FileNotFoundError:
            raise LookupError("docker is not installed: use --local or --batch") from None


def _credentials(profile: str | None, region: str | None) -> dict[str, str]:
    """Return the AWS credentials as environment variables, because a container sees neither profiles nor roles."""
    import boto3

    session: Any = boto3.Session(profile_name=profile, region_name=region)
    found: dict[str, str | None] = {
        "AWS_DEFAULT_REGION": session.region_name,
        "AWS_ENDPOINT_URL": os.environ.get("AWS_ENDPOINT_URL"),
    }
    credentials = session.get_credentials()
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        found |= {
            "AWS_ACCESS_KEY_ID": frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
            "AWS_SESSION_TOKEN": frozen.token,
        }
    return {name: value for name, value in found.items() if value}
