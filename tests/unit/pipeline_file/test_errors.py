"""How a mistake is shown."""

from __future__ import annotations

import pytest

from airflow_batchemr.pipeline_file import PipelineFileError
from airflow_batchemr.pipeline_file.errors import guess, nearest


def test_a_mistake_is_shown_with_its_line():
    """Place, message, line, caret as wide as the word, hint."""
    error = PipelineFileError(
        "unknown word", "did you mean x?", path="a.yaml", line=12, column=5, source="    xx: 1", width=2
    )
    expected = "a.yaml:12:5: error: unknown word\n   12 |     xx: 1\n      |     ^^\n      = did you mean x?"
    assert expected == str(error)


def test_a_mistake_without_a_place_is_its_message():
    """As a policy raises it."""
    assert "no\n      = why" == str(PipelineFileError("no", "why"))


def test_tabs_before_the_caret_stay_tabs():
    """So that it stands under the place whatever their width."""
    error = PipelineFileError("m", path="a", line=1, column=3, source="\t\tx")
    assert ["    1 | \t\tx", "      | \t\t^"] == str(error).split("\n")[1:]


def test_of_a_long_line_the_part_around_the_place_is_shown():
    """At most 160 characters; the caret stands under its character."""
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
def test_the_nearest_word_is_guessed(word, known, expected):
    """Or none, where nothing is near."""
    assert expected == nearest(word, known)
    assert (f"did you mean `{expected}`?" if expected else None) == guess(word, known)
