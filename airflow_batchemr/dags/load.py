"""Load pipeline files as Airflow Dags. `load_pipelines` is the entry point for Dag files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.dags.rendered_policy import RenderedPolicy
from airflow_batchemr.pipeline_file import PipelineFileError, apply_policy, files_for, find_files, load_file

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from airflow.sdk import DAG


def build_dags(path: str | Path) -> list[DAG]:
    """Build the Dags of a pipeline file, or of all pipeline files in a folder.

    If Airflow parses for a single Dag, only that Dag is built.

    Args:
        path: Pipeline file or folder; subfolders are included.

    Raises:
        PipelineFilesError: A file has errors. `load_pipelines` also returns the valid Dags in this case.
    """
    dags, errors = _load(Path(path))
    if errors:
        raise PipelineFilesError(errors)
    return list(dags.values())


class PipelineFilesError(PipelineFileError):
    """All errors of the loaded pipeline files.

    Args:
        errors: At least one error.
    """

    def __init__(self, errors: list[PipelineFileError]) -> None:
        first = errors[0]
        super().__init__(first.message, first.hint, path=first.path, line=first.line, column=first.column)
        self.errors = errors

    def __str__(self) -> str:
        """Return all errors, separated by empty lines."""
        return "\n\n".join(str(error) for error in self.errors)


def load_pipelines(namespace: MutableMapping[str, Any], path: str | Path) -> dict[str, DAG]:
    """Add the Dags of pipeline files to the namespace of a Dag file.

    A pipeline with errors appears as an import error of its file, with line and column; other pipelines still load.

    Args:
        namespace: The `globals()` of the Dag file.
        path: Pipeline file, folder (including subfolders), or Dag file (`__file__`), which stands for its folder.

    Returns:
        The Dags by id, for further changes in Python.

    Raises:
        PipelineFilesError: Airflow parses for a single Dag, and that Dag has errors.
    """
    source = Path(path)
    if source.suffix == ".py":
        source = source.parent
    if not source.is_absolute() and not source.exists() and "__file__" in namespace:
        source = Path(namespace["__file__"]).parent / source
    dags, errors = _load(source)
    for dag_id, dag in dags.items():
        dag.fileloc = namespace.get("__file__", dag.fileloc)
        namespace[dag_id if dag_id not in namespace else f"dag {dag_id}"] = dag
    if errors:
        from airflow_batchemr.dags.import_errors import broken_dags

        if _requested_dag() is not None:
            raise PipelineFilesError(errors)
        for number, dag in enumerate(broken_dags(errors)):
            namespace[f"broken {number}"] = dag
    return dags


def _requested_dag() -> str | None:
    """Return the id of the only Dag that this process needs, or None if it needs all."""
    from airflow.sdk import get_parsing_context

    return get_parsing_context().dag_id


def _load(path: Path) -> tuple[dict[str, DAG], list[PipelineFileError]]:
    from airflow_batchemr.dags.build import DagBuildError, build_dag

    requested = _requested_dag()
    environment, policy = settings.environment(), settings.policy()
    dags: dict[str, DAG] = {}
    errors: list[PipelineFileError] = []
    for file in find_files(path) if requested is None else files_for(path, requested):
        spec = load_file(file, environment=environment, only=requested)
        apply_policy(spec, policy)
        errors += spec.errors
        for name, pipeline in spec.pipelines.items():
            if requested is not None and name != requested:
                continue
            if name in dags:
                errors.append(PipelineFileError(f"duplicate pipeline name {name}", path=file, pipeline=name))
                continue
            try:
                dags[name] = build_dag(plan_dag(pipeline, file.parent))
                for task in dags[name].tasks:
                    if (rendered := RenderedPolicy.of(policy, pipeline, task.task_id)) is not None:
                        task.rendered_policy = rendered  # type: ignore[union-attr]  # of LedgerOperator
            except DagBuildError as error:
                errors.append(spec.error(name, str(error), error.job, error.key))
            except Exception as error:  # noqa: BLE001 - of what the policy has changed; must not affect other Dags
                errors.append(spec.error(name, f"{type(error).__name__}: {error}"))
        if requested in dags:
            return dags, []  # errors of other pipelines do not matter in this process
        if requested is not None:
            errors = [error for error in errors if error.pipeline in (requested, None)]
    return dags, errors
