"""Imports between packages go in one direction."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import airflow_batchemr

PACKAGE = Path(airflow_batchemr.__file__).parent

#: Packages that each package may import. `settings` and `connections` read Airflow's configuration.
ALLOWED = {
    "core": set(),
    "pipeline_file": {"core"},
    "ledger": {"core"},
    "engine": {"core", "ledger"},
    "aws": {"core", "ledger", "engine", "pipeline_file"},
    "dags": {"core", "pipeline_file", "aws", "settings", "notifiers"},
    "forecast": {"core", "pipeline_file", "ledger", "engine", "aws", "dags"},
    "settings": {"pipeline_file", "engine"},
    "connections": {"core", "ledger", "aws", "settings"},
    "links": {"core", "ledger", "engine", "aws", "connections", "settings"},
    "task_log": {"core"},
    "triggers": {"core", "ledger", "engine", "aws", "connections", "settings", "task_log"},
    "sensors": {"core", "ledger", "engine", "aws", "connections", "settings", "triggers", "links", "operators"},
    "operators": {
        "core", "pipeline_file", "ledger", "engine", "aws", "dags", "connections", "settings", "triggers", "links",
        "task_log",
    },
    "notifiers": {"core", "settings", "connections", "pipeline_file"},
    "plugin": {"core", "ledger", "engine", "aws", "connections", "settings", "links"},
    "cli": {"core", "pipeline_file", "ledger", "engine", "aws", "dags", "forecast", "settings", "connections", "local"},
    "local": {"core"},
    "factory": {"dags"},
    "provider_info": {"engine"},
}  # fmt: skip
#: Packages that may import Airflow. The others are tested without it, in milliseconds.
AIRFLOW = {
    "connections", "dags", "links", "triggers", "sensors", "operators", "notifiers", "plugin", "cli", "settings",
}  # fmt: skip


def packages() -> list[str]:
    """All folders and modules at the top of the package."""
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    return sorted(names - {"__init__", "__main__"})


def imports(package: str) -> list[tuple[str, str]]:
    """All modules that the files of `package` import, anywhere in a file, as (file, dotted name)."""
    folder = PACKAGE / package
    found = []
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert not node.level, f"{path}: imports are absolute here"
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [(str(path.relative_to(PACKAGE)), name) for name in names]
    return found


def ours(package: str) -> set[tuple[str, str]]:
    """(file, other package) for each import of another package of this project."""
    known = set(packages())
    named = [(path, name.split(".")) for path, name in imports(package)]
    return {
        (path, parts[1])
        for path, parts in named
        if parts[0] == "airflow_batchemr" and len(parts) > 1 and parts[1] in known - {package}
    }


def test_every_package_has_a_rule():
    """So that the tests below cover new folders."""
    assert sorted(ALLOWED) == packages()


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_lower_packages(package):
    """`core <- pipeline_file, ledger <- engine <- aws <- dags, forecast <- Airflow shell, cli`."""
    assert set() == {(path, other) for path, other in ours(package) if other not in ALLOWED[package]}


def test_imports_between_packages_have_no_cycle():
    """In particular, no two packages import each other."""
    TopologicalSorter({package: {other for _, other in ours(package)} for package in packages()}).prepare()


@pytest.mark.parametrize("package", sorted(set(ALLOWED) - AIRFLOW))
def test_the_core_does_not_import_airflow(package):
    """Not even inside a function."""
    assert [] == [(path, name) for path, name in imports(package) if name.split(".")[0] == "airflow"]


def test_only_the_command_line_imports_the_local_aws():
    """For operators, the local AWS is an endpoint URL."""
    guilty = {path for package in set(packages()) - {"local"} for path, other in ours(package) if other == "local"}
    assert guilty <= {"cli/local.py"}


@pytest.mark.parametrize(
    "module",
    [
        "airflow_batchemr",
        "airflow_batchemr.pipeline_file",
        "airflow_batchemr.ledger",
        "airflow_batchemr.engine",
        "airflow_batchemr.cli",
        "airflow_batchemr.operators",
        "airflow_batchemr.sensors",
    ],
)
def test_importing_the_core_loads_no_airflow_and_no_boto3(module):
    """The command line and the Dag processor start fast."""
    code = f"import sys, {module}; print([m for m in ('airflow', 'airflow.sdk', 'boto3', 'moto') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[]" == ran.stdout.strip()
