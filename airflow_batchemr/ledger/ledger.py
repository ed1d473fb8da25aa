"""The ledger: all that stands under one state URI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from airflow_batchemr.ledger.job import JobLedger
from airflow_batchemr.ledger.store import Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Beside the jobs' folders: documents lie here, so that a LIST of a job's records never pages through its shards
_FILES = "_files"


class Ledger:
    """Finds the ledgers of jobs under a state URI.

    Layout: ``<state>/<dag_id>/<run_key>/<job>/submissions/0001/…``, ``…/<job>/success.json``, and documents under
    ``<state>/<dag_id>/<run_key>/_files/<job>/…``.
    """

    def __init__(self, client: S3Client, uri: str | None) -> None:
        """Take an S3 client and the state URI.

        Raises:
            StateUriMissingError: `uri` is empty.
            StateUriInvalidError: it is not the URI of a place in S3.
        """
        self._store = Store(client, uri)

    @property
    def uri(self) -> str:
        """The state URI, without a slash at its end."""
        return self._store.uri().rstrip("/")

    def job(self, dag_id: str, run_key: str, job: str) -> JobLedger:
        """Give the ledger of one job of one run; asks S3 nothing."""
        run = f"{_folder(dag_id)}/{_folder(run_key)}"
        return JobLedger(self._store, f"{run}/{_folder(job)}/", f"{run}/{_FILES}/{_folder(job)}/")

    def pipelines(self) -> list[str]:
        """Give the dag ids that have anything in the ledger: one LIST a 1,000."""
        return self._names("")

    def runs(self, dag_id: str) -> list[str]:
        """Give the run keys of a pipeline, in alphabetical order (for dates, that of time)."""
        return self._names(f"{_folder(dag_id)}/")

    def jobs(self, dag_id: str, run_key: str) -> list[str]:
        """Give the jobs of a run that have anything in the ledger."""
        return self._names(f"{_folder(dag_id)}/{_folder(run_key)}/")

    def _names(self, folder: str) -> list[str]:
        return [unquote(name) for name in self._store.list(folder, delimiter=True).folders if name != _FILES]


def _folder(name: str) -> str:
    """Make a name one safe part of a key, so that `_names` gets it back: letters of any language stay."""
    if not name:
        raise ValueError("a dag id, run key or job without a name has no place in the ledger")
    if name in {".", "..", _FILES}:
        return f"%{ord(name[0]):02X}{name[1:]}"
    return re.sub(r"[^\w.+=@~-]", lambda match: quote(match[0], safe=""), name)
