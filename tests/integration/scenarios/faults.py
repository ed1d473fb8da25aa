"""Injects faults into the calls between the product and AWS, in each process of the product."""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from airflow_batchemr import connections
from airflow_batchemr.aws.clients import Clients

#: Calls that start work.
STARTS = frozenset({"SubmitJob", "RunJobFlow", "AddJobFlowSteps", "StartJobRun"})
#: Calls whose number depends on timing, and which only fetch log lines.
INCIDENTAL = frozenset({"GetLogEvents", "FilterLogEvents"})

_THROTTLED = {"s3": ("SlowDown", 503)}
_DENIED = {"s3": ("AccessDenied", 403)}
_BROKEN = {"s3": ("InternalError", 500)}


class KilledError(BaseException):
    """The process was killed: it executes nothing more."""


class HungError(BaseException):
    """The process does not respond; Airflow continues without it."""


@dataclass(frozen=True)
class Point:
    """A call of a clean run: the n-th call of an operation, starting with 1."""

    operation: str
    ordinal: int = 1
    by: str = field(default="worker", compare=False)
    """Whether a worker or a triggerer makes it."""

    def __str__(self):
        return f"{self.operation}{self.ordinal}"


@dataclass
class Fault:
    """A fault at a point, and at the following calls of the same operation.

    Args:
        point: the first call that it affects.
        kind: name of a method of `World`, without `_do_`.
        times: number of calls that it affects.
    """

    point: Point
    kind: str
    times: int = 1
    met: int = 0


@dataclass(eq=False)
class Process:
    """A worker or a triggerer, which a fault may kill or hang."""

    name: str
    dead: bool = False
    hung: bool = False
    ended: bool = False
    changed: threading.Event = field(default_factory=threading.Event)
    """Set when the process ends, is killed, or hangs."""


_shared_clients: dict[tuple[str, str, str], object] = {}
_current: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class _OfEachProcess(dict):
    """A dict with separate entries per process, because all processes are threads of this one."""

    def setdefault(self, key, default=None):
        return super().setdefault((_current.get(), key), default)


@dataclass
class Outage:
    """A temporary outage: services cannot be reached, or refuse calls.

    Args:
        services: boto3 names of the services.
        until: time of the clock at which it ends.
        error: `(code, HTTP status)` of the response; None: no connection.
    """

    services: frozenset[str]
    until: float
    error: tuple[str, int] | None = None


class World:
    """An AWS account as seen by the processes under test.

    Args:
        clock: clock of all processes.
    """

    def __init__(self, clock):
        self.clock = clock
        self.faults: list[Fault] = []
        self.outage: Outage | None = None
        self.outage_at: tuple[Point, frozenset[str], float, tuple[str, int] | None] | None = None
        self.hidden_for: float | None = None
        """Seconds for which new work is not visible."""
        self.calls: list[str] = []
        self.at_start = lambda _: None
        """Called with the operation before each call that starts work."""
        self._hidden: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._modified: dict[tuple[str, str], float] = {}
        self._lock = threading.RLock()
        self._resumed = threading.Event()

    def install(self, monkeypatch):
        """Route the calls of all clients that the product creates through this world."""
        world, make, init = self, Clients._client, Clients.__init__

        def bound(clients, *args, **kwargs):
            init(clients, *args, **kwargs)
            clients.process = _current.get()

        def watched(clients, service, how, config):
            with clients._lock:
                known = clients.__dict__.setdefault("behind", {})
                if (service, how) not in known:
                    known[service, how] = world._put_behind(
                        self._shared(make, clients, service, how, config), service, clients.process
                    )
                return known[service, how]

        monkeypatch.setattr(Clients, "__init__", bound)
        monkeypatch.setattr(Clients, "_client", watched)
        monkeypatch.setattr(connections, "_triggers_clients", _OfEachProcess())

    @staticmethod
    def _shared(make, clients, service, how, config):
        """Return a client that all scenarios share, because creating one takes longer than most scenarios."""
        key = (os.environ["AWS_ENDPOINT_URL"], service, how)
        if key not in _shared_clients:
            _shared_clients[key] = make(clients, service, how, config)
        return _shared_clients[key]

    def _put_behind(self, client, service, process):
        send = client._make_api_call  # all methods and paginators of a client use this method

        def call(operation, arguments):
            return self._call(process, service, operation, arguments, lambda: send(operation, arguments))

        own = object.__new__(type(client))
        own.__dict__.update(client.__dict__, _make_api_call=call)
        return own

    # Processes

    def enter(self, process):
        """Assign this thread to a process."""
        _current.set(process)

    def current(self):
        """Return the process of this thread."""
        return _current.get()

    def missed(self):
        """Return faults that have not affected any call."""
        return [fault for fault in self.faults if not fault.met]

    def resume(self):
        """Resume all hung processes."""
        self._resumed.set()

    # Calls

    def count(self, *operations):
        """Return how many calls of these operations were sent."""
        with self._lock:
            return sum(self._counts[one] for one in operations)

    def points(self, *without):
        """Return the calls that were made, in order, numbered by operation."""
        seen, found = Counter(), []
        for operation in self.calls:
            seen[operation] += 1
            if operation not in without:
                found.append(Point(operation, seen[operation]))
        return found

    def _call(self, process, service, operation, arguments, send):
        with self._lock:
            if process is not None and process.dead:
                raise KilledError
            self._counts[operation] += 1
            self.calls.append(operation)
            point = Point(operation, self._counts[operation])
            if self.outage_at is not None and self.outage_at[0] == point:
                _, services, seconds, error = self.outage_at
                self.outage = Outage(services, self.clock.time() + seconds, error)
            fault = self._fault(point)
        self._meet_outage(service, operation)
        if operation in STARTS:
            self.at_start(operation)
        answer = lambda: self._answer(service, operation, arguments, send)  # noqa: E731
        if fault is None:
            return answer()
        return getattr(self, f"_do_{fault.kind}")(process, service, operation, answer)

    def _fault(self, point):
        for fault in self.faults:
            if fault.met >= fault.times or fault.point.operation != point.operation:
                continue
            if point.ordinal >= fault.point.ordinal:
                fault.met += 1
                return fault
        return None

    def _meet_outage(self, service, operation):
        outage = self.outage
        if outage is None or service not in outage.services or self.clock.time() >= outage.until:
            return
        if outage.error is None:
            raise EndpointConnectionError(endpoint_url="https://aws.example")
        raise error_of(operation, *outage.error)

    # Faults

    def _do_kill_before(self, process, service, operation, answer):
        self._kill(process)

    def _do_kill_after(self, process, service, operation, answer):
        try:
            answer()
        finally:  # also after a response such as PreconditionFailed
            self._kill(process)

    def _do_sigkill_after(self, process, service, operation, answer):
        answer()
        os.kill(os.getpid(), signal.SIGKILL)

    def _kill(self, process):
        if process is not None:
            process.dead = True
            process.changed.set()
        raise KilledError

    def _do_hang_before(self, process, service, operation, answer):
        self._hang(process)
        return answer()

    def _do_hang_after(self, process, service, operation, answer):
        try:
            return answer()
        finally:
            self._hang(process)

    def _hang(self, process):
        process.hung = True
        process.changed.set()
        assert self._resumed.wait(60), "the hung process was not resumed"

    def _do_lose_before(self, process, service, operation, answer):
        raise ReadTimeoutError(endpoint_url="https://aws.example")

    def _do_lose_after(self, process, service, operation, answer):
        with contextlib.suppress(ClientError):
            answer()
        raise ReadTimeoutError(endpoint_url="https://aws.example")

    def _do_throttle(self, process, service, operation, answer):
        raise error_of(operation, *_THROTTLED.get(service, ("ThrottlingException", 400)))

    def _do_refuse(self, process, service, operation, answer):
        raise error_of(operation, *_DENIED.get(service, ("AccessDeniedException", 400)))

    def _do_broken(self, process, service, operation, answer):
        raise error_of(operation, *_BROKEN.get(service, ("InternalServerException", 500)))

    # Responses

    def _answer(self, service, operation, arguments, send):
        self._refuse_hidden(operation, arguments)
        answer = send()
        if service == "s3":
            self._date(operation, arguments, answer)
        elif operation in STARTS and self.hidden_for is not None:
            for id_ in _new_ids(operation, answer):
                self._hidden[id_] = self.clock.time() + self.hidden_for
        return self._without_hidden(answer)

    def _date(self, operation, arguments, answer):
        """Replace S3's times with this clock's, in whole seconds as in S3."""
        answer["ResponseMetadata"].get("HTTPHeaders", {})["date"] = _http_date(self.clock.time())
        bucket = arguments.get("Bucket")
        if operation == "PutObject":
            self._modified[bucket, arguments["Key"]] = self.clock.time()
        elif operation == "GetObject" and (bucket, arguments["Key"]) in self._modified:
            answer["LastModified"] = _moment(self._modified[bucket, arguments["Key"]])
        elif operation == "ListObjectsV2":
            for entry in answer.get("Contents", []):
                if (bucket, entry["Key"]) in self._modified:
                    entry["LastModified"] = _moment(self._modified[bucket, entry["Key"]])

    def hides(self, id_):
        """Whether AWS does not show an id yet."""
        return self.clock.time() < self._hidden.get(id_, float("-inf"))

    def _refuse_hidden(self, operation, arguments):
        cluster = arguments.get("ClusterId")
        if isinstance(cluster, str) and self.hides(cluster):
            raise error_of(operation, "InvalidRequestException", 400, f"Cluster id '{cluster}' is not valid.")
        run = arguments.get("jobRunId") or arguments.get("id")
        if isinstance(run, str) and self.hides(run):
            raise error_of(operation, "ResourceNotFoundException", 404, f"Job run {run} does not exist.")

    def _without_hidden(self, answer):
        for key, name in [
            ("jobs", "jobId"), ("jobSummaryList", "jobId"), ("Clusters", "Id"), ("Steps", "Id"), ("jobRuns", "id"),
        ]:  # fmt: skip
            if isinstance(answer, dict) and isinstance(answer.get(key), list):
                answer[key] = [one for one in answer[key] if not self.hides(one.get(name, ""))]
        return answer


def error_of(operation, code, status, message="injected by the scenario"):
    """Return the error response to a call that AWS did not execute."""
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def _new_ids(operation, answer):
    if operation == "AddJobFlowSteps":
        return answer["StepIds"]
    name = {"SubmitJob": "jobId", "RunJobFlow": "JobFlowId"}.get(operation)
    return [answer[name] if name else answer.get("jobRunId") or answer["id"]]


def _moment(seconds):
    return datetime.fromtimestamp(int(seconds), timezone.utc)


def _http_date(seconds):
    return _moment(seconds).strftime("%a, %d %b %Y %H:%M:%S GMT")
