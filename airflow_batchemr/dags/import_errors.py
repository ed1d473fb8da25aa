"""Show a pipeline file with errors as an import error of that file, without affecting valid Dags.

Airflow 3.3 stores import errors per file and marks all Dags of that file as stale (dag_processing/collection.py,
`_update_import_errors`). An exception in a Dag file, or a Dag that Airflow rejects, would therefore hide the valid Dags
of all pipeline files. However, if a Dag cannot be *serialized*, Airflow stores the error under the file that the Dag
itself names (dag_processing/processor.py, `_serialize_dags`). Each pipeline file with errors therefore gets a
placeholder Dag that names the file and fails to serialize. Other callers (a DagBag in a test, `airflow dags
reserialize`) do not serialize this way; there, the placeholder fails validation when it is added, which does not hide
other Dags.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.exceptions import SerializationError
from airflow.sdk import DAG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.pipeline_file import PipelineFileError


class BrokenFile(DAG):
    """Placeholder Dag for a pipeline file with errors.

    Args:
        path: Pipeline file.
        errors: Errors of this file.
        all_text: Errors of all files of this load, shown where Airflow keeps only one error.
    """

    def __init__(self, path: str, errors: list[PipelineFileError], all_text: str) -> None:
        super().__init__(f"broken-{hashlib.sha256(path.encode()).hexdigest()[:12]}", schedule=None)
        self.path = path
        self.errors = errors
        self.all_text = all_text

    def validate(self) -> None:
        """Set the pipeline file as the file of this Dag, or fail outside the Dag processor.

        Raises:
            ValueError: This process is not the Dag processor.
        """
        if not _in_dag_processor():
            raise ValueError(f"pipeline files with errors\n{self.all_text}")
        self.relative_fileloc = _relative(self.path, self.fileloc, self.relative_fileloc)

    def get_serialized_fields(self) -> Any:  # type: ignore[override]
        """Fail with the errors of the file.

        Raises:
            SerializationError: Always.
        """
        raise SerializationError("\n\n".join(map(str, self.errors)))


def broken_dags(errors: Sequence[PipelineFileError]) -> list[BrokenFile]:
    """Return one placeholder for each file with errors."""
    by_file: dict[str, dict[str, PipelineFileError]] = {}
    for error in errors:
        by_file.setdefault(str(error.path), {})[str(error)] = error
    all_text = "\n\n".join(text for of_file in by_file.values() for text in of_file)
    return [BrokenFile(path, list(of_file.values()), all_text) for path, of_file in by_file.items()]


def _in_dag_processor() -> bool:
    """Return whether this process parses for the Dag processor, which Airflow marks as a `client` of its API."""
    return os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "client"


def _relative(path: str, dag_file: str, dag_file_in_bundle: str | None) -> str:
    """Return the path relative to the bundle of the Dag file, or the absolute path if it is outside the bundle."""
    full, file = Path(path).absolute(), Path(dag_file).absolute()
    root = file
    for _ in Path(dag_file_in_bundle or file.name).parts:
        root = root.parent
    return str(full.relative_to(root)) if full.is_relative_to(root) else str(full)
