"""The rate of calls that the threads of a process share."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws import rate
from airflow_batchemr.aws.errors import Throttled
from airflow_batchemr.aws.rate import LONGEST_INTERVAL, Rate


class Clock:
    """A clock that sleeping moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(rate, "time", clock)
    return clock


def pauses(limit, clock, count):
    """Make calls; return how long each of them waited."""
    found = []
    for _ in range(count):
        before = clock.now
        limit.wait()
        found.append(round(clock.now - before, 3))
    return found


@pytest.fixture
def limit(clock, monkeypatch):
    limit = Rate(per_second=10, burst=3)
    wait = limit.wait
    monkeypatch.setattr(limit, "wait", lambda sleep=clock.sleep: wait(sleep))
    return limit


def test_calls_are_spaced_after_a_burst(limit, clock):
    """Three at once, then one every 100 ms; after a pause, three at once again."""
    assert [0, 0, 0, 0.1, 0.1] == pauses(limit, clock, 5)
    clock.now += 60
    assert [0, 0, 0, 0.1] == pauses(limit, clock, 4)


def throttle(limit):
    with pytest.raises(Throttled), limit.turn():
        raise Throttled("no more")


def test_throttling_slows_down_all_calls_without_a_burst(limit, clock):
    """Each throttled call doubles the interval, up to a limit."""
    throttle(limit)
    clock.now += 60
    assert [0, 0.2, 0.2] == pauses(limit, clock, 3)
    for _ in range(20):
        throttle(limit)
    assert [LONGEST_INTERVAL] == pauses(limit, clock, 1)


def test_the_rate_recovers_with_calls_that_are_not_throttled(limit, clock):
    """Gradually, so that the same calls are not throttled again at once."""
    throttle(limit)
    with limit.turn():
        pass
    clock.now += 60
    assert [0, 0.194] == pauses(limit, clock, 2)
    for _ in range(30):
        with limit.turn():
            pass
    clock.now += 60
    assert [0, 0, 0, 0.1] == pauses(limit, clock, 4)


def test_another_error_does_not_slow_down(limit, clock):
    """It says nothing about the rate."""
    with pytest.raises(ValueError, match="x"), limit.turn():
        raise ValueError("x")
    clock.now += 60
    assert [0, 0, 0, 0.1] == pauses(limit, clock, 4)
