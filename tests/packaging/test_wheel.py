"""The wheel is complete: it is built, installed into an empty environment, and used there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "dags_examples" / "life_after_spark.yaml"
UV = Path(sys.executable).with_name("uv")

LOAD = """
import json, sys
import airflow_batchemr
from airflow_batchemr import build_dags
dags = {dag.dag_id: sorted(dag.task_ids) for dag in build_dags(sys.argv[1])}
print(json.dumps([airflow_batchemr.__file__, dags]))
"""


def run(*command: str | Path, **environment: str) -> str:
    """Run a command outside the source tree and return its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW", "VIRTUAL"))}
    done = subprocess.run(
        [str(argument) for argument in command],
        check=False,
        capture_output=True,
        text=True,
        cwd=environment.pop("cwd", "/"),
        env={**kept, **environment},
    )
    assert (0, done.stderr if done.returncode else "") == (done.returncode, ""), done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    if UV.exists():
        options = ("--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
        run(UV, "build", "--wheel", *options, ROOT)
    else:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with only the wheel and its dependencies, in the versions of the lock file."""
    environment = tmp_path_factory.mktemp("empty") / "env"
    python = environment / "bin" / "python"
    lock = ROOT / "requirements.lock"
    if UV.exists():
        run(UV, "venv", "--quiet", "--python", sys.executable, environment)
        run(UV, "pip", "install", "--quiet", "--python", python, "--constraints", lock, wheel)
    else:
        run(sys.executable, "-m", "venv", environment)
        # pip requires a hash of the wheel, too, if the constraints have hashes
        constraints = environment / "constraints.txt"
        constraints.write_text(re.sub(r" \\\n *--hash=\S+", "", lock.read_text()))
        run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel)
    return python


def test_the_wheel_contains_every_file_of_the_package(wheel: Path) -> None:
    """It contains no other files."""
    package = ROOT / "airflow_batchemr"
    expected = {
        str(path.relative_to(ROOT)) for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as files:
        assert expected == {name for name in files.namelist() if ".dist-info/" not in name}


@pytest.mark.timeout(600)
def test_an_example_loads_from_the_installed_wheel(python: Path, tmp_path: Path) -> None:
    """The article's file is loaded as three Dags by the installed package."""
    source, dags = json.loads(run(python, "-I", "-c", LOAD, EXAMPLE, AIRFLOW_HOME=str(tmp_path)).splitlines()[-1])
    assert python.parents[1] in Path(source).parents
    expected = {
        "transform": [
            "transform",
            "transform.create_cluster",
            "transform.terminate_cluster",
            "transform.terminate_cluster.after_finished",
        ],
        "score": ["score"],
        "publish": ["publish"],
    }
    assert expected == dags


@pytest.mark.timeout(600)
def test_airflow_finds_the_installed_wheel_as_a_provider(python: Path, tmp_path: Path) -> None:
    """Airflow reads the entry point: the provider is listed, and its settings have their defaults."""
    listed = run(python.with_name("airflow"), "providers", "list", "--output", "json", AIRFLOW_HOME=str(tmp_path))
    assert "airflow-batchemr" in {row["package_name"] for row in json.loads(listed)}


@pytest.mark.timeout(600)
def test_the_command_line_validates_an_example(python: Path) -> None:
    """`batchemr validate` is installed with the wheel and accepts the article's file."""
    assert "life_after_spark.yaml" in run(python.with_name("batchemr"), "validate", EXAMPLE)
