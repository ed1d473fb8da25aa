"""Jobs' output, in CloudWatch Logs.

Output goes to a file and is put into the log stream when somebody asks for logs: an array of 10,000 writes none that
nobody reads.
"""

from __future__ import annotations

import io
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.clock import Clock, milliseconds
from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["DEFAULT_GROUP", "Logs"]

DEFAULT_GROUP = "/aws/batch/job"
#: Seconds between two looks at how far the output of what runs has come: the resolution of its lines' timestamps.
SAMPLE = 0.5
#: Limits of PutLogEvents: events a call, bytes a call (with 26 for each event), bytes an event.
MAX_EVENTS, MAX_BYTES, OVERHEAD, MAX_EVENT = 10_000, 1_048_576, 26, 262_144 - 26


@dataclass
class Stream:
    """A log stream and the file that feeds it."""

    path: Path
    region: str
    group: str
    name: str
    sent: int = 0  #: bytes of the file that are in the stream
    created: bool = False
    done: bool = False
    marks: list[tuple[int, int]] = field(default_factory=list)  #: (file size, time in ms), as sampled


class Logs:
    """Log streams by name."""

    def __init__(self, upstream: Upstream, clock: Clock, root: Path) -> None:
        self._upstream = upstream
        self._clock = clock
        self._root = root
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}
        self._open: set[str] = set()
        self._groups: set[tuple[str, str]] = set()
        self._sampling = False

    @staticmethod
    def stream_name(definition: str, container: Mapping[str, Any]) -> str:
        """A new stream's name: `<definition or prefix>/default/<task id>`."""
        prefix = _options(container).get("awslogs-stream-prefix", definition)
        return f"{prefix}/default/{uuid.uuid4().hex}"

    def open(self, region: str, name: str, container: Mapping[str, Any]) -> Path:
        """A new stream.

        Returns:
            The file that its output is to be appended to.
        """
        path = self._root / name.rpartition("/")[2]
        with self._lock:
            group = _options(container).get("awslogs-group", DEFAULT_GROUP)
            self._streams[name] = Stream(path, region, group, name)
            self._open.add(name)
            if not self._sampling:
                self._sampling = True
                self._clock.after(SAMPLE, self._sample)
        return path

    def close(self, name: str) -> None:
        """Nothing more will be written."""
        with self._lock:
            stream = self._streams.get(name)
            if stream is not None:
                stream.done = True
                self._mark(stream)
                self._open.discard(name)

    def flush(self, name: str | None = None) -> None:
        """Puts what has been written into the stream, or into all of them."""
        with self._lock:
            if name is None:
                streams = list(self._streams.values())
            else:
                streams = [self._streams[name]] if name in self._streams else []
            for stream in streams:
                self._put(stream)

    def clear(self) -> None:
        """Forgets all streams."""
        with self._lock:
            for stream in self._streams.values():
                stream.path.unlink(missing_ok=True)
            self._streams.clear()
            self._open.clear()
            self._groups.clear()

    def _sample(self) -> None:
        with self._lock:
            for name in self._open:
                self._mark(self._streams[name])
            self._sampling = bool(self._open)
            if self._sampling:
                self._clock.after(SAMPLE, self._sample)

    @staticmethod
    def _mark(stream: Stream) -> None:
        with suppress(OSError):
            size = stream.path.stat().st_size
            if size > (stream.marks[-1][0] if stream.marks else 0):
                stream.marks.append((size, milliseconds()))

    def _put(self, stream: Stream) -> None:
        if not stream.created:
            if (stream.region, stream.group) not in self._groups:
                self._create(stream.region, "CreateLogGroup", {"logGroupName": stream.group})
                self._groups.add((stream.region, stream.group))
            self._create(stream.region, "CreateLogStream", {"logGroupName": stream.group, "logStreamName": stream.name})
            stream.created = True
        events: list[dict[str, Any]] = []
        size = 0
        for event in self._read(stream):
            cost = len(event["message"].encode()) + OVERHEAD
            if len(events) == MAX_EVENTS or size + cost > MAX_BYTES:
                self._send(stream, events)
                events, size = [], 0
            events.append(event)
            size += cost
        self._send(stream, events)
        if stream.done:
            stream.path.unlink(missing_ok=True)
            del self._streams[stream.name]

    def _create(self, region: str, operation: str, params: dict[str, str]) -> None:
        try:
            self._upstream.json("logs", region, f"Logs_20140328.{operation}", params)
        except UpstreamError as error:
            if "ResourceAlreadyExists" not in error.code:
                raise

    def _send(self, stream: Stream, events: list[dict[str, Any]]) -> None:
        if events:
            params = {"logGroupName": stream.group, "logStreamName": stream.name, "logEvents": events}
            self._upstream.json("logs", stream.region, "Logs_20140328.PutLogEvents", params)

    def _read(self, stream: Stream) -> list[dict[str, Any]]:
        """The lines that are complete, and the last one too once nothing more comes."""
        self._mark(stream)
        try:
            with stream.path.open("rb") as file:
                file.seek(stream.sent)
                content = file.read()
        except FileNotFoundError:
            return []
        if not stream.done:
            content = content[: content.rfind(b"\n") + 1]
        events = []
        for line in io.BytesIO(content):  # by newlines only: a progress bar is one line
            stream.sent += len(line)
            while len(stream.marks) > 1 and stream.marks[0][0] < stream.sent:
                stream.marks.pop(0)
            when = stream.marks[0][1] if stream.marks else milliseconds()
            text = line.rstrip(b"\r\n")
            # CloudWatch takes no empty event; the awslogs driver sends a space-like one for an empty line.
            for start in range(0, max(len(text), 1), MAX_EVENT):
                part = text[start : start + MAX_EVENT].decode(errors="replace")
                events.append({"timestamp": when, "message": part or " "})
        return events


def _options(container: Mapping[str, Any]) -> dict[str, str]:
    configuration = container.get("logConfiguration", {})
    return dict(configuration.get("options", {})) if configuration.get("logDriver", "awslogs") == "awslogs" else {}
