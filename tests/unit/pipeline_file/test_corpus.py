"""Each invalid file of `tests/corpus` is reported as described by the comments at its top."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.pipeline_file import load_file

CORPUS = Path(__file__).parents[2] / "corpus"
FILES = sorted(CORPUS.glob("*.yaml"))
_EXPECTED = re.compile(r"# (error|warning) (\d+):(\d+) (.*?)(?: => (.*))?")


def expected(path: Path) -> list[tuple[str, ...]]:
    """Severity, line, column, message and hint from the file's comments."""
    lines = path.read_text().split("\n")
    return [match.groups() for line in lines if (match := _EXPECTED.fullmatch(line))]


def test_the_corpus_is_large():
    """At least 150 files, each with an expected error or warning."""
    assert len(FILES) >= 150
    assert [] == [path.name for path in FILES if not expected(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_error_is_reported_at_its_position(path):
    """Exactly the expected errors and warnings, with line, column, message and hint."""
    spec = load_file(path)
    found = [
        (error.severity, str(error.line), str(error.column), error.message, error.hint)
        for error in (*spec.errors, *spec.warnings)
    ]
    assert expected(path) == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_invalid_pipeline_is_not_loaded(path):
    """A pipeline with errors is not in `pipelines`; the caret points to the error's column."""
    spec = load_file(path)
    for error in spec.errors:
        assert error.pipeline not in spec.pipelines
        position, source, caret, *_ = f"{error}\n\n\n".split("\n")
        assert position.startswith(f"{path}:{error.line}:{error.column}: error: ")
        if error.source is not None and len(error.source) <= 160:
            assert source == f"{error.line:>5} | {clean(error.source)}"
            assert caret.index("^") == len("      | ") + error.column - 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_gives_the_same_result_as_loading_the_whole_file(path):
    """`only` reads less of the file, but returns the same pipeline and errors."""
    whole = load_file(path)
    for name in whole.names:
        one = load_file(path, only=name)
        assert whole.pipelines.get(name) == one.pipelines.get(name)
        errors = [str(error) for error in whole.errors if error.pipeline in (name, None)]
        assert errors == [error for error in map(str, one.errors) if error in errors]
