"""`airflow batchemr …`: the same commands, with what Airflow's configuration says as their defaults."""

from __future__ import annotations

from argparse import PARSER
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow.cli.cli_config import CLICommand

#: The commands, for the help of `airflow batchemr`; their own help is a process away, Airflow's start is slow enough.
COMMANDS = "validate fmt graph schema plan render import history replay orphans clusters local"


def get_cli_commands() -> list[CLICommand]:
    """What Airflow's command line asks the provider for at each of its starts: nothing of ours is imported for it."""
    from airflow.cli.cli_config import ActionCommand, Arg, lazy_load_command

    # nargs=PARSER takes a word and then everything, options too: they are for our own command line to understand.
    arguments = Arg(  # type: ignore[no-untyped-call]
        ("arguments",), nargs=PARSER, metavar="COMMAND ...", help="a command and its arguments"
    )
    return [
        ActionCommand(
            name="batchemr",
            help="Check, plan, draw, render, import and repeat pipelines of AWS Batch and EMR",
            description=f"The commands of `batchemr`: {COMMANDS}. `airflow batchemr COMMAND --help` says more. "
            "State URI and environment are those of Airflow's configuration (section batchemr), unless they are given.",
            func=lazy_load_command(f"{__name__}.run"),
            args=(arguments,),
        )
    ]


def run(args: Namespace) -> None:
    """Run a command of ours; it ends the process with its own exit code."""
    import typer

    from airflow_batchemr import settings
    from airflow_batchemr.cli.app import app

    given = {"environment": settings.environment(), "state": settings.option("state")}
    given = {name: value for name, value in given.items() if value is not None}
    # Options that a command does not have are left alone.
    defaults: dict[str, Any] = dict.fromkeys(COMMANDS.split(), given)
    typer.main.get_command(app).main(args.arguments, prog_name="airflow batchemr", default_map=defaults)
