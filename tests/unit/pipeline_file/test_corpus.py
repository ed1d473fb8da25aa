"""Every broken file of `tests/corpus` is told of as its leading comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_batchemr.pipeline_file import load_file

CORPUS = Path(__file__).parents[2] / "corpus"
FILES = sorted(CORPUS.glob("*.yaml"))
_TOLD = re.compile(r"# (error|warning) (\d+):(\d+) (.*?)(?: => (.*))?")


def told(path: Path) -> list[tuple[str, ...]]:
    """What the file's comments say: severity, line, column, message, hint."""
    lines = path.read_text().split("\n")
    return [match.groups() for line in lines if (match := _TOLD.fullmatch(line))]


def test_the_corpus_is_large():
    """At least 150 broken files, each with something to be told."""
    assert len(FILES) >= 150
    assert [] == [path.name for path in FILES if not told(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_is_told_with_its_place(path):
    """All errors and warnings of the file, and nothing else, with line, column, message and hint."""
    spec = load_file(path)
    found = [
        (error.severity, str(error.line), str(error.column), error.message, error.hint)
        for error in (*spec.errors, *spec.warnings)
    ]
    assert told(path) == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_pipeline_is_not_loaded(path):
    """A pipeline with an error is in `names` and not in `pipelines`; the caret stands under the place."""
    spec = load_file(path)
    for error in spec.errors:
        assert error.pipeline not in spec.pipelines
        place, source, caret, *_ = f"{error}\n\n\n".split("\n")
        assert place.startswith(f"{path}:{error.line}:{error.column}: error: ")
        if error.source is not None and len(error.source) <= 160:
            assert source == f"{error.line:>5} | {error.source}"
            assert caret.index("^") == len("      | ") + error.column - 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_one_pipeline_asked_for_is_told_as_in_the_whole_file(path):
    """`only` reads less, and comes to the same."""
    whole = load_file(path)
    for name in whole.names:
        one = load_file(path, only=name)
        assert whole.pipelines.get(name) == one.pipelines.get(name)
        wrong = [str(error) for error in whole.errors if error.pipeline in (name, None)]
        assert wrong == [error for error in map(str, one.errors) if error in wrong]
