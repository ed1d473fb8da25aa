"""Logs that EMR uploads to S3: of steps, drivers and bootstrap actions."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.diagnosis import Log
from airflow_batchemr.aws.emr.tracebacks import BEFORE_LEVEL
from airflow_batchemr.aws.errors import Refused, classify
from airflow_batchemr.core.log_lines import lines_of, live_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_batchemr.aws.clients import Clients

#: Bytes that are kept of a log's beginning and of its end, which usually contains the failure.
BEGINNING, END = 50_000, 400_000
#: Bytes of a log that are unpacked and that are read at most, to find its end: some seconds of a CPU. Spark's logs are
#: packed to about a tenth.
UNPACKED, PACKED = 256 * 2**20, 64 * 2**20
#: Bytes of the log of a running step, which is read again every minute.
LIVE_UNPACKED = 64 * 2**20
#: Maximum number of gzip members of a log. EMR's have one, and another one where it has appended.
MEMBERS = 10_000
#: Bytes that are read and unpacked at one time.
CHUNK, PIECE = 2**16, 2**18
#: Containers of an application whose logs are read: the driver's comes first.
CONTAINERS = 4
#: Logs of bootstrap actions that are read at most, if EMR's message does not name the action.
BOOTSTRAP_LOGS = 40
#: Maximum number of keys that are listed to find a log.
LISTED = 2_000
_APPLICATION = re.compile(r"application_\d+_\d+")
_LOG_URI = re.compile(r"s3[an]?://([^/]+)(?:/(.*))?\Z")
#: Instance (of several, the first one) and number of a failed bootstrap action in EMR's message.
_BOOTSTRAP = re.compile(r"\((?:including )?(i-[0-9a-f]{1,40})\b.{0,500}?bootstrap action (\d{1,9})\b", re.DOTALL)
_CONTAINER = re.compile(r"/container_[^/]*_(\d+)/")
#: Log4j's messages of low levels, which hide the output of the program.
_NOISE = re.compile(rf"{BEFORE_LEVEL}(INFO|DEBUG|TRACE)\b|^\s*$|^\s+at ")


class ClusterLogs:
    """The logs of one cluster below its LogUri; without `cluster_id`, all below `log_uri`."""

    def __init__(self, clients: Clients, log_uri: str, cluster_id: str = "", unpacked: int = UNPACKED) -> None:
        self._clients = clients
        self._unpacked = unpacked
        self._known: dict[str, int] = {}  # bytes of each log when it was read last
        place = _LOG_URI.match(log_uri)
        self._bucket, prefix = (place[1], (place[2] or "").strip("/")) if place else ("", "")
        self._prefix = "".join(f"{part}/" for part in (prefix, cluster_id) if part)
        self.unreadable: str | None = None
        """Why the logs cannot be read, if a permission or the bucket is missing."""

    def uri(self, name: str = "") -> str:
        """The s3:// URI of a log, or of the cluster's folder."""
        return f"s3://{self._bucket}/{self._prefix}{name}"

    def step(self, step_id: str) -> list[Log]:
        """The logs of a step that have been uploaded so far; if it ran on YARN, its driver's come first."""
        logs = self._read_all([(f"steps/{step_id}/{kind}.gz", kind) for kind in ("stdout", "stderr", "controller")])
        return [*self._drivers(logs), *logs]

    def complete(self, logs: list[Log]) -> bool:
        """Whether all logs that can contain the cause are there: a step's stderr, and the driver's if it names them.

        Also true if waiting would not help.
        """
        if self.unreadable:
            return True
        stderr = next((log for log in logs if log.name == "stderr"), None)
        if stderr is None:
            return False
        return "finished with failed status" not in stderr.text or any(log.name.startswith("driver") for log in logs)

    def bootstrap(self, message: str) -> list[Log]:
        """The logs of the bootstrap action that EMR's message names; of all of them if it names none."""
        named = _BOOTSTRAP.search(message)
        if named:
            names = [f"node/{named[1]}/bootstrap-actions/{named[2]}/{kind}.gz" for kind in ("stderr", "stdout")]
        else:
            names = [
                name for name in self._names("node/") if "/bootstrap-actions/" in name and "controller" not in name
            ]
        return self._read_all([(name, f"bootstrap {_kind(name)}") for name in names[:BOOTSTRAP_LOGS]])

    def driver(self, folder: str) -> list[Log]:
        """A driver's stdout and stderr in a folder, as far as they have been uploaded."""
        return self._read_all([(f"{folder}{kind}.gz", f"driver {kind}") for kind in ("stdout", "stderr")])

    def _read_all(self, named: list[tuple[str, str]]) -> list[Log]:
        """The logs that exist and may be read, from names and titles."""
        return [log for name, title in named if (log := self._read(name, title)) is not None]

    def _read(self, name: str, title: str) -> Log | None:
        """Beginning and end of one log, unpacked; None if it does not exist or may not be read."""
        try:
            body = self._clients.s3.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            with body:
                unpacked = _unpack(body.iter_chunks(CHUNK), self._unpacked)
        except Exception as error:  # noqa: BLE001 - a log that cannot be read must not hide what failed
            self._note(error)
            return None
        known = self._known.get(name, 0)
        self._known[name] = unpacked.size
        return Log(title, self.uri(name), unpacked.text(), unpacked.text(known))

    def _note(self, error: Exception) -> None:
        meaning = classify(error)
        if isinstance(meaning, Refused) and "NoSuchKey" not in str(meaning):
            self.unreadable = str(meaning)

    def _drivers(self, logs: list[Log]) -> list[Log]:
        """Logs of the containers of the application that a step started in cluster mode: the driver's first."""
        applications = [found for log in logs for found in _APPLICATION.findall(log.text)]
        if not applications:
            return []
        names = sorted(self._names(f"containers/{applications[-1]}/"), key=_container)[: CONTAINERS * 2]
        titled = [(name, "driver" if _container(name)[0] == 1 else "executor") for name in names]
        return self._read_all([(name, f"{title} {_kind(name)}") for name, title in titled])

    def _names(self, folder: str) -> list[str]:
        """Names of logs in a folder; empty if they may not be listed."""
        names: list[str] = []
        prefix, limit = self._prefix + folder, {"MaxItems": LISTED}
        try:
            paginator = self._clients.s3.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self._bucket, Prefix=prefix, PaginationConfig=limit):
                names += [item["Key"].removeprefix(self._prefix) for item in page.get("Contents", [])]
        except Exception as error:  # noqa: BLE001 - as above
            self._note(error)
        return [name for name in names if name.endswith(("stdout.gz", "stderr.gz", "controller.gz"))]


class StepTail:
    """New lines of a step: all of stdout, and stderr without log4j's messages of low levels."""

    def __init__(self, clients: Clients, log_uri: str, cluster_id: str, step_id: str) -> None:
        self._logs = ClusterLogs(clients, log_uri, cluster_id, LIVE_UNPACKED)
        self._step_id = step_id

    def take(self) -> list[str]:
        """The lines since the last call; of many, the last ones. Blocking: 3 GETs and, for YARN, a LIST."""
        lines: list[str] = []
        for log in self._logs.step(self._step_id):
            if log.name != "controller" and not log.name.startswith("executor"):
                lines += [line for line in log.new.splitlines() if not _NOISE.match(line)]
        return live_lines(lines, "the step's own log")


def _kind(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".gz")


def _container(name: str) -> tuple[int, str]:
    """`container_…_000001` is the driver's; stdout, where Python's traceback is, before stderr."""
    number = _CONTAINER.search(name)
    return (int(number[1]) if number else 0), _kind(name).replace("stdout", "a")


@dataclass(frozen=True)
class _Unpacked:
    """Beginning and end of a log."""

    beginning: bytes
    end: bytes
    size: int
    """Bytes of the log, as far as it was read."""
    note: str = ""
    """Why the rest was not read."""

    def text(self, known: int = 0) -> str:
        """The log's lines after the first bytes, which are `known`."""
        if known and known >= self.size:
            return ""
        between = self.size - len(self.beginning) - len(self.end)
        gap = b"\n...\n" if known < self.size - len(self.end) and between else b""
        data = self.beginning[known:] + gap + self.end[max(0, known - self.size + len(self.end)) :]
        return "\n".join(lines_of(data.decode("utf-8", "replace") + self.note))


def _unpack(chunks: Iterable[bytes], limit: int = UNPACKED) -> _Unpacked:
    """Unpack a gzipped log. Only beginning and end are held; truncated files are read as far as possible."""
    beginning, end, size, note = bytearray(), bytearray(), 0, ""
    try:
        for piece in _pieces(chunks):
            room = min(limit - size, len(piece))
            size += room
            first = min(BEGINNING - len(beginning), room)
            beginning += piece[:first]
            end += piece[first:room]
            if len(end) > 2 * END:  # not each time, which would be quadratic for many small pieces
                del end[:-END]
            if room < len(piece):
                note = f"\n(the log has more than {limit:,} bytes: the rest was not read)\n"
                break
    except _TooMuchError as error:
        note = f"\n(the rest of the log was not read: {error})\n"
    return _Unpacked(bytes(beginning), bytes(end[-END:]), size, note)


class _TooMuchError(Exception):
    """A log is larger than any that EMR writes."""


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What the chunks of a gzip or zlib file contain, unpacked in pieces of a bounded size."""
    unzip = zlib.decompressobj(wbits=47)
    members, packed, empty = 1, 0, True
    for chunk in chunks:
        packed += len(chunk)
        if packed > PACKED:
            raise _TooMuchError(f"it has more than {PACKED:,} bytes, packed")
        rest = chunk
        while rest:
            if unzip.eof:  # another gzip member
                members += 1
                if members > MEMBERS:
                    raise _TooMuchError(f"it has more than {MEMBERS:,} gzip members")
                unzip = zlib.decompressobj(wbits=47)
            try:
                piece = unzip.decompress(rest, PIECE)
            except zlib.error:
                if empty:
                    raise
                return  # padding after the last member
            empty = empty and not piece
            yield piece
            rest = unzip.unused_data or unzip.unconsumed_tail
