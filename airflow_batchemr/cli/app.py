"""The `batchemr` command group. Each command lives in its own module, which is imported when the command is called.

A module defines a Typer `app` with one command, or with several (`import sundial`, `import step-functions`).
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from airflow_batchemr.cli.safe_output import clean_usage_errors, install

#: Command name -> module and the line shown by `batchemr --help`.
COMMANDS = {
    "validate": ("validate", "Validate pipeline files and show every error with its position."),
    "fmt": ("fmt", "Format pipeline files; comments are kept."),
    "graph": ("graph", "Draw the jobs of a pipeline and their dependencies as text, Mermaid or SVG."),
    "schema": ("schema", "Print the JSON Schema of pipeline files for use in editors."),
    "plan": ("plan", "Show what a run would do now (skip, resume or run) without submitting anything."),
    "render": ("render", "Convert a pipeline file to a plain Airflow Dag file in Python."),
    "import": ("import_", "Convert Sundial or Step Functions definitions to pipeline files."),
    "history": ("history", "Show what ran and how it ended, even after AWS has deleted its records."),
    "replay": ("replay", "Rerun a single index of a recorded job."),
    "orphans": (
        "orphans",
        "Find clusters, Batch jobs and job runs that no run needs any more, and stop them on request.",
    ),
    "clusters": ("clusters", "List the EMR clusters started by this package with age and owner, or terminate them."),
    "local": ("local", "Serve AWS Batch, EMR and S3 on this machine; jobs run as local processes."),
}


class _Commands(TyperGroup):
    """A command group that imports a command's module only when the command is called, and makes all output safe."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        install()
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the global options."""
        with clean_usage_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Parse the options of the command and run it."""
        with clean_usage_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's signature
        """Return the names of the commands whose modules exist."""
        return [name for name, (module, _) in COMMANDS.items() if _exists(module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a placeholder with name and help line, as needed by the help of the group."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import and return the called command with its options."""
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
    help="""Run AWS Batch array jobs and short-lived EMR clusters from short YAML pipeline files.

A pipeline file has one entry per Dag:

    nightly:
      schedule: '0 1 * * *'
      batch: {image: etl:1.4, queue: data, command: etl.sh}
      array: 50

Validate it with `batchemr validate`, draw it with `batchemr graph`, and preview a run with `batchemr plan`.
Use `--help` with any command for details. All commands are also available as `airflow batchemr …`.""",
)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(version("airflow-batchemr"))
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Global options."""
