"""A trigger in a triggerer does not resume its task immediately after the deferral."""

from __future__ import annotations

import asyncio
import time

import pytest
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batchemr import settings
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.ledger import Ledger, Marker
from airflow_batchemr.provider_info import get_provider_info
from airflow_batchemr.triggers import hold
from airflow_batchemr.triggers.marker import S3MarkerTrigger
from airflow_batchemr.triggers.timer import TimerTrigger


class Immediate(BaseTrigger):
    """A trigger whose event is available immediately."""

    def __init__(self, deferred_at):
        super().__init__()
        self.deferred_at = deferred_at

    def serialize(self):
        return f"{__name__}.Immediate", {"deferred_at": self.deferred_at}

    async def run(self):
        await hold.hold_event(self, self.deferred_at)
        yield TriggerEvent("done")


def seconds_until_event(trigger):
    async def run():
        started = time.monotonic()
        async for _ in trigger.run():
            return time.monotonic() - started

    return asyncio.run(run())


@pytest.fixture
def minimum(monkeypatch):
    """A shorter minimum than the default."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__MIN_DEFERRAL", "0.6")
    return 0.6


def in_triggerer(trigger):
    trigger.trigger_id = 7
    return trigger


def test_an_event_right_after_the_deferral_is_delayed(minimum):
    assert 0.5 < seconds_until_event(in_triggerer(Immediate(time.time()))) < 1.5


def test_an_event_is_delayed_only_for_the_rest_of_the_minimum(minimum):
    assert 0.1 < seconds_until_event(in_triggerer(Immediate(time.time() - 0.4))) < 0.5


def test_an_event_after_a_longer_wait_is_not_delayed(minimum):
    assert seconds_until_event(in_triggerer(Immediate(time.time() - 60))) < 0.1


def test_a_worker_clock_that_is_ahead_does_not_extend_the_delay(minimum):
    assert seconds_until_event(in_triggerer(Immediate(time.time() + 3600))) < 1.5


def test_events_are_not_delayed_outside_a_triggerer():
    """In `dag.test()`, there is no scheduler and no race."""
    assert seconds_until_event(Immediate(time.time())) < 0.1


def test_the_end_of_a_pause_is_delayed(minimum):
    """The rest of a pause may be shorter than the minimum."""
    now = time.time()
    assert 0.5 < seconds_until_event(in_triggerer(TimerTrigger(wake_at=now + 0.1, deferred_at=now))) < 1.5


def test_zero_disables_the_delay(monkeypatch):
    monkeypatch.setenv("AIRFLOW__BATCHEMR__MIN_DEFERRAL", "0")
    assert seconds_until_event(in_triggerer(Immediate(time.time()))) < 0.1


def test_an_invalid_minimum_is_reported_with_the_setting(monkeypatch):
    monkeypatch.setenv("AIRFLOW__BATCHEMR__MIN_DEFERRAL", "soon")
    with pytest.raises(ValueError, match=r"\[batchemr\] min_deferral is not a number of seconds: 'soon'"):
        settings.engine_policy()


def test_the_default_is_the_documented_one():
    options = get_provider_info()["config"]["batchemr"]["options"]
    assert float(options["min_deferral"]["default"]) == DEFAULT.min_deferral == settings.engine_policy().min_deferral


def test_the_marker_trigger_delays_its_event(aws, state, minimum):
    """Also after Airflow has deserialized it."""
    Ledger(aws.client("s3"), state).job("up", "key", "job").mark(Marker(submission=1, size=1, rerun_token=None))
    _, arguments = S3MarkerTrigger(
        state=state, dag_id="up", run_key="key", job="job", aws_conn_id=None, deferred_at=time.time()
    ).serialize()
    assert seconds_until_event(in_triggerer(S3MarkerTrigger(**arguments))) > 0.4
