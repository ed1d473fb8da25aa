"""`batchemr replay`: rerun a single index of a recorded job."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_batchemr.cli import common
from airflow_batchemr.core.container_overrides import all_recorded, job_roles, own_container, recorded
from airflow_batchemr.core.foreign_text import clean_line
from airflow_batchemr.core.preamble import RESERVED, unwrap
from airflow_batchemr.engine.replay import recorded_shard, shell_text, with_definition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.replay import Shard
    from airflow_batchemr.ledger import LedgerState

app = common.new_app()

#: Names of variables whose values are not shown.
_SECRET = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|(?:ACCESS|API|PRIVATE)_?KEY", re.IGNORECASE)


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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run it without asking, for scripts.")] = False,
    no_credentials: Annotated[
        bool, typer.Option("--no-credentials", help="With --local or --docker: give the program no AWS credentials.")
    ] = False,
    role: Annotated[
        str | None,
        typer.Option(
            help="With --local or --docker: give the program credentials of this role for an hour instead of yours.",
            metavar="arn:aws:iam::...",
        ),
    ] = None,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Rerun a single index of a recorded job with the same command, environment and input.

    Without --mark, nothing is recorded. Exits with the exit code of the program.

    The program, its variables and its image are those that the ledger and AWS have recorded. Before it runs, they are
    shown together with the credentials that it gets, and you are asked. --yes runs it without asking.

    With --no-credentials or --role, the program gets no AWS_* variables of yours and another home folder, so that AWS's
    tools find neither ~/.aws nor the role of the machine. A process of --local can still read all of your files:
    use --docker for a program that you do not trust.

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
    if (role or no_credentials) and not (local or docker):
        raise typer.BadParameter("--role and --no-credentials require --local or --docker")
    if role and no_credentials:
        raise typer.BadParameter("use only one of --role and --no-credentials")
    with common.errors():
        aws = common.clients(profile, region)
        ledger = common.open_ledger(aws, state)
        job_ledger = common.existing_job(ledger, pipeline, run_key, job)
        history = job_ledger.history()
        shard, roles = _complete(aws, recorded_shard(history, index), needed=docker)
        if mark:
            _check_free(history, index)
        if batch:
            from airflow_batchemr.cli.replay_batch import run_on_batch

            facts = [
                ("queue", str(shard.request.get("jobQueue")) if instance_type is None else f"one of {instance_type}"),
                ("definition", str(shard.request["jobDefinition"])),
                ("image", shard.image or "see the definition"),
                ("job role", roles or "none, or see the definition"),
                *_of_other_containers(shard),
            ]
            _consent(shard, "runs as a job on AWS Batch, which costs money:", facts, yes=yes)
            code = run_on_batch(aws, ledger.uri, job_ledger, shard, instance_type=instance_type, mark=mark)
        elif local or docker:
            from airflow_batchemr.cli.replay_credentials import Access
            from airflow_batchemr.cli.replay_here import run_here

            access = Access(profile, region, role, no_credentials)
            place = ("image", shard.image or "") if docker else ("folder", str(Path.cwd()))
            where = "runs in a container on this machine:" if docker else "runs as a process of yours on this machine:"
            _consent(shard, where, [place, ("credentials", access.describe(aws))], yes=yes)
            code = run_here(aws, shard, access, docker=docker)
            if mark and code == 0:
                from airflow_batchemr.cli.replay_mark import record_success

                common.say(record_success(job_ledger, shard, "docker" if docker else "local"))
        else:
            _show(shard, json_=json_)
            code = 0
    raise typer.Exit(code)


def _complete(aws: Clients, shard: Shard, *, needed: bool) -> tuple[Shard, str]:
    """Add values from the job definition, which is required for the image and for a command that only it defines.

    Returns:
        The index, and the roles of the job definition as text.
    """
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
        return shard, ""
    if own_container(found[0], recorded(shard.request).get("name")).get("secrets"):
        common.say("note: the job definition has secrets, which only AWS Batch can resolve")
    return with_definition(shard, found[0]), ", ".join(job_roles(found[0]))


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


def _of_other_containers(shard: Shard) -> list[tuple[str, str]]:
    """Return what the request sets for further containers and nodes, which run only on AWS Batch."""
    commands: list[list[str]] = []
    variables: list[str] = []
    for one in all_recorded(shard.request):
        command = unwrap(one.get("command", []))
        commands += [command] if command not in ([], shard.argv, *commands) else []
        own = {each["name"]: each.get("value", "") for each in one.get("environment", []) if "name" in each}
        variables += [each for each in _shown(own) if each not in (*_shown(shard.environment), *variables)]
    return [*(("also runs", shlex.join(one)) for one in commands), *(("its variable", one) for one in variables)]


def _shown(environment: Mapping[str, str]) -> list[str]:
    names = sorted(environment.keys() - RESERVED)
    return [f"{name}={'***' if _SECRET.search(name) else environment[name]}" for name in names]


def _consent(shard: Shard, where: str, facts: list[tuple[str, str]], *, yes: bool) -> None:
    """Show what the ledger and AWS say is to run, and ask. Whoever can write the ledger decides what runs."""
    facts = [
        ("recorded by", f"submission {shard.submission} in the ledger"),
        *facts,
        ("program", shlex.join(shard.program())),
        *(("variable", one) for one in _shown(shard.environment)),
    ]
    common.say(f"index {shard.index} {where}")
    for name, value in facts:
        common.say(f"  {name:<12} {clean_line(value)}")
    if any(value.endswith("=***") for _, value in facts):
        common.say("  --print shows the values of secrets (***)")
    common.confirm("Run it?", yes=yes)
