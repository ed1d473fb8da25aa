"""The command line accepts every `batchemr …` command in the documentation and in help texts."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer

from airflow_batchemr.cli.app import COMMANDS, app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: A command in a line of shell code, optionally after a prompt and variables.
_CALL = re.compile(r"^\s*(?:\$ )?(?:\w+=\S+\s+)*(batchemr .*)", re.MULTILINE)
_SHELL = {">", "|", "&&", ";", ">>"}


def commands_of(app: typer.Typer) -> list[str]:
    """The examples in the help of a command, or of the commands of a group."""
    command = typer.main.get_command(app)
    helps = [command.help or "", *(one.help or "" for one in getattr(command, "commands", {}).values())]
    return [call for text in helps for call in _CALL.findall(text)]


def shown() -> list[tuple[str, str]]:
    """All commands with their locations. Those in a sentence may lack required arguments."""
    found = []
    for page in PAGES:
        text = page.read_text()
        blocks = [block for kind, block in _FENCED.findall(text) if kind in {"", "sh"}]
        found += [(page.name, call) for block in blocks for call in _CALL.findall(block.replace("\\\n", " "))]
        found += [(f"{page.name}, in a sentence", call) for call in re.findall(r"`(batchemr [^`]+)`", text)]
    for name, (module, _) in COMMANDS.items():
        calls = commands_of(importlib.import_module(f"airflow_batchemr.cli.{module}").app)
        found += [(f"{name} --help", call) for call in calls]
    return list(dict.fromkeys(found))


def test_documents_show_commands():
    """Commands are found in the tutorial, in references and in help texts."""
    pages = {where for where, _ in shown()}
    assert {"tutorial.md", "operations.md", "import.md", "plan --help", "pipeline-file.md, in a sentence"} <= pages


@pytest.mark.parametrize(("where", "call"), shown(), ids=lambda value: value)
def test_a_documented_command_is_accepted(where, call, tmp_path, monkeypatch):
    """Its name, options and values are valid. The command is not executed."""
    arguments = shlex.split(call, comments=True)[1:]
    arguments = arguments[: next((place for place, one in enumerate(arguments) if one in _SHELL), len(arguments))]
    if arguments[0] in {"…", "COMMAND", "--help"}:
        return
    monkeypatch.chdir(tmp_path)
    for argument in arguments:
        if argument.endswith("/") and "://" not in argument:
            Path(argument).mkdir(parents=True)
    group = typer.main.get_command(app)
    context = group.make_context("batchemr", arguments)
    name, command, rest = group.resolve_command(context, arguments)
    if "in a sentence" in where and (not rest or rest[0].startswith("-")):
        known = {option for parameter in command.params for option in parameter.opts}
        assert {argument for argument in rest if argument.startswith("-")} <= known
        return
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, rest)
    command.make_context(name, rest, parent=context)
