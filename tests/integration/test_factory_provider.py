"""Provider metadata and command line integration."""

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


def test_the_provider_metadata_matches_airflows_schema(airflow_db):
    """Airflow rejects providers whose metadata is invalid."""
    import airflow
    import jsonschema

    (entry,) = (e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("airflow_batchemr."))
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    info = entry.load()()
    jsonschema.validate(info, schema)
    assert info["package-name"] == entry.dist.name == "airflow-batchemr"


@pytest.mark.parametrize("kind", ["operators", "sensors", "triggers"])
def test_the_modules_in_the_metadata_exist(kind):
    """A wrong name would show up only in Airflow's list of providers."""
    modules = [module for one in get_provider_info()[kind] for module in one["python-modules"]]
    assert modules
    for module in modules:
        import_module(module)


def test_options_are_read_from_airflows_configuration(airflow_db, monkeypatch):
    """Including environment variables."""
    from airflow_batchemr import settings

    assert settings.option("state") is None
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://data/ledger")
    assert settings.option("state") == "s3://data/ledger"


def test_airflow_batchemr_passes_on_the_command_line():
    """Airflow's parser leaves the command and its options unchanged."""
    from airflow.cli.cli_parser import _add_command

    from airflow_batchemr.cli.airflow_command import get_cli_commands

    parser = argparse.ArgumentParser()
    (command,) = get_cli_commands()
    _add_command(parser.add_subparsers(), command)
    given = parser.parse_args(["batchemr", "plan", "--json", "p.yaml", "--help"])
    assert given.arguments == ["plan", "--json", "p.yaml", "--help"]


def test_airflow_batchemr_lists_all_commands():
    """The list is a constant, so that Airflow's command line starts fast."""
    from airflow_batchemr.cli.airflow_command import COMMANDS
    from airflow_batchemr.cli.app import COMMANDS as ALL

    assert set(COMMANDS.split()) == set(ALL)


def test_airflows_configuration_provides_the_defaults(tmp_path, airflow_db, monkeypatch, capsys):
    """State URI and environment need not be repeated."""
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


def test_the_provider_metadata_is_available_without_importing_airflow():
    """Airflow reads the metadata of each provider at every start."""
    code = (
        "import sys; from airflow_batchemr.provider_info import get_provider_info as f; f(); "
        "print('airflow' in sys.modules, 'pydantic' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert out.split() == ["False", "False"]
