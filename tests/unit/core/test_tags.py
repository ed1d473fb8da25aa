"""The limits of AWS on tags."""

from __future__ import annotations

import pytest

from airflow_batchemr.core.preamble import RUN_VARIABLES
from airflow_batchemr.core.tags import RUN_TAGS, tag_problem, tag_value, tags_problem
from airflow_batchemr.engine.job_identity import JobIdentity


@pytest.mark.parametrize(
    ("key", "value"),
    [("team", "data-eng"), ("cost center", "a+b=c._:/@ 1"), ("équipe", "données"), ("x", ""), ("k" * 128, "v" * 256)],
)
def test_what_aws_accepts(key, value):
    """Letters, digits and spaces of any script, and + - = . _ : / @; the value may be empty."""
    assert tag_problem(key, value) is None


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("a&b", "", "not '&'"),
        ("a", "b\tc", "not '\\\\t'"),
        ("a", "b#", "not '#'"),
        ("aws:a", "", "begin with aws:"),
        ("a", "AWS:b", "begin with aws:"),
        ("", "", "1 to 128 characters, not 0"),
        ("k" * 129, "", "1 to 128 characters, not 129"),
        ("a", "v" * 257, "at most 256 characters, not 257"),
    ],
)
def test_what_aws_rejects(key, value, named):
    """Of keys and values alike."""
    assert named.replace("\\\\", "\\") in tag_problem(key, value)


def test_the_tags_of_a_run_are_valid():
    """Whatever the names are: characters that a service rejects become underscores."""
    identity = JobIdentity("s3://b/é\t#" + "x" * 300, "dag", "2026-11-20T000000Z", "job[1]", "manual", "task")
    tags = identity.tags(3)
    assert RUN_TAGS == tuple(tags)
    assert tags_problem(tags) is None
    assert tags["batchemr:state"].startswith("s3://b/___xxx")
    assert tag_value("a b/c") == "a b/c"


@pytest.mark.parametrize(("others", "accepted"), [(45, True), (46, False)])
def test_tags_from_elsewhere_count(others, accepted):
    """Such as those of a job definition; a name that is in both counts once."""
    tags = dict.fromkeys(RUN_TAGS, "x")
    names = [*(f"t{number}" for number in range(others)), RUN_TAGS[0]]
    assert accepted == (tags_problem(tags, names) is None)


def test_the_variables_of_a_run_are_counted():
    """Their names are part of the size that `validate` checks."""
    identity = JobIdentity("s3://b", "dag", "2026-11-20T000000Z", "job", "manual", "task")
    assert RUN_VARIABLES == tuple(identity.environment(1))
