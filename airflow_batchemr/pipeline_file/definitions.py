"""Names that several pipeline files define: their Dags would share an id, and Airflow would run only one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.errors import PipelineFileError
    from airflow_batchemr.pipeline_file.load import PipelineFile


class Definitions:
    """The file that defines each pipeline.

    A pipeline with errors counts too: otherwise, an error in one file would make Airflow run the other file.
    """

    def __init__(self) -> None:
        self._first: dict[str, PipelineFile] = {}

    def add(self, spec: PipelineFile) -> list[PipelineFileError]:
        """Add a file.

        Args:
            spec: as returned by `load_file`.

        Returns:
            for each name that an earlier file defines, an error at both places. A file that is found twice, for example
            through a link, is one definition.
        """
        errors: list[PipelineFileError] = []
        for name in dict.fromkeys(spec.names):
            first = self._first.setdefault(name, spec)
            if first is not spec and not _is_same_file(first, spec):
                errors += _errors(name, first, spec)
        return errors

    def __contains__(self, name: object) -> bool:
        return name in self._first

    def is_first(self, name: str, spec: PipelineFile) -> bool:
        """Whether no earlier file defines this pipeline."""
        return self._first.get(name, spec) is spec

    def is_again(self, name: str, spec: PipelineFile) -> bool:
        """Whether the file that defines this pipeline was loaded again."""
        return name in self._first and _is_same_file(self._first[name], spec)


def _is_same_file(first: PipelineFile, second: PipelineFile) -> bool:
    try:
        return first.path.samefile(second.path)
    except OSError:
        return first.path == second.path


def _errors(name: str, first: PipelineFile, second: PipelineFile) -> list[PipelineFileError]:
    errors = [spec.error(name, "") for spec in (first, second)]
    for error, other in zip(errors, reversed(errors), strict=True):
        error.message = f"pipeline {name} is also defined at {other.where}"
        error.hint = "rename or remove one of the two; until then, the tasks of this pipeline fail"
    return errors
