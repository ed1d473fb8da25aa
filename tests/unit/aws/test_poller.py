"""One poll loop for many waits."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from airflow_batchemr.aws.errors import NotAllowed
from airflow_batchemr.aws.poller import Poller, shared_poller


class Service:
    """Returns the configured value of each id, and records each call."""

    def __init__(self):
        self.calls: list[list[str]] = []
        self.values: dict[str, str] = {}
        self.errors: list[Exception] = []

    def describe(self, ids):
        self.calls.append(list(ids))
        if self.errors:
            raise self.errors.pop(0)
        return {id_: self.values[id_] for id_ in ids if id_ in self.values}


def refusal(code, status=400):
    return ClientError(
        {"Error": {"Code": code, "Message": "said no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "DescribeJobs"
    )


async def until(poller, id_, value, warn=print):
    """The values that the wait receives, up to and including `value`."""
    saw = []
    async with aclosing(poller.watch([id_], warn)) as looks:
        async for seen in looks:
            saw.append(seen[id_].value)
            if seen[id_].value == value:
                break
    return saw


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def poller(service):
    return Poller(service.describe, shortest=0.02, longest=0.1)


def test_a_hundred_waits_share_one_call(service, poller):
    """All waits that start together are polled in one call."""
    service.values = {str(number): "SUCCEEDED" for number in range(100)}

    async def main():
        await asyncio.gather(*(until(poller, str(number), "SUCCEEDED") for number in range(100)))

    asyncio.run(main())
    assert [100] == [len(ids) for ids in service.calls]


def test_a_thousand_waits_of_any_age_take_ten_calls_per_round(service, poller):
    """A call has up to a hundred ids. Waits that started later are polled together with older ones."""
    service.values = {str(number): "RUNNING" for number in range(1000)}

    async def main():
        waits = []
        for number in range(1000):
            waits.append(asyncio.create_task(until(poller, str(number), "SUCCEEDED")))
            if number % 100 == 99:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        before = len(service.calls)
        service.values = dict.fromkeys(service.values, "SUCCEEDED")
        await asyncio.gather(*waits)
        return service.calls[before:]

    last = asyncio.run(main())
    seen = [id_ for ids in last for id_ in ids]
    assert set(map(str, range(1000))) == set(seen)
    assert max(len(ids) for ids in service.calls) == 100
    # Ids that are not due fill up the calls, so that no round takes more than ten calls
    assert len(last) <= 20


def test_a_wait_receives_the_value_of_each_poll():
    """In order."""
    statuses = ["RUNNABLE", "RUNNABLE", "RUNNING", "SUCCEEDED"]
    poller = Poller(lambda _ids: {"a": statuses.pop(0)}, shortest=0.02)

    assert ["RUNNABLE", "RUNNABLE", "RUNNING", "SUCCEEDED"] == asyncio.run(until(poller, "a", "SUCCEEDED"))


@pytest.mark.parametrize(
    "error",
    [
        refusal("TooManyRequestsException", 429),
        refusal("ServerException", 500),
        refusal("ExpiredTokenException", 400),
        ReadTimeoutError(endpoint_url="http://aws"),
        ConnectionResetError("gone"),
        RuntimeError("anything"),
    ],
)
def test_no_error_ends_a_wait(service, poller, error):
    """Throttling, lost connections and similar errors slow down the loop, and the waits continue."""
    service.values = {"a": "SUCCEEDED"}
    service.errors = [error, error]
    assert ["SUCCEEDED"] == asyncio.run(until(poller, "a", "SUCCEEDED"))
    assert 3 == len(service.calls)


def test_a_permission_that_stays_missing_ends_the_waits(service):
    """A user has to act, so the error names the missing IAM action; the log warns after the first refusal."""
    poller = Poller(service.describe, shortest=0.02, patience=0.1)
    service.errors = [refusal("AccessDeniedException", 403) for _ in range(30)]
    warned = []
    with pytest.raises(NotAllowed, match="DescribeJobs"):
        asyncio.run(until(poller, "a", "SUCCEEDED", warned.append))
    assert 1 == len(warned)
    assert "IAM action DescribeJobs" in warned[0]


def test_refusals_do_not_end_a_wait_for_some_minutes(service, poller):
    """A new policy takes time to become effective, and there is only one warning."""
    service.values = {"a": "SUCCEEDED"}
    service.errors = [refusal("AccessDeniedException", 403) for _ in range(5)]
    warned = []
    assert ["SUCCEEDED"] == asyncio.run(until(poller, "a", "SUCCEEDED", warned.append))
    assert 6 == len(service.calls)
    assert 1 == len(warned)


def test_a_single_refusal_has_no_effect(service, poller):
    """For example, while a policy is replaced."""
    service.values = {"a": "SUCCEEDED"}
    service.errors = [refusal("AccessDeniedException", 403)]
    assert ["SUCCEEDED"] == asyncio.run(until(poller, "a", "SUCCEEDED"))


def test_the_value_of_an_unknown_id_is_none(service, poller):
    """It counts as changed."""

    async def main():
        async with aclosing(poller.watch(["gone"])) as looks:
            return (await anext(looks))["gone"]

    sighting = asyncio.run(main())
    assert (None, True) == (sighting.value, sighting.changed)


def test_ids_without_a_wait_are_not_polled(service, poller):
    """The loop ends with its last wait, and starts again with the next one."""
    service.values = {"a": "SUCCEEDED", "b": "SUCCEEDED"}

    async def main():
        await until(poller, "a", "SUCCEEDED")
        await asyncio.sleep(0.2)
        calls = len(service.calls)
        await until(poller, "b", "SUCCEEDED")
        return calls

    assert 1 == asyncio.run(main())
    assert [["a"], ["b"]] == service.calls
    assert 0 == len(poller)


def test_two_waits_for_one_id_poll_it_once(service, poller):
    """A retry and its predecessor may wait for the same job."""
    service.values = {"a": "SUCCEEDED"}

    async def main():
        return await asyncio.gather(until(poller, "a", "SUCCEEDED"), until(poller, "a", "SUCCEEDED"))

    assert [["SUCCEEDED"], ["SUCCEEDED"]] == asyncio.run(main())
    assert [["a"]] == service.calls


def test_the_waits_of_a_connection_share_a_poller(service):
    """There is one poller per key and event loop."""

    async def pair():
        make = lambda: Poller(service.describe)  # noqa: E731
        return shared_poller("conn", make), shared_poller("conn", make), shared_poller("other", make)

    first, same, other = asyncio.run(pair())
    assert first is same
    assert first is not other
    assert first is not asyncio.run(pair())[0]
