"""The commands of `batchemr`, each in a module of its own that is imported when the command is called.

A module has a Typer `app` of one command, or of several (`import sundial`, `import step-functions`).
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: Name of a command, its module, and the line that `batchemr --help` shows.
COMMANDS = {
    "validate": ("validate", "Check pipeline files: every mistake with its place; exit 1 if there is one."),
    "fmt": ("fmt", "Format pipeline files in one way, comments kept."),
    "graph": ("graph", "Draw the jobs of a pipeline and what waits for what: text, Mermaid or SVG."),
    "schema": ("schema", "Print the JSON Schema of pipeline files, for editors."),
    "plan": ("plan", "Show what a run would do now: skip, resume or run; nothing is submitted."),
    "render": ("render", "Write a pipeline file as an ordinary Airflow Python file."),
    "import": ("import_", "Translate Sundial's or Step Functions' definitions to pipeline files."),
    "history": ("history", "Tell what has run, and how it ended, also after AWS has forgotten it."),
    "replay": ("replay", "Run one index of a recorded job again, alone."),
    "orphans": ("orphans", "Find clusters and Batch jobs whose run is over; end them if asked."),
    "clusters": ("clusters", "List the clusters that this package has started, with age and owner; end them."),
    "local": ("local", "Serve AWS Batch, EMR and S3 on this machine; jobs really run."),
}


class _Commands(TyperGroup):
    """A group that knows its commands' names, and imports a command's module only to call it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's signature
        """The commands whose modules are there."""
        return [name for name, (module, _) in COMMANDS.items() if _exists(module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command as the group's help shows it: name and one line."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, with its options."""
        if args and args[0] not in (known := self.list_commands(ctx)) and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], known, n=1)
            ctx.fail(f"No such command '{args[0]}'. {f'Did you mean {near[0]}?' if near else ''}".strip())
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            module = importlib.import_module(f"airflow_batchemr.cli.{COMMANDS[name][0]}")
            command = typer.main.get_command(module.app)
            command.name = name
        return name, command, rest


def _exists(module: str) -> bool:
    return importlib.util.find_spec(f"airflow_batchemr.cli.{module}") is not None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="""Pipelines of AWS Batch array jobs and short-lived EMR clusters, written as short YAML files.

A pipeline file is one entry a Dag:

    nightly:
      schedule: '0 1 * * *'
      batch: {image: etl:1.4, queue: data, command: etl.sh}
      array: 50

Check it with `batchemr validate`, see it with `batchemr graph`, see what a run would do with `batchemr plan`.
Every command explains itself with `--help`; all of them are also `airflow batchemr …`.""",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("airflow-batchemr"))
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Options of the whole command line."""
