"""`batchemr` itself: quick to start, and it teaches."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.app import COMMANDS, app

runner = CliRunner()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name):
    """Its module, its line in the help, and a help of its own."""
    assert importlib.util.find_spec(f"airflow_batchemr.cli.{COMMANDS[name][0]}") is not None
    assert f"│ {name} " in runner.invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    result = runner.invoke(app, [name, "--help"])
    assert 0 == result.exit_code
    assert "Usage" in result.output


def test_help_imports_no_command():
    """Neither pydantic nor YAML nor Airflow: that is what makes it quick."""
    code = (
        "import sys; sys.argv = ['batchemr', '--help']\n"
        "from airflow_batchemr.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('airflow', 'boto3', 'pydantic', 'yaml', 'moto') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[]" == done.stdout.splitlines()[-1]


def test_the_help_of_a_command_imports_only_its_options():
    """What reads files and talks to AWS comes when the command runs: half of the time that its help took."""
    code = (
        "import sys, importlib\n"
        f"for module, _ in {list(COMMANDS.values())}: importlib.import_module(f'airflow_batchemr.cli.{{module}}')\n"
        "heavy = ('airflow', 'boto3', 'botocore', 'yaml', 'moto', 'rich', 'airflow_batchemr.pipeline_file')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[]" == done.stdout.splitlines()[-1]


def test_a_misspelt_command_is_guessed():
    """Exit 2, and what was meant."""
    result = runner.invoke(app, ["vlidate"])
    assert 2 == result.exit_code
    assert "No such command 'vlidate'. Did you mean validate?" in result.output


def test_a_folder_of_programs_that_is_not_there_is_told_before_anything_starts(tmp_path):
    """Else each job would fail later, for a program that cannot be found."""
    result = runner.invoke(app, ["local", "--path", str(tmp_path / "no")], env={"COLUMNS": "400"})
    assert 2 == result.exit_code
    assert "does not exist" in result.output


@pytest.mark.parametrize("command", ["validate", "graph", "plan", "render"])
def test_an_environment_that_no_file_has_is_wrong_usage(command, tmp_path):
    """A misspelt one would silently be the bare defaults; a file without environments takes any."""
    file = tmp_path / "p.yaml"
    pipeline = "p: {batch: {image: 'a:1', queue: q, command: c}}\n"
    file.write_text(f"env: {{prod: {{}}, dev: {{}}}}\n{pipeline}")
    result = runner.invoke(app, [command, str(file), "--environment", "prd"], env={"COLUMNS": "200"})
    assert (2, True) == (result.exit_code, "no environment prd; there is prod, dev" in result.output)
    assert 0 == runner.invoke(app, [command, str(file), "--environment", "prod"]).exit_code
    file.write_text(pipeline)
    assert 0 == runner.invoke(app, [command, str(file), "--environment", "prd"]).exit_code


def test_the_version_is_the_distribution_s():
    """`--version` alone."""
    assert f"{version('airflow-batchemr')}\n" == runner.invoke(app, ["--version"]).output
