"""Every `batchemr …` that a document or a help shows is one that the command line takes."""

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
#: A command in a line of a shell: behind a prompt, behind variables.
_CALL = re.compile(r"^\s*(?:\$ )?(?:\w+=\S+\s+)*(batchemr .*)", re.MULTILINE)
_SHELL = {">", "|", "&&", ";", ">>"}


def commands_of(app: typer.Typer) -> list[str]:
    """The examples in the help of a command, or of the commands of a group."""
    command = typer.main.get_command(app)
    helps = [command.help or "", *(one.help or "" for one in getattr(command, "commands", {}).values())]
    return [call for text in helps for call in _CALL.findall(text)]


def shown() -> list[tuple[str, str]]:
    """Where a command is shown, and the command; what stands in a sentence may lack what is needed."""
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
    """The search finds those of a tutorial, of a reference and of a help."""
    pages = {where for where, _ in shown()}
    assert {"tutorial.md", "operations.md", "import.md", "plan --help", "pipeline-file.md, in a sentence"} <= pages


@pytest.mark.parametrize(("where", "call"), shown(), ids=lambda value: value)
def test_a_command_that_is_shown_is_taken(where, call, tmp_path, monkeypatch):
    """Its name, its options and their values; nothing is run."""
    words = shlex.split(call, comments=True)[1:]
    words = words[: next((place for place, word in enumerate(words) if word in _SHELL), len(words))]
    if words[0] in {"…", "COMMAND", "--help"}:
        return
    monkeypatch.chdir(tmp_path)
    for word in words:
        if word.endswith("/") and "://" not in word:
            Path(word).mkdir(parents=True)
    group = typer.main.get_command(app)
    context = group.make_context("batchemr", words)
    name, command, rest = group.resolve_command(context, words)
    if "in a sentence" in where and (not rest or rest[0].startswith("-")):
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= known
        return
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, rest)
    command.make_context(name, rest, parent=context)
