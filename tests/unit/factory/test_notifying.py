"""Whether the end of a run is reported, depending on earlier runs."""

from __future__ import annotations

import pytest

from airflow_batchemr.notifiers.rules import should_notify

BAD, GOOD = True, False


@pytest.mark.parametrize(
    ("when", "after", "failed", "earlier", "expected"),
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
def test_the_rule_of_a_receiver(when, after, failed, earlier, expected):
    """A pipeline is bad after `after` consecutive failures. A change is from good to bad or back."""
    assert should_notify(when, after, failed=failed, earlier=iter(earlier)) is expected


def test_only_necessary_earlier_runs_are_read():
    """Each earlier run takes a request to Airflow."""
    read = []

    def earlier():
        for state in [BAD] * 50:
            read.append(state)
            yield state

    assert should_notify("on_change", 3, failed=BAD, earlier=earlier()) is False
    assert len(read) == 3


def test_without_a_threshold_no_earlier_runs_are_read():
    """For `on_failure`, `always` and `on_change_and_failures`."""

    def earlier():
        raise AssertionError
        yield

    for when in ("always", "on_failure", "on_change_and_failures"):
        assert should_notify(when, 1, failed=BAD, earlier=earlier())
