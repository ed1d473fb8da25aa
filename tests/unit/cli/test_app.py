"""The `batchemr` command group: quick to start, with helpful messages."""

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
def test_every_command_exists_and_has_help(name):
    """Its module, its line in the help of the group, and its own help."""
    assert importlib.util.find_spec(f"airflow_batchemr.cli.{COMMANDS[name][0]}") is not None
    assert f"│ {name} " in runner.invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    result = runner.invoke(app, [name, "--help"])
    assert 0 == result.exit_code
    assert "Usage" in result.output


def test_help_imports_no_command():
    """Importing pydantic, YAML or Airflow would make it slow."""
    code = (
        "import sys; sys.argv = ['batchemr', '--help']\n"
        "from airflow_batchemr.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('airflow', 'boto3', 'pydantic', 'yaml', 'moto') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[]" == done.stdout.splitlines()[-1]


def test_the_help_of_a_command_imports_no_slow_modules():
    """They are imported when the command runs. Importing them takes half of the time of the help."""
    code = (
        "import sys, importlib\n"
        f"for module, _ in {list(COMMANDS.values())}: importlib.import_module(f'airflow_batchemr.cli.{{module}}')\n"
        "heavy = ('airflow', 'boto3', 'botocore', 'yaml', 'moto', 'rich', 'airflow_batchemr.pipeline_file')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[]" == done.stdout.splitlines()[-1]


def test_a_misspelled_command_gets_a_suggestion():
    """Exit code 2."""
    result = runner.invoke(app, ["vlidate"])
    assert 2 == result.exit_code
    assert "No such command 'vlidate'. Did you mean validate?" in result.output


def test_a_missing_program_folder_is_reported_before_the_start(tmp_path):
    """Otherwise each job would fail later because its program is not found."""
    result = runner.invoke(app, ["local", "--path", str(tmp_path / "no")], env={"COLUMNS": "400"})
    assert 2 == result.exit_code
    assert "does not exist" in result.output


@pytest.mark.parametrize("command", ["validate", "graph", "plan", "render"])
def test_an_unknown_environment_is_a_usage_error(command, tmp_path):
    """A misspelled one would silently apply only the defaults. A file without environments accepts any."""
    file = tmp_path / "p.yaml"
    pipeline = "p: {batch: {image: 'a:1', queue: q, command: c}}\n"
    file.write_text(f"env: {{prod: {{}}, dev: {{}}}}\n{pipeline}")
    result = runner.invoke(app, [command, str(file), "--environment", "prd"], env={"COLUMNS": "200"})
    assert (2, True) == (result.exit_code, "unknown environment prd; available: prod, dev" in result.output)
    assert 0 == runner.invoke(app, [command, str(file), "--environment", "prod"]).exit_code
    file.write_text(pipeline)
    assert 0 == runner.invoke(app, [command, str(file), "--environment", "prd"]).exit_code


def test_version_prints_the_version_of_the_distribution():
    """And nothing else."""
    assert f"{version('airflow-batchemr')}\n" == runner.invoke(app, ["--version"]).output
