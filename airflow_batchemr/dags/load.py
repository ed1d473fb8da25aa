"""Pipeline files → Airflow Dags: what a Dag file of two lines calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.dags.plan import compile_pipeline
from airflow_batchemr.pipeline_file import PipelineFileError, files_for, find_files, load_file

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from airflow.sdk import DAG

    from airflow_batchemr.pipeline_file import PipelineFile


def build_dags(path: str | Path) -> list[DAG]:
    """The Dags of a pipeline file, or of all files of a folder.

    In a process of Airflow's that asks for one Dag, only that one is built.

    Args:
        path: the file, or the folder; it is searched with its subfolders.

    Raises:
        PipelineFilesError: pipelines with mistakes; to have the other Dags all the same, see `load_pipelines`.
    """
    dags, errors = _load(Path(path))
    if errors:
        raise PipelineFilesError(errors)
    return list(dags.values())


class PipelineFilesError(PipelineFileError):
    """The mistakes of pipeline files; the text shows each.

    Args:
        errors: at least one.
    """

    def __init__(self, errors: list[PipelineFileError]) -> None:
        first = errors[0]
        super().__init__(first.message, first.hint, path=first.path, line=first.line, column=first.column)
        self.errors = errors

    def __str__(self) -> str:
        """All of them, one under the other."""
        return "\n\n".join(str(error) for error in self.errors)


def load_pipelines(namespace: MutableMapping[str, Any], path: str | Path) -> dict[str, DAG]:
    """Put the Dags of pipeline files where Airflow finds them.

    A pipeline with a mistake shows as an import error of its file, with line and column, and hides no other.

    Args:
        namespace: the Dag file's `globals()`.
        path: a pipeline file, a folder (with its subfolders), or a Dag file (`__file__`), which means its folder.

    Returns:
        The Dags by their ids, to add to them in Python.

    Raises:
        PipelineFilesError: the one Dag that Airflow asks for has a mistake.
    """
    place = Path(path)
    if place.suffix == ".py":
        place = place.parent
    if not place.is_absolute() and not place.exists() and "__file__" in namespace:
        place = Path(namespace["__file__"]).parent / place
    dags, errors = _load(place)
    for dag_id, dag in dags.items():
        dag.fileloc = namespace.get("__file__", dag.fileloc)
        namespace[dag_id if dag_id not in namespace else f"dag {dag_id}"] = dag
    if errors:
        from airflow_batchemr.dags.import_errors import broken_dags

        if _asked_for() is not None:
            raise PipelineFilesError(errors)
        for number, dag in enumerate(broken_dags(errors)):
            namespace[f"broken {number}"] = dag
    return dags


def _asked_for() -> str | None:
    """Id of the one Dag that a worker's process needs; None where all are wanted."""
    from airflow.sdk import get_parsing_context

    return get_parsing_context().dag_id


def _load(path: Path) -> tuple[dict[str, DAG], list[PipelineFileError]]:
    from airflow_batchemr.dags.build import DagBuildError, assemble

    asked_for = _asked_for()
    environment, policy = settings.environment(), settings.policy()
    dags: dict[str, DAG] = {}
    errors: list[PipelineFileError] = []
    for file in find_files(path) if asked_for is None else files_for(path, asked_for):
        spec = load_file(file, environment=environment, only=asked_for)
        errors += spec.errors
        for name, pipeline in spec.pipelines.items():
            if asked_for is not None and name != asked_for:
                continue
            if name in dags:
                errors.append(PipelineFileError(f"there is another pipeline named {name}", path=file, pipeline=name))
                continue
            try:
                changed = policy(pipeline) if policy else None
                dags[name] = assemble(compile_pipeline(changed or pipeline))
            except PipelineFileError as error:
                errors.append(_placed(error, spec, name))
            except DagBuildError as error:
                errors.append(spec.error(name, str(error), error.job, error.word))
            except Exception as error:  # noqa: BLE001 - a policy's own: no other Dag may suffer
                errors.append(spec.error(name, f"{type(error).__name__}: {error}"))
        if asked_for in dags:
            return dags, []  # the mistakes of others are no matter of this process
        if asked_for is not None:
            errors = [error for error in errors if error.pipeline in (asked_for, None)]
    return dags, errors


def _placed(error: PipelineFileError, spec: PipelineFile, name: str) -> PipelineFileError:
    """The error with its file and pipeline, where it does not say."""
    error.path = error.path or spec.path
    error.pipeline = error.pipeline or name
    return error
