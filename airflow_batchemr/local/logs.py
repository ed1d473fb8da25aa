"""Output of jobs in CloudWatch Logs.

Output is written to a file and copied to the log stream when logs are requested, so an array of 10,000 indices does not
create log events that nobody reads.
"""

from __future__ import annotations

import io
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.clock import Clock, milliseconds
from airflow_batchemr.local.private_files import private_folder
from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["DEFAULT_GROUP", "Logs"]

DEFAULT_GROUP = "/aws/batch/job"
#: Seconds between samples of the output size of running jobs, and so the resolution of the timestamps of log lines.
SAMPLE = 0.5
#: Limits of PutLogEvents: events per call, bytes per call (plus 26 per event), bytes per event.
MAX_EVENTS, MAX_BYTES, OVERHEAD, MAX_EVENT = 10_000, 1_048_576, 26, 262_144 - 26


@dataclass
class Stream:
    """A log stream and the file with its output."""

    path: Path
    region: str
    group: str
    name: str
    sent: int = 0  #: bytes of the file that have been copied to the stream
    created: bool = False
    done: bool = False
    marks: list[tuple[int, int]] = field(default_factory=list)  #: samples of (file size, time in ms)


class Logs:
    """Log streams by name."""

    def __init__(self, upstream: Upstream, clock: Clock, root: Path) -> None:
        self._upstream = upstream
        self._clock = clock
        self._root = root
        private_folder(self._root)
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}
        self._open: set[str] = set()
        self._groups: set[tuple[str, str]] = set()
        self._sampling = False

    @staticmethod
    def stream_name(definition: str, container: Mapping[str, Any]) -> str:
        """Return the name of a new stream: `<definition or prefix>/default/<task id>`."""
        prefix = _options(container).get("awslogs-stream-prefix", definition)
        return f"{prefix}/default/{uuid.uuid4().hex}"

    def open(self, region: str, name: str, container: Mapping[str, Any]) -> Path:
        """Open a new stream.

        Returns:
            The file to append its output to.
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
        """Close a stream, because no more output will be written."""
        with self._lock:
            stream = self._streams.get(name)
            if stream is not None:
                stream.done = True
                self._mark(stream)
                self._open.discard(name)

    def flush(self, name: str | None = None) -> None:
        """Copy new output to one stream, or to all streams."""
        with self._lock:
            if name is None:
                streams = list(self._streams.values())
            else:
                streams = [self._streams[name]] if name in self._streams else []
            for stream in streams:
                self._put(stream)

    def clear(self) -> None:
        """Remove all streams."""
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
        """Return new complete lines, and the last incomplete one once the stream is closed."""
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
        for line in io.BytesIO(content):  # splits at newlines only, so that a progress bar is one line
            stream.sent += len(line)
            while len(stream.marks) > 1 and stream.marks[0][0] < stream.sent:
                stream.marks.pop(0)
            when = stream.marks[0][1] if stream.marks else milliseconds()
            text = line.rstrip(b"\r\n")
            # CloudWatch rejects empty events; like the awslogs driver, send a space for an empty line.
            for start in range(0, max(len(text), 1), MAX_EVENT):
                part = text[start : start + MAX_EVENT].decode(errors="replace")
                events.append({"timestamp": when, "message": part or " "})
        return events


def _options(container: Mapping[str, Any]) -> dict[str, str]:
    configuration = container.get("logConfiguration", {})
    return dict(configuration.get("options", {})) if configuration.get("logDriver", "awslogs") == "awslogs" else {}
