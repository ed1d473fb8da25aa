"""The documentation matches the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_batchemr.pipeline_file import load_file, vocabulary
from airflow_batchemr.pipeline_file.models.base import Model

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = (ROOT / "docs" / "pipeline-file.md").read_text()
EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE), 1)
]
#: Pipelines and jobs have more keys in the file than in the model; the others are documented in a sentence.
ELSEWHERE = ("Pipeline", "Job", "Assets", "Continuous", "Ulimit")
BLOCKS = [model for model in Model.__subclasses__() if model.__name__ not in ELSEWHERE]


def tables() -> list[set[str]]:
    """Return the keys in the first column of each table of the reference."""
    found = re.findall(r"(?:^\|.*\n)+", REFERENCE, re.MULTILINE)
    return [set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) for table in found]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_pipeline_in_the_documentation_is_valid(example: str, tmp_path: Path) -> None:
    """Each YAML block of README and docs is a pipeline file without errors."""
    file = tmp_path / "example.yaml"
    file.write_text(example)
    assert [str(error) for error in load_file(file, environment="prod").errors] == []


@pytest.mark.parametrize("model", BLOCKS, ids=lambda model: model.__name__)
def test_the_reference_lists_every_key_of_a_block(model: type) -> None:
    """One table of the reference lists exactly the keys of the block."""
    assert set(vocabulary.words_of(model)) in tables()


@pytest.mark.parametrize("expected", [vocabulary.PIPELINE, vocabulary.JOB], ids=["pipeline", "job"])
def test_the_reference_lists_every_key_of_pipelines_and_jobs(expected: tuple[str, ...]) -> None:
    """The tables of pipelines and jobs are complete, too."""
    assert set(expected) in tables()


def test_every_iam_action_that_an_error_can_name_is_documented() -> None:
    """docs/operations.md lists each action that the code calls."""
    source = "\n".join(path.read_text() for path in (ROOT / "airflow_batchemr" / "aws").rglob("*.py"))
    called = set(re.findall(r"\"((?:batch|elasticmapreduce|logs):[A-Z]\w+)\"", source))
    documented = set(re.findall(r"`(\w+:\w+)`", (ROOT / "docs" / "operations.md").read_text()))
    assert called
    assert set() == called - documented
