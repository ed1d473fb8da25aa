"""`airflow batchemr …`: the same commands, with defaults from Airflow's configuration."""

from __future__ import annotations

from argparse import PARSER
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow.cli.cli_config import CLICommand

#: Command names for the help of `airflow batchemr`. Listed here because importing the commands would slow down every
#: start of Airflow's command line.
COMMANDS = "validate fmt graph schema plan render import history replay orphans clusters local"


def get_cli_commands() -> list[CLICommand]:
    """Return the provider's commands. Airflow's command line calls this at every start, so no command is imported."""
    from airflow.cli.cli_config import ActionCommand, Arg, lazy_load_command

    # nargs=PARSER passes on everything after the first argument, options included; our own command line parses them.
    arguments = Arg(  # type: ignore[no-untyped-call]
        ("arguments",), nargs=PARSER, metavar="COMMAND ...", help="command and its arguments"
    )
    return [
        ActionCommand(
            name="batchemr",
            help="Validate, plan, draw, render, import and replay AWS Batch and EMR pipelines",
            description=f"Commands: {COMMANDS}. See `airflow batchemr COMMAND --help`. "
            "The state URI and environment default to the [batchemr] section of Airflow's configuration.",
            func=lazy_load_command(f"{__name__}.run"),
            args=(arguments,),
        )
    ]


def run(args: Namespace) -> None:
    """Run a `batchemr` command. Exits the process with the command's exit code."""
    import typer

    from airflow_batchemr import settings
    from airflow_batchemr.cli.app import app

    given = {"environment": settings.environment(), "state": settings.option("state")}
    given = {name: value for name, value in given.items() if value is not None}
    # Click ignores defaults for options that a command does not have.
    defaults: dict[str, Any] = dict.fromkeys(COMMANDS.split(), given)
    typer.main.get_command(app).main(args.arguments, prog_name="airflow batchemr", default_map=defaults)
