"""Formatting of errors."""

from __future__ import annotations

import pytest

from airflow_batchemr.pipeline_file import PipelineFileError
from airflow_batchemr.pipeline_file.errors import guess, nearest


def test_an_error_is_shown_with_its_source_line():
    """Position, message, source line, caret as wide as the key, hint."""
    error = PipelineFileError(
        "unknown key", "did you mean x?", path="a.yaml", line=12, column=5, source="    xx: 1", width=2
    )
    expected = "a.yaml:12:5: error: unknown key\n   12 |     xx: 1\n      |     ^^\n      = did you mean x?"
    assert expected == str(error)


def test_an_error_without_a_position_is_shown_as_message_and_hint():
    """Such as one raised by a policy."""
    assert "no\n      = why" == str(PipelineFileError("no", "why"))


def test_tabs_before_the_caret_are_kept():
    """The caret is aligned for any tab width."""
    error = PipelineFileError("m", path="a", line=1, column=3, source="\t\tx")
    assert ["    1 | \t\tx", "      | \t\t^"] == str(error).split("\n")[1:]


def test_a_long_line_is_shortened_around_the_error():
    """To 160 characters; the caret still points to the error."""
    error = PipelineFileError("m", path="a", line=1, column=501, source="-" * 500 + "X" + "-" * 500)
    _, source, caret = str(error).split("\n")
    assert 160 == len(source) - len("    1 | ")
    assert "X" == source[caret.index("^")]


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("shedule", ["schedule", "state"], "schedule"),
        ("start-date", ["start_date"], "start_date"),
        ("SPARK", ["Spark"], "Spark"),
        ("xyzzy", ["schedule"], None),
        ("", ["a"], None),
    ],
)
def test_a_similar_name_is_suggested(word, known, expected):
    """Or none if no known name is similar."""
    assert expected == nearest(word, known)
    assert (f"did you mean `{expected}`?" if expected else None) == guess(word, known)
