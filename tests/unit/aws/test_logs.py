"""Following log streams: each line once, with bounded memory, and without streams that wait for others."""

from __future__ import annotations

import time

from botocore.exceptions import ClientError

from airflow_batchemr.aws import logs
from airflow_batchemr.aws.logs import LogFollower

GROUP = "/aws/batch/job"


class CloudWatch:
    """FilterLogEvents as documented: a 404 if one of the streams does not exist yet, and 3 events per page."""

    def __init__(self):
        self.streams = {}
        self.calls = []

    def polling(self, _service):
        return self

    def write(self, stream, message, at=None):
        events = self.streams.setdefault(stream, [])
        now = int(time.time() * 1000)
        events.append({"eventId": f"{stream}{len(events)}", "timestamp": now if at is None else at, "message": message})

    def filter_log_events(self, *, logStreamNames, startTime, nextToken="0", **_):  # noqa: N803 - AWS's names
        self.calls.append((sorted(logStreamNames), startTime))
        if set(logStreamNames) - set(self.streams):
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
        found = [
            {**event, "logStreamName": stream}
            for stream in logStreamNames
            for event in self.streams[stream]
            if event["timestamp"] >= startTime
        ]
        first = int(nextToken)
        more = {"nextToken": str(first + 3)} if len(found) > first + 3 else {}
        return {"events": found[first : first + 3], **more}


def ids(*streams):
    return [LogFollower.id_of(GROUP, stream) for stream in streams]


def look(follower, *streams):
    follower.poller._describe(ids(*streams))
    return [line for id_ in ids(*streams) for line in follower.take(id_)]


def test_each_line_is_returned_once():
    """CloudWatch may be late, so recent events are read again and recognized by their ids."""
    aws = CloudWatch()
    follower = LogFollower(aws)
    aws.write("a", "one")
    assert ["one"] == look(follower, "a")
    aws.write("a", "two")
    assert ["two"] == look(follower, "a")
    assert [] == look(follower, "a")


def test_a_missing_stream_does_not_delay_the_others():
    """For example, if a program writes nothing for hours."""
    aws = CloudWatch()
    follower = LogFollower(aws)
    names = [f"s{number}" for number in range(9)]
    for name in names:
        aws.write(name, name)
    assert sorted(names) == sorted(look(follower, "silent", *names))


def test_only_ids_of_recent_events_are_kept(monkeypatch):
    """If a job writes for days, only the ids of the last minute are kept."""
    aws = CloudWatch()
    follower = LogFollower(aws)
    clock = [1_800_000_000.0]
    monkeypatch.setattr(logs.time, "time", lambda: clock[0])
    for second in range(600):
        clock[0] = 1_800_000_000.0 + second
        aws.write("a", str(second))
        look(follower, "a")
    assert follower.remembered() <= 2 * logs.OVERLAP // 1000


def test_a_new_stream_does_not_make_others_be_read_again(monkeypatch):
    """Streams that are already followed are only queried for new events."""
    aws = CloudWatch()
    follower = LogFollower(aws)
    clock = [1_800_000_000.0]
    monkeypatch.setattr(logs.time, "time", lambda: clock[0])
    aws.write("a", "old")
    assert ["old"] == look(follower, "a")
    clock[0] += 3600
    aws.write("b", "new")
    aws.calls.clear()
    assert ["new"] == look(follower, "a", "b")
    assert [(["a"], 1_800_000_000_000 - logs.OVERLAP)] == [call for call in aws.calls if "a" in call[0]]


def test_a_long_log_is_read_from_near_its_end():
    """A triggerer that returns to a job of several days reads only its last minutes."""
    aws = CloudWatch()
    follower = LogFollower(aws)
    now = int(time.time() * 1000)
    for hour in range(300, 0, -1):
        aws.write("a", f"{hour} hours ago", at=now - hour * 3_600_000)
    aws.write("a", "now")
    assert ["now"] == look(follower, "a")
    assert 1 == len(aws.calls)


def test_nothing_is_kept_of_a_stream_that_is_not_followed():
    """A triggerer that runs for weeks does not accumulate memory."""
    aws = CloudWatch()
    follower = LogFollower(aws)
    aws.write("a", "one")
    follower.poller._describe(ids("a"))
    follower.forget(*ids("a"))
    assert 0 == follower.remembered()
    assert [] == follower.take(*ids("a"))
