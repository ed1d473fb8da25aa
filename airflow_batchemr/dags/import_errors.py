"""How a pipeline with a mistake shows in Airflow: as an import error of its own file, beside the Dags that are sound.

Airflow 3.3 keeps import errors by file, and marks all Dags of that file as gone (dag_processing/collection.py,
`_update_import_errors`): an exception in a Dag file, or a Dag in it that Airflow refuses, would take the sound Dags of
all pipeline files along. But where a Dag cannot be *serialized*, the error is kept under the file that the Dag itself
names (dag_processing/processor.py, `_serialize_dags`). So for each pipeline file with mistakes there is a stand-in
that names that file and cannot be serialized. Elsewhere (a test's DagBag, `airflow dags reserialize`), where nothing is
serialized with that care, the stand-in is refused when it is taken in, which hides no Dag there.
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
    """Stands for the pipelines of a file that cannot be Dags.

    Args:
        path: the pipeline file.
        text: what is wrong with it.
        all_text: what is wrong with all files of this load: where Airflow keeps but one error, it shows this.
    """

    def __init__(self, path: str, text: str, all_text: str) -> None:
        super().__init__(f"broken-{hashlib.sha256(path.encode()).hexdigest()[:12]}", schedule=None)
        self.path = path
        self.text = text
        self.all_text = all_text

    def validate(self) -> None:
        """Name the pipeline file as this Dag's file; be refused where nobody serializes.

        Raises:
            ValueError: outside of the Dag processor.
        """
        if not _in_dag_processor():
            raise ValueError(f"pipelines with mistakes\n{self.all_text}")
        self.relative_fileloc = _relative(self.path, self.fileloc, self.relative_fileloc)

    def get_serialized_fields(self) -> Any:  # type: ignore[override]
        """Say what is wrong with the file.

        Raises:
            SerializationError: always.
        """
        raise SerializationError(self.text)


def broken_dags(errors: Sequence[PipelineFileError]) -> list[BrokenFile]:
    """One stand-in for each file that has errors."""
    by_file: dict[str, list[str]] = {}
    for error in errors:
        by_file.setdefault(str(error.path), []).append(str(error))
    texts = {path: "\n\n".join(of_file) for path, of_file in by_file.items()}
    return [BrokenFile(path, text, "\n\n".join(texts.values())) for path, text in texts.items()]


def _in_dag_processor() -> bool:
    """Whether this process parses for the Dag processor: Airflow marks those as `client` of its API."""
    return os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "client"


def _relative(path: str, dag_file: str, dag_file_in_bundle: str | None) -> str:
    """The path within the bundle of the Dag file; as it is if it lies elsewhere."""
    full, file = Path(path).absolute(), Path(dag_file).absolute()
    root = file
    for _ in Path(dag_file_in_bundle or file.name).parts:
        root = root.parent
    return str(full.relative_to(root)) if full.is_relative_to(root) else str(full)
