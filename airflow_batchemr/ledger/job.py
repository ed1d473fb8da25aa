"""The ledger of one job of one run: claims, handles and results of submissions, and the marker."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.lease import CLAIM_LEASE
from airflow_batchemr.ledger.content import MAX_RECORD, parse, parse_as
from airflow_batchemr.ledger.errors import DocumentDiffersError, LedgerCorruptError, LedgerTooNewError
from airflow_batchemr.ledger.records import (
    MAX_SUBMISSION,
    SCHEMA_VERSION,
    Handle,
    Intent,
    Marker,
    Record,
    Result,
    StopRequest,
)
from airflow_batchemr.ledger.state import LedgerState, Submission, derive_state
from airflow_batchemr.ledger.store import ReadLimit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_batchemr.ledger.content import Shape
    from airflow_batchemr.ledger.records import Kind
    from airflow_batchemr.ledger.store import Fetched, Listing, Store

_R = TypeVar("_R", bound=Record)
_RECORD = re.compile(r"submissions/((?!0000)[0-9]{4}|[1-9][0-9]{4,5})/(intent|handle|result|stop)\.json\Z")
_MARKER = "success.json"
_MAX_RECORDS = 100_000
"""Maximum number of keys in the folder of a job, which has up to 4 for each submission and the marker."""
_MAX_SIZE = 256 << 20
"""Maximum total size of the records of a job that are read at once, in bytes. The result of 1,000,000 indices has up to
7 MB: 100 descriptions of arrays by AWS, with up to 60 kB each."""
_UPLOAD_THREADS = 32
# Includes time during which the machine is suspended, if the platform supports it (Linux)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class JobLedger:
    """Reads and writes the ledger objects of one job.

    Its only state is the time of its own claims, so any number of instances may exist at the same time.
    """

    def __init__(self, store: Store, folder: str, files: str) -> None:
        """Create from the job's two folders, relative to the state URI. Use `Ledger.job` instead."""
        self._store = store
        self._folder = folder
        self._files = files
        self._claimed: dict[int, float] = {}
        self._read_at = _boottime()

    @property
    def uri(self) -> str:
        """The s3:// URI of the job's records, with a trailing slash."""
        return self._store.uri(self._folder)

    @property
    def marker_uri(self) -> str:
        """The s3:// URI of the marker."""
        return self._store.uri(self._folder + _MARKER)

    def handle_uri(self, number: int) -> str:
        """The s3:// URI of a submission's handle."""
        return self._store.uri(self._folder + _key(number, "handle"))

    # Reading

    def read(self) -> LedgerState:
        """Read everything needed to decide what is left to do.

        Takes one LIST and one GET if the marker is valid and no submission is newer. Otherwise, it takes one more GET
        per closed submission (its result), two if its stop was requested, and up to three per open one, concurrently.

        Raises:
            LedgerError: The bucket, the permissions or an object are not as expected.
        """
        self._read_at = _boottime()
        listing = self._store.list(self._folder, most=_MAX_RECORDS)
        marker = self._get(_MARKER, Marker) if _MARKER in listing.modified else None
        state = self._state(listing, marker, after=marker.submission if marker else 0, whole=False)
        if marker is None or state.marker is not None:
            return state
        # A rerun has superseded the marker. Submissions covered by it do not count, but may still have to be stopped
        return self._state(listing, marker, after=0, whole=False)

    def age(self) -> float:
        """Return the seconds since the last `read` began, including those in which the machine was suspended."""
        return _boottime() - self._read_at

    def history(self) -> LedgerState:
        """Read all records of all submissions, as needed for display, replay and orphans."""
        listing = self._store.list(self._folder, most=_MAX_RECORDS)
        marker = self._get(_MARKER, Marker) if _MARKER in listing.modified else None
        return self._state(listing, marker, after=0, whole=True)

    def marker(self) -> Marker | None:
        """Read only the marker object, even if a rerun has superseded it: one GET."""
        return self._get(_MARKER, Marker)

    def intent(self, number: int) -> Intent | None:
        """The intent of a submission, or None."""
        return self._get(_key(number, "intent"), Intent)

    def handle(self, number: int) -> Handle | None:
        """Read the handle of a submission, if there is one: one GET."""
        return self._get(_key(number, "handle"), Handle)

    def stop_request(self, number: int) -> StopRequest | None:
        """Read the stop request of a submission, if there is one: one GET."""
        return self._get(_key(number, "stop"), StopRequest)

    def _state(self, listing: Listing, marker: Marker | None, *, after: int, whole: bool) -> LedgerState:
        present: dict[int, set[str]] = {}
        for key in listing.modified:
            if match := _RECORD.match(key):
                present.setdefault(int(match[1]), set()).add(match[2])
        numbers = sorted(present)
        wanted = {
            number: names if whole or "result" not in names else names & {"result", "stop"}
            for number, names in present.items()
            if number > after
        }
        keys = [_key(number, name) for number in sorted(wanted) for name in sorted(wanted[number])]
        advice = f"remove what does not belong there (`aws s3 ls --recursive {self.uri}` lists it)"
        total = ReadLimit(_MAX_RECORDS, _MAX_SIZE, advice)
        records = self._store.each(lambda key: self._fetch(key, total), keys)
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
        for submission in submissions:
            self._check_kinds(submission)
        return derive_state(numbers, submissions, marker, listing.now)

    def _check_kinds(self, submission: Submission) -> None:
        """Check that the records of an open submission belong together."""
        intent, handle = submission.intent, submission.handle
        if handle is None or not submission.open or (intent is None and handle.kind == "batch"):
            return
        if intent is None:
            uri = self._store.uri(self._folder + _key(submission.number, "intent"))
            raise LedgerCorruptError(uri, "it does not exist, although the submission has a handle")
        if intent.kind != handle.kind:
            uri = self._store.uri(self._folder + _key(submission.number, "handle"))
            raise LedgerCorruptError(uri, f"it is of kind {handle.kind}, but the intent is of kind {intent.kind}")

    def _fetch(self, key: str, total: ReadLimit) -> Record | None:
        kinds: dict[str, type[Record]] = {"intent": Intent, "handle": Handle, "result": Result, "stop": StopRequest}
        match = _RECORD.match(key)
        return self._get(key, kinds[match[2]], total) if match else None

    # Life cycle of a submission

    def claim(self, number: int, intent: Intent) -> bool:
        """Claim submission `number` by writing its intent.

        With the `intent.rerun_token` of a new rerun, the earlier marker is removed. The marker is invalid as soon as
        the claim is written, so a crash before its removal makes no difference to readers of the ledger.

        Returns:
            False if another process has claimed the number; read the ledger again.

        Raises:
            ConditionalWritesError: The store could give the same number to several processes.
            LedgerCorruptError: The number is too large, because of a record that this package has not written.
        """
        if number > MAX_SUBMISSION:
            raise LedgerCorruptError(
                self._store.uri(f"{self._folder}submissions/{number - 1}/"), "its number is too large"
            )
        self._store.check_conditional_writes()
        # Kept even if the put fails without a response: it may have taken effect, which starts the lease
        self._claimed.setdefault(number, _boottime())
        if not self._create_or_own(_key(number, "intent"), intent):
            del self._claimed[number]
            return False
        if intent.rerun_token is not None:
            self._remove_marker_before(number, intent.rerun_token)
        return True

    def lease_left(self, number: int, lease: float = CLAIM_LEASE) -> float:
        """Return the seconds left of the lease that started with our claim; if ≤ 0, do not call AWS.

        Check this immediately before each call, and allow for the duration of the call.
        """
        claimed = self._claimed.get(number)
        return 0.0 if claimed is None else claimed + lease - _boottime()

    def record_handle(self, number: int, handle: Handle) -> Handle:
        """Record the AWS ids of a submission.

        Returns:
            The handle in the ledger. If another process wrote it, or it is abandoned, terminate the work just started.
        """
        return self._create_or_get(_key(number, "handle"), handle)

    def record_result(self, number: int, result: Result) -> Result:
        """Record the result of a submission and return the result in the ledger: ours, or an earlier one."""
        return self._create_or_get(_key(number, "result"), result)

    def abandon(self, submission: Submission, kind: Kind) -> Handle:
        """Close a submission whose lease has expired and that AWS does not have.

        Returns:
            The handle in the ledger. If it is not `abandoned`, the owner of the submission was faster: adopt it.
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

    def request_stop(self, number: int, request: StopRequest) -> StopRequest:
        """Record a request to stop the submission and return the request in the ledger: ours, or an earlier one."""
        return self._create_or_get(_key(number, "stop"), request)

    def mark(self, marker: Marker) -> Marker:
        """Write the marker and return the one in the ledger. Replaces an earlier one by compare-and-swap."""
        body = _body(marker)
        while not self._store.create(self._folder + _MARKER, body):
            fetched = self._store.get(self._folder + _MARKER, MAX_RECORD)
            if fetched is None:
                continue
            existing = self._parse(_MARKER, fetched, Marker)
            if existing.writer == marker.writer or existing.submission >= marker.submission:
                return existing
            if self._store.replace(self._folder + _MARKER, body, fetched.etag):
                return marker
        return marker

    def _remove_marker_before(self, number: int, rerun_token: str) -> None:
        fetched = self._store.get(self._folder + _MARKER, MAX_RECORD)
        if fetched is None:
            return
        marker = self._parse(_MARKER, fetched, Marker)
        if marker.submission < number and marker.rerun_token != rerun_token:
            self._store.delete(self._folder + _MARKER, fetched.etag)

    # Documents: immutable objects that submissions refer to (packing.json, shards/00017.txt, children/…)

    def put_document(self, name: str, body: bytes) -> bytes:
        """Write a document once and return the content in the ledger: ours, or an earlier one."""
        key = self._files + name
        while not self._store.create(key, body):
            existing = self._store.get(key)
            if existing is not None:
                return existing.body
        return body

    def put_documents(self, documents: Mapping[str, bytes]) -> None:
        """Write documents that AWS is to run or read, concurrently. Existing ones must have the same content.

        Raises:
            DocumentDiffersError: one exists with another content; it is not changed.
        """

        def put(name: str) -> None:
            key, body = self._files + name, documents[name]
            if not self._store.create(key, body) and not self._store.holds(key, body):
                raise DocumentDiffersError(self._store.uri(key))

        self._store.each(put, documents, threads=_UPLOAD_THREADS)

    def get_document(self, name: str) -> bytes | None:
        """Read a document; None if it does not exist."""
        fetched = self._store.get(self._files + name)
        return fetched.body if fetched else None

    def get_json(self, name: str, shape: Shape) -> Any:
        """Read a document that is JSON; None if it does not exist.

        Raises:
            LedgerCorruptError: It is not JSON, or does not have the shape.
        """
        body = self.get_document(name)
        return None if body is None else parse_as(self.document_uri(name), body, shape)

    def documents(self, prefix: str = "") -> list[str]:
        """Return the names of the documents that start with `prefix`: one LIST per 1,000."""
        return list(self.document_times(prefix))

    def document_times(self, prefix: str) -> dict[str, datetime]:
        """Return the documents that start with `prefix` and when they were written (S3's clock): one LIST per 1,000."""
        return {prefix + rest: at for rest, at in self._store.list(self._files + prefix).modified.items()}

    def document_uri(self, name: str) -> str:
        """The s3:// URI of a document."""
        return self._store.uri(self._files + name)

    # Records

    def _create_or_own(self, name: str, record: Record) -> bool:
        """Create the record. Also returns True if an earlier put of ours, whose response was lost, created it."""
        if self._store.create(self._folder + name, _body(record)):
            return True
        existing = self._get(name, type(record))
        return existing is not None and existing.writer == record.writer

    def _create_or_get(self, name: str, record: _R) -> _R:
        while not self._store.create(self._folder + name, _body(record)):
            existing = self._get(name, type(record))
            if existing is not None:
                return existing
        return record

    def _get(self, name: str, kind: type[_R], total: ReadLimit | None = None) -> _R | None:
        fetched = self._store.get(self._folder + name, MAX_RECORD, total)
        return self._parse(name, fetched, kind) if fetched else None

    def _parse(self, name: str, fetched: Fetched, kind: type[_R]) -> _R:
        uri = self._store.uri(self._folder + name)
        value = parse(uri, fetched.body)
        version = value.get("schema_version") if isinstance(value, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:  # the rest may differ as well
            raise LedgerTooNewError(uri, version)
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part)[:60] for part in first["loc"])
            raise LedgerCorruptError(uri, f"{where}: {first['msg']}" if where else first["msg"]) from error


def _boottime() -> float:
    return time.clock_gettime(_CLOCK)


def _key(number: int, name: str) -> str:
    return f"submissions/{number:04d}/{name}.json"


def _body(record: Record) -> bytes:
    return record.model_dump_json(indent=1).encode()
