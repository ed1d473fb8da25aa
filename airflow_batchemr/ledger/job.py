"""The ledger of one job of one run: who claims an attempt, what became of it, and whether anything is left."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger.errors import LedgerCorruptError, LedgerTooNewError
from airflow_batchemr.ledger.records import SCHEMA_VERSION, Handle, Intent, Marker, Record, Result, StopRequest
from airflow_batchemr.ledger.state import CLAIM_LEASE, LedgerState, Submission, derive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.ledger.records import Kind
    from airflow_batchemr.ledger.store import Fetched, Listing, Store

_R = TypeVar("_R", bound=Record)
_RECORD = re.compile(r"submissions/(\d{4,})/(intent|handle|result|stop)\.json\Z")
_MARKER = "success.json"
_UPLOAD_THREADS = 32
# Counts the time that a machine sleeps, too, where the platform can (Linux)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class JobLedger:
    """Reads and writes the objects of one job. Holds no state but when it claimed, so any number may exist at once."""

    def __init__(self, store: Store, folder: str, files: str) -> None:
        """Take the job's two folders, relative to the state URI; made by `Ledger.job`."""
        self._store = store
        self._folder = folder
        self._files = files
        self._claimed: dict[int, float] = {}

    @property
    def uri(self) -> str:
        """The s3:// URI of the job's records, with a slash at its end."""
        return self._store.uri(self._folder)

    @property
    def marker_uri(self) -> str:
        """The s3:// URI of the marker."""
        return self._store.uri(self._folder + _MARKER)

    # Reading

    def read(self) -> LedgerState:
        """Read what decides what is left to do.

        1 LIST and 1 GET where the marker stands and no attempt is newer; else one GET more a closed attempt (its
        result) and up to three an open one, at the same time.

        Raises:
            LedgerError: what is wrong with the bucket, the permissions, or an object.
        """
        listing = self._store.list(self._folder)
        marker = self._get(_MARKER, Marker) if _MARKER in listing.modified else None
        standing = self._state(listing, marker, after=marker.submission if marker else 0, whole=False)
        if marker is None or standing.marker is not None:
            return standing
        # A rerun has overtaken the marker: what it covered does not count, but may still have to be stopped
        return self._state(listing, marker, after=0, whole=False)

    def history(self) -> LedgerState:
        """Read every record of every attempt: for people, replay and the search for orphans."""
        listing = self._store.list(self._folder)
        marker = self._get(_MARKER, Marker) if _MARKER in listing.modified else None
        return self._state(listing, marker, after=0, whole=True)

    def marker(self) -> Marker | None:
        """Read the marker object alone, whether or not a rerun has overtaken it: 1 GET."""
        return self._get(_MARKER, Marker)

    def stop_request(self, number: int) -> StopRequest | None:
        """Look whether somebody wants the attempt to end: 1 GET."""
        return self._get(_key(number, "stop"), StopRequest)

    def _state(self, listing: Listing, marker: Marker | None, *, after: int, whole: bool) -> LedgerState:
        present: dict[int, set[str]] = {}
        for key in listing.modified:
            if match := _RECORD.match(key):
                present.setdefault(int(match[1]), set()).add(match[2])
        numbers = sorted(present)
        wanted = {
            number: names if whole or "result" not in names else {"result"}
            for number, names in present.items()
            if number > after
        }
        keys = [_key(number, name) for number in sorted(wanted) for name in sorted(wanted[number])]
        records = self._store.each(self._fetch, keys)
        submissions = [
            Submission(
                number,
                listing.modified.get(_key(number, "intent")),
                intent=records.get(_key(number, "intent")),
                handle=records.get(_key(number, "handle")),
                result=records.get(_key(number, "result")),
                stop=records.get(_key(number, "stop")),
            )
            for number in sorted(wanted)
        ]
        return derive(numbers, submissions, marker, listing.now)

    def _fetch(self, key: str) -> Record | None:
        kinds: dict[str, type[Record]] = {"intent": Intent, "handle": Handle, "result": Result, "stop": StopRequest}
        match = _RECORD.match(key)
        return self._get(key, kinds[match[2]]) if match else None

    # An attempt's life

    def claim(self, number: int, intent: Intent) -> bool:
        """Make attempt `number` one's own, by writing its intent. False: somebody else has it; read again.

        With `intent.fresh` of a new rerun, the marker before it is removed. From the claim on it counts no longer, so
        a crash before its removal changes nothing for whoever reads the ledger.
        """
        # Kept also where the put fails without an answer: it may have taken effect, and the lease begun
        self._claimed.setdefault(number, _boottime())
        if not self._ours(_key(number, "intent"), intent):
            del self._claimed[number]
            return False
        if intent.rerun_token is not None:
            self._remove_marker_before(number, intent.rerun_token)
        return True

    def lease_left(self, number: int, lease: float = CLAIM_LEASE) -> float:
        """Seconds that are left, of those after one's own claim, in which the call to AWS may be made; ≤ 0: do not.

        Look at it just before each call, and leave time for the call itself.
        """
        claimed = self._claimed.get(number)
        return 0.0 if claimed is None else claimed + lease - _boottime()

    def record_handle(self, number: int, handle: Handle) -> Handle:
        """Write under which ids AWS knows the attempt; gives the handle that stands.

        If that is another's (or says abandoned), what one has just started oneself is to be terminated.
        """
        return self._first(_key(number, "handle"), handle)

    def record_result(self, number: int, result: Result) -> Result:
        """Write how the attempt ended; gives the result that stands: ours, or that of who was first."""
        return self._first(_key(number, "result"), result)

    def abandon(self, submission: Submission, kind: Kind) -> Handle:
        """Close an attempt whose lease has ended and that AWS does not know; gives the handle that stands.

        Is that not `abandoned`, its owner was faster after all: adopt it.
        """
        handle = self.record_handle(submission.number, Handle(kind=kind, abandoned=True))
        if handle.abandoned:
            indices = submission.intent.indices if submission.intent else IndexSet()
            ended = Result(
                kind=kind,
                outcome="abandoned",
                indices=indices,
                succeeded=IndexSet(),
                rerun_token=submission.rerun_token,
            )
            self.record_result(submission.number, ended)
        return handle

    def request_stop(self, number: int, word: StopRequest) -> StopRequest:
        """Leave word that the attempt is to end; gives the word that stands."""
        return self._first(_key(number, "stop"), word)

    def mark(self, marker: Marker) -> Marker:
        """Write the marker; gives the one that stands. One of an earlier attempt is replaced by compare-and-swap."""
        body = _body(marker)
        while not self._store.create(self._folder + _MARKER, body):
            fetched = self._store.get(self._folder + _MARKER)
            if fetched is None:
                continue
            standing = self._parse(_MARKER, fetched, Marker)
            if standing.writer == marker.writer or standing.submission >= marker.submission:
                return standing
            if self._store.replace(self._folder + _MARKER, body, fetched.etag):
                return marker
        return marker

    def _remove_marker_before(self, number: int, rerun_token: str) -> None:
        fetched = self._store.get(self._folder + _MARKER)
        if fetched is None:
            return
        marker = self._parse(_MARKER, fetched, Marker)
        if marker.submission < number and marker.rerun_token != rerun_token:
            self._store.delete(self._folder + _MARKER, fetched.etag)

    # Documents: what an attempt leans on and that never changes (packing.json, shards/00017.txt, children/…)

    def put_document(self, name: str, body: bytes) -> bytes:
        """Write a document once; gives the bytes that stand: ours, or those of who was first."""
        key = self._files + name
        while not self._store.create(key, body):
            standing = self._store.get(key)
            if standing is not None:
                return standing.body
        return body

    def put_documents(self, documents: Mapping[str, bytes]) -> None:
        """Write many documents once, in threads; those that stand already are left as they are."""
        self._store.each(
            lambda name: self._store.create(self._files + name, documents[name]), documents, threads=_UPLOAD_THREADS
        )

    def get_document(self, name: str) -> bytes | None:
        """Read a document; None: there is none."""
        fetched = self._store.get(self._files + name)
        return fetched.body if fetched else None

    def documents(self, prefix: str = "") -> list[str]:
        """Give the names of the documents that begin with `prefix`; one LIST a 1,000."""
        return [prefix + rest for rest in self._store.list(self._files + prefix).modified]

    def document_uri(self, name: str) -> str:
        """The s3:// URI of a document."""
        return self._store.uri(self._files + name)

    # Records

    def _ours(self, name: str, record: Record) -> bool:
        if self._store.create(self._folder + name, _body(record)):
            return True
        standing = self._get(name, type(record))
        return standing is not None and standing.writer == record.writer

    def _first(self, name: str, record: _R) -> _R:
        while not self._store.create(self._folder + name, _body(record)):
            standing = self._get(name, type(record))
            if standing is not None:
                return standing
        return record

    def _get(self, name: str, kind: type[_R]) -> _R | None:
        fetched = self._store.get(self._folder + name)
        return self._parse(name, fetched, kind) if fetched else None

    def _parse(self, name: str, fetched: Fetched, kind: type[_R]) -> _R:
        uri = self._store.uri(self._folder + name)
        try:
            record = kind.model_validate_json(fetched.body)
        except ValidationError as error:
            _refuse_later_versions(uri, fetched.body)
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise LedgerCorruptError(uri, f"{where}: {first['msg']}" if where else first["msg"]) from error
        if record.schema_version > SCHEMA_VERSION:
            raise LedgerTooNewError(uri, record.schema_version)
        return record


def _refuse_later_versions(uri: str, body: bytes) -> None:
    """Tell a record that a later version has written in another form from one that is broken."""
    try:
        version = json.loads(body).get("schema_version")
    except (ValueError, AttributeError):
        return
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise LedgerTooNewError(uri, version)


def _boottime() -> float:
    return time.clock_gettime(_CLOCK)


def _key(number: int, name: str) -> str:
    return f"submissions/{number:04d}/{name}.json"


def _body(record: Record) -> bytes:
    return record.model_dump_json(indent=1).encode()
