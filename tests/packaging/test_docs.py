"""The examples and references of the documentation match the package."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from airflow_batchemr.engine.policy import Policy
from airflow_batchemr.pipeline_file import load_file

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE), 1)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_pipeline_in_the_documentation_is_valid(example: str, tmp_path: Path) -> None:
    """Each YAML block of README and docs is a pipeline file without errors."""
    file = tmp_path / "example.yaml"
    file.write_text(example)
    assert [str(error) for error in load_file(file, environment="prod").errors] == []


def test_every_iam_action_that_an_error_can_name_is_documented() -> None:
    """docs/operations.md lists each action that the code calls."""
    source = "\n".join(path.read_text() for path in (ROOT / "airflow_batchemr" / "aws").rglob("*.py"))
    called = set(re.findall(r"\"((?:batch|elasticmapreduce|logs):[A-Z]\w+)\"", source))
    documented = set(re.findall(r"`(\w+:\w+)`", (ROOT / "docs" / "operations.md").read_text()))
    assert called
    assert set() == called - documented


def test_every_waiting_time_is_documented_with_its_default() -> None:
    """docs/airflow.md has one row per field of the policy: its name, default and description."""
    settings = [entry for entry in fields(Policy) if "description" in entry.metadata]
    rows = [f"| `{entry.name}` | {entry.default:g} | {entry.metadata['description']} |" for entry in settings]
    page = (ROOT / "docs" / "airflow.md").read_text()
    table = page.split("| setting | default | description |\n|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    assert table == rows
