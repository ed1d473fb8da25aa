"""The ledger: all objects below one state URI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from airflow_batchemr.ledger.errors import MAX_NAME, NameInvalidError
from airflow_batchemr.ledger.job import JobLedger
from airflow_batchemr.ledger.store import ReadLimit, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

# Documents are stored next to the job folders, so that a LIST of a job's records never pages through its shards
_FILES = "_files"


class Ledger:
    """Gives access to the ledgers of jobs below a state URI.

    Layout: ``<state>/<dag_id>/<run_key>/<job>/submissions/0001/…``, ``…/<job>/success.json``, and documents under
    ``<state>/<dag_id>/<run_key>/_files/<job>/…``.
    """

    def __init__(self, client: S3Client, uri: str | None, put_args: Mapping[str, Any] | None = None) -> None:
        """Create from an S3 client and the state URI. `put_args` are additional arguments of each PutObject.

        Raises:
            StateUriMissingError: `uri` is empty.
            StateUriInvalidError: `uri` is not a valid S3 URI.
        """
        self._store = Store(client, uri, put_args)

    @property
    def uri(self) -> str:
        """The state URI without a trailing slash."""
        return self._store.uri().rstrip("/")

    def limit_reads(self, objects: int, size: int) -> None:
        """Limit what this ledger reads from now on; beyond that, reading raises `ReadLimitError`.

        Args:
            objects: Number of objects; a request that lists keys counts as one.
            size: Total size in bytes.
        """
        self._store.read_limit = ReadLimit(objects, size)

    def job(self, dag_id: str, run_key: str, job: str) -> JobLedger:
        """Return the ledger of one job of one run. Makes no S3 calls.

        Raises:
            NameInvalidError: A name is empty, too long or not valid text.
        """
        run = f"{_folder(dag_id)}/{_folder(run_key)}"
        return JobLedger(self._store, f"{run}/{_folder(job)}/", f"{run}/{_FILES}/{_folder(job)}/")

    def pipelines(self) -> list[str]:
        """Return the dag ids in the ledger: one LIST per 1,000."""
        return self._names("")

    def runs(self, dag_id: str) -> list[str]:
        """Return the run keys of a pipeline in alphabetical order, which for dates is chronological."""
        return self._names(f"{_folder(dag_id)}/")

    def jobs(self, dag_id: str, run_key: str) -> list[str]:
        """Return the jobs of a run in the ledger."""
        return self._names(f"{_folder(dag_id)}/{_folder(run_key)}/")

    def _names(self, folder: str) -> list[str]:
        return [
            name for folder_ in self._store.list(folder, delimiter=True).folders if (name := _name(folder_)) is not None
        ]


def _folder(name: str) -> str:
    """Quote a name as one segment of a key, reversible by `_name`. Letters of all languages are kept.

    Raises:
        NameInvalidError: It is empty, too long or not valid text.
    """
    if name in {".", "..", _FILES}:
        return f"%{ord(name[0]):02X}{name[1:]}"
    try:
        quoted = re.sub(r"[^\w.+=@~-]", lambda match: quote(match[0], safe=""), name[: MAX_NAME + 1])
        length = len(quoted.encode())
    except UnicodeEncodeError as error:
        raise NameInvalidError(name) from error
    if not 0 < length <= MAX_NAME:
        raise NameInvalidError(name)
    return quoted


def _name(folder: str) -> str | None:
    """Return the name that `_folder` has quoted; None for a folder that this package does not write."""
    name = unquote(folder)
    try:
        return name if folder != _FILES and _folder(name) == folder else None
    except NameInvalidError:
        return None
