"""The arrows between the parts go one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_batchemr

PACKAGE = Path(airflow_batchemr.__file__).parent

#: What each layer may import of this package, besides itself.
ALLOWED = {
    "spec": {"core"},
    "core": {"spec", "ledger"},
    "ledger": {"core"},
    "aws": {"core", "ledger", "spec"},
    "cli": {"spec", "core", "ledger", "aws", "local"},
    "local": {"core"},
}


def imports(layer: str) -> list[tuple[str, str]]:
    """All modules that the files of `layer` import, wherever in the file: (file, dotted name)."""
    found = []
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert not node.level, f"{path}: imports are absolute here"
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [(str(path.relative_to(PACKAGE)), name) for name in names]
    return found


@pytest.mark.parametrize("layer", ["spec", "core", "ledger", "aws"])
def test_the_core_imports_no_airflow(layer):
    """No module below the Airflow shell names Airflow in an import, not even inside a function."""
    guilty = [(path, name) for path, name in imports(layer) if name.split(".")[0] == "airflow"]
    assert [] == guilty


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_a_layer_imports_only_what_is_below_it(layer):
    """`spec, core <- ledger, aws <- shell`; the command line stands beside the shell."""
    guilty = []
    for path, name in imports(layer):
        parts = name.split(".")
        if parts[0] != "airflow_batchemr" or len(parts) < 2 or parts[1].startswith("_"):
            continue
        if (PACKAGE / parts[1]).is_dir() and parts[1] not in ALLOWED[layer] | {layer}:
            guilty.append((path, name))
    assert [] == guilty


def test_only_the_command_line_points_to_the_local_aws():
    """The operators do not know that AWS may be local: it is an endpoint URL."""
    layers = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"local", "__pycache__"}
    guilty = {
        path
        for layer in layers
        for path, name in imports(layer)
        if name.startswith("airflow_batchemr.local") and path != "cli/local.py"
    }
    assert set() == guilty


@pytest.mark.parametrize(
    "module", ["airflow_batchemr", "airflow_batchemr.spec", "airflow_batchemr.ledger", "airflow_batchemr.cli"]
)
def test_importing_the_core_loads_no_airflow_and_no_boto3(module):
    """What is imported at every start of the command line and every parse stays light."""
    code = f"import sys, {module}; print([m for m in ('airflow', 'airflow.sdk', 'boto3', 'moto') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[]" == ran.stdout.strip()
