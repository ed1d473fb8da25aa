"""CloudWatch logs: the last lines of a stream, and new lines of many streams with few calls."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_batchemr.aws.errors import member
from airflow_batchemr.aws.poller import Poller
from airflow_batchemr.core.job_container import container_of
from airflow_batchemr.core.log_lines import LIVE_LINE, LIVE_LINES, cut_all, live_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients

#: Default log group of AWS Batch.
BATCH_GROUP = "/aws/batch/job"
#: AWS: streams per FilterLogEvents.
STREAMS_A_CALL = 100
#: Seconds between two polls of the same streams.
SHORTEST, LONGEST = 5.0, 30.0
#: Milliseconds that each poll reads again, because CloudWatch may show events late; duplicates are removed by id.
OVERLAP = 60_000
#: Maximum number of event ids per stream; if more lines arrive within a minute, the oldest are not recognized by id but
#: by time.
KEPT_IDS = 20_000
#: How many milliseconds back the first poll of a stream reads; older lines are in CloudWatch only.
FIRST_LOOK = 600_000
#: Maximum number of pages per poll; if a log grows faster, the rest is in CloudWatch only.
MAX_PAGES = 20
#: Maximum number of streams that a poll requests one by one, because they do not exist yet.
MAX_SINGLY = 10
#: Seconds after which a stream that is no longer polled is forgotten.
FORGOTTEN = 900.0


def log_group(job: Mapping[str, Any]) -> str:
    """The log group of a job as DescribeJobs gives it."""
    configuration = container_of(job).get("logConfiguration") or {}
    return str((configuration.get("options") or {}).get("awslogs-group") or BATCH_GROUP)


def tail(clients: Clients, group: str, stream: str, lines: int = 20) -> list[str]:
    """The last lines of a stream; empty if there are none or they may not be read: 1 GetLogEvents."""
    try:
        answer = clients.logs.get_log_events(logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False)
    except Exception:  # noqa: BLE001 - missing logs must not hide what failed
        return []
    return cut_all([str(event.get("message", "")) for event in answer.get("events", ())][-lines:], LIVE_LINE)


#: Members without which an event cannot be assigned; AWS's model does not require them.
_EVENT = frozenset({"eventId", "logStreamName", "timestamp"})


@dataclass(eq=False)
class _Stream:
    id_: str
    since: int
    """Time of the last poll, in milliseconds since the epoch."""
    looked: float
    found: bool = False
    count: int = 0
    taken: int = 0
    before: int = 0
    """Events up to this time are known or dropped."""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LIVE_LINES))
    """The last ones since they were taken."""
    seen: dict[str, int] = field(default_factory=dict)
    """Time by id of the events that the next poll may return again."""

    @property
    def name(self) -> str:
        return self.id_.partition("\n")[2]

    def add(self, event: Mapping[str, Any]) -> None:
        id_, at = str(event["eventId"]), int(event["timestamp"])
        if at < self.since - OVERLAP or at <= self.before or id_ in self.seen:
            return
        self.seen[id_] = at
        self.lines += cut_all([str(event.get("message", ""))], LIVE_LINE)
        self.count += 1

    def take(self) -> list[str]:
        lines = live_lines(self.lines, "CloudWatch", self.count - self.taken - len(self.lines))
        self.taken = self.count
        self.lines.clear()
        return lines

    def looked_at(self, now: int) -> None:
        self.found, self.since = True, now
        self.seen = {id_: at for id_, at in self.seen.items() if at >= now - OVERLAP}
        if len(self.seen) > KEPT_IDS:  # the writer of a log also chooses the times, up to two hours ahead
            self.before = max(self.before, sorted(self.seen.values())[-KEPT_IDS - 1])
            self.seen = {id_: at for id_, at in self.seen.items() if at > self.before}


class LogFollower:
    """Follows many streams: one FilterLogEvents reads up to a hundred streams of a group.

    Args:
        clients: AWS. The calls are made in the poller's threads.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()
        self.poller: Poller[int] = Poller(self._look, chunk=STREAMS_A_CALL, shortest=SHORTEST, longest=LONGEST)

    @staticmethod
    def id_of(group: str, stream: str) -> str:
        """The poller's id of a stream."""
        return f"{group}\n{stream}"

    def take(self, id_: str) -> list[str]:
        """The lines since the last call."""
        with self._lock:
            stream = self._streams.get(id_)
            return stream.take() if stream else []

    def forget(self, id_: str) -> None:
        """Stop following a stream."""
        with self._lock:
            self._streams.pop(id_, None)

    def remembered(self) -> int:
        """How many lines and event ids are held in memory, for all streams."""
        with self._lock:
            return sum(len(stream.lines) + len(stream.seen) for stream in self._streams.values())

    def look_again(self, id_: str) -> list[str]:
        """Poll a stream now and return its new lines, for a job that has ended. Blocking."""
        self._look([id_])
        return self.take(id_)

    def _look(self, ids: Sequence[str]) -> dict[str, int]:
        groups: dict[str, list[_Stream]] = {}
        for stream in self._open(ids):
            groups.setdefault(stream.id_.partition("\n")[0], []).append(stream)
        for group, streams in groups.items():
            # Separately, so that the others are not read again for a new stream
            known = [stream for stream in streams if stream.found]
            if known and not self._ask(group, known):
                for stream in known:  # one of them no longer exists
                    stream.found = False
            new = [stream for stream in streams if not stream.found]
            if new and not self._ask(group, new) and len(new) > 1:
                # A stream exists only once its program writes; one missing stream fails the call for all
                for stream in sorted(new, key=lambda one: one.looked)[:MAX_SINGLY]:
                    stream.looked = time.monotonic()
                    self._ask(group, [stream])
        with self._lock:
            return {stream.id_: stream.count for streams in groups.values() for stream in streams}

    def _open(self, ids: Sequence[str]) -> list[_Stream]:
        now = time.monotonic()
        first = int(time.time() * 1000) - FIRST_LOOK
        with self._lock:
            for old in [one for one in self._streams.values() if now - one.looked > FORGOTTEN]:
                del self._streams[old.id_]
            opened = [self._streams.setdefault(id_, _Stream(id_, first, now)) for id_ in ids]
            for stream in opened:
                if stream.found:
                    stream.looked = now
            return opened

    def _ask(self, group: str, streams: list[_Stream]) -> bool:
        """Read new events of some streams; False if one of them does not exist."""
        now = int(time.time() * 1000)
        named = {stream.name: stream for stream in streams}
        since = min(stream.since for stream in streams)
        token: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            try:
                answer = self._clients.polling("logs").filter_log_events(
                    logGroupName=group, logStreamNames=list(named), startTime=max(0, since - OVERLAP), **token
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                    return False
                raise
            with self._lock:
                for event in member(answer, "events", "logs:FilterLogEvents"):
                    if event.keys() >= _EVENT and event["logStreamName"] in named:
                        named[event["logStreamName"]].add(event)
            if not answer.get("nextToken"):
                break
            token = {"nextToken": answer["nextToken"]}
        with self._lock:
            for stream in streams:
                stream.looked_at(now)
        return True
