"""Whether a run's end is told, after how the runs before it ended."""

from __future__ import annotations

import pytest

from airflow_batchemr.notifiers.rules import should_notify

BAD, GOOD = True, False


@pytest.mark.parametrize(
    ("when", "after", "failed", "earlier", "told"),
    [
        ("always", 1, GOOD, [], True),
        ("always", 1, BAD, [], True),
        ("always", 3, BAD, [BAD], False),
        ("always", 3, BAD, [BAD, BAD], True),
        ("on_failure", 1, GOOD, [BAD], False),
        ("on_failure", 1, BAD, [GOOD], True),
        ("on_failure", 1, BAD, [BAD, BAD], True),
        ("on_failure", 2, BAD, [GOOD], False),
        ("on_failure", 2, BAD, [BAD, GOOD], True),
        ("on_failure", 2, BAD, [BAD, BAD], True),
        ("on_change", 1, GOOD, [], False),
        ("on_change", 1, GOOD, [GOOD], False),
        ("on_change", 1, GOOD, [BAD, GOOD], True),
        ("on_change", 1, BAD, [], True),
        ("on_change", 1, BAD, [GOOD, BAD], True),
        ("on_change", 1, BAD, [BAD, GOOD], False),
        ("on_change", 2, BAD, [GOOD], False),
        ("on_change", 2, BAD, [BAD, GOOD], True),
        ("on_change", 2, BAD, [BAD, BAD], False),
        ("on_change", 2, GOOD, [BAD, GOOD], False),
        ("on_change", 2, GOOD, [BAD, BAD], True),
        ("on_change_and_failures", 1, BAD, [BAD], True),
        ("on_change_and_failures", 1, GOOD, [BAD], True),
        ("on_change_and_failures", 1, GOOD, [GOOD], False),
        ("on_change_and_failures", 2, BAD, [GOOD], False),
        ("on_change_and_failures", 2, BAD, [BAD, BAD], True),
    ],
)
def test_the_rule_of_a_receiver(when, after, failed, earlier, told):
    """Bad is a pipeline with `after` failures in a row; a change is from good to bad or back."""
    assert should_notify(when, after, failed=failed, earlier=iter(earlier)) is told


def test_no_more_of_the_past_is_read_than_the_rule_needs():
    """Each earlier run is a question to Airflow."""
    read = []

    def earlier():
        for state in [BAD] * 50:
            read.append(state)
            yield state

    assert should_notify("on_change", 3, failed=BAD, earlier=earlier()) is False
    assert len(read) == 3


def test_without_a_threshold_failures_need_no_past():
    """`on_failure` asks Airflow nothing, and so do `always` and `on_change_and_failures`."""

    def earlier():
        raise AssertionError
        yield

    for when in ("always", "on_failure", "on_change_and_failures"):
        assert should_notify(when, 1, failed=BAD, earlier=earlier())
