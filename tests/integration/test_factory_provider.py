"""What Airflow is told about this distribution."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from airflow_batchemr.provider_info import get_provider_info


def test_the_entry_point_gives_what_airflows_schema_wants(airflow_db):
    """Airflow refuses providers whose description it cannot check."""
    import airflow
    import jsonschema

    (entry,) = (e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("airflow_batchemr."))
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    info = entry.load()()
    jsonschema.validate(info, schema)
    assert info["package-name"] == entry.dist.name == "airflow-batchemr"


@pytest.mark.parametrize("kind", ["operators", "sensors", "triggers"])
def test_the_modules_that_are_named_are_there(kind):
    """A wrong name would show only in Airflow's list of providers."""
    modules = [module for one in get_provider_info()[kind] for module in one["python-modules"]]
    assert modules
    for module in modules:
        import_module(module)


def test_airflows_configuration_knows_our_section(airflow_db, monkeypatch):
    """An option can be set in the environment as any of Airflow's."""
    from airflow_batchemr import settings

    assert settings.option("state") is None
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://data/ledger")
    assert settings.option("state") == "s3://data/ledger"


def test_airflow_batchemr_takes_our_command_line_as_it_is():
    """A command with its options goes through Airflow's parser untouched."""
    from airflow.cli.cli_parser import _add_command

    from airflow_batchemr.cli.airflow_command import get_cli_commands

    parser = argparse.ArgumentParser()
    (command,) = get_cli_commands()
    _add_command(parser.add_subparsers(), command)
    given = parser.parse_args(["batchemr", "plan", "--json", "p.yaml", "--help"])
    assert given.arguments == ["plan", "--json", "p.yaml", "--help"]


def test_airflow_batchemr_names_all_commands():
    """Its help is written by hand, so that Airflow's start stays fast."""
    from airflow_batchemr.cli.airflow_command import COMMANDS
    from airflow_batchemr.cli.app import COMMANDS as ALL

    assert set(COMMANDS.split()) == set(ALL)


def test_a_command_gets_airflows_configuration_as_its_defaults(tmp_path, airflow_db, monkeypatch, capsys):
    """State URI and environment need not be given again."""
    from airflow_batchemr.cli.airflow_command import run

    monkeypatch.setenv("AIRFLOW__BATCHEMR__ENVIRONMENT", "prod")
    path = tmp_path / "p.yaml"
    path.write_text(
        "env: {prod: {batch: {queue: big}}, dev: {batch: {queue: small}}}\np: {batch: {image: 'a:1', command: x}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        run(argparse.Namespace(arguments=["render", str(path)]))
    assert ended.value.code in {0, None}
    assert 'queue="big"' in capsys.readouterr().out


def test_the_provider_is_found_without_importing_airflow():
    """Airflow asks each provider at each start."""
    code = (
        "import sys; from airflow_batchemr.provider_info import get_provider_info as f; f(); "
        "print('airflow' in sys.modules, 'pydantic' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert out.split() == ["False", "False"]
