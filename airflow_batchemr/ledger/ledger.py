"""The ledger: all objects below one state URI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from airflow_batchemr.ledger.job import JobLedger
from airflow_batchemr.ledger.store import Store

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

    def job(self, dag_id: str, run_key: str, job: str) -> JobLedger:
        """Return the ledger of one job of one run. Makes no S3 calls."""
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
        return [unquote(name) for name in self._store.list(folder, delimiter=True).folders if name != _FILES]


def _folder(name: str) -> str:
    """Quote a name as one segment of a key, reversible by `_names`. Letters of all languages are kept."""
    if not name:
        raise ValueError("dag id, run key and job must not be empty")
    if name in {".", "..", _FILES}:
        return f"%{ord(name[0]):02X}{name[1:]}"
    return re.sub(r"[^\w.+=@~-]", lambda match: quote(match[0], safe=""), name)
