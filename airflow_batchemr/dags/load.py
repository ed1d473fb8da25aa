"""Load pipeline files as Airflow Dags. `load_pipelines` is the entry point for Dag files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.dags.rendered_policy import RenderedPolicy
from airflow_batchemr.pipeline_file import (
    Definitions,
    PipelineFileError,
    apply_policy,
    files_for,
    find_files,
    load_file,
)

if TYPE_CHECKING:
    from collections.abc import Collection, MutableMapping

    from airflow.sdk import DAG

#: Name of the `Definitions` in the namespace of a Dag file, for further calls of `load_pipelines`.
_DEFINITIONS = "_batchemr_definitions"


def build_dags(path: str | Path) -> list[DAG]:
    """Build the Dags of a pipeline file, or of all pipeline files in a folder.

    If Airflow parses for a single Dag, only that Dag is built.

    Args:
        path: Pipeline file or folder; subfolders are included.

    Raises:
        PipelineFilesError: A file has errors. `load_pipelines` also returns the valid Dags in this case.
    """
    dags, errors = _load(Path(path), Definitions(), [])
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
    A name that is defined twice, also by several calls for one namespace, is an error of both files: the Dag of the
    first file is shown, and its tasks fail with the same error.

    Args:
        namespace: The `globals()` of the Dag file.
        path: Pipeline file, folder (including subfolders), or Dag file (`__file__`), which stands for its folder.

    Returns:
        The Dags by id, for further changes in Python.

    Raises:
        PipelineFilesError: Airflow parses for a single Dag, and that Dag has errors.
    """
    from airflow.sdk import DAG

    source = Path(path)
    if source.suffix == ".py":
        source = source.parent
    if not source.is_absolute() and not source.exists() and "__file__" in namespace:
        source = Path(namespace["__file__"]).parent / source
    definitions = namespace.setdefault(_DEFINITIONS, Definitions())
    loaded = [value for value in namespace.values() if isinstance(value, DAG)]
    dags, errors = _load(source, definitions, loaded)
    for dag_id, dag in dags.items():
        dag.fileloc = namespace.get("__file__", dag.fileloc)
        namespace[dag_id if dag_id not in namespace else f"dag {dag_id}"] = dag
    if errors:
        from airflow_batchemr.dags.import_errors import BrokenFile, broken_dags

        if _requested_dag() is not None:
            raise PipelineFilesError(errors)
        earlier = [error for dag in loaded if isinstance(dag, BrokenFile) for error in dag.errors]
        for broken in broken_dags([*earlier, *errors]):
            namespace[f"broken {broken.path}"] = broken
    return dags


def _requested_dag() -> str | None:
    """Return the id of the only Dag that this process needs, or None if it needs all."""
    from airflow.sdk import get_parsing_context

    return get_parsing_context().dag_id


def _load(
    path: Path, definitions: Definitions, loaded: Collection[DAG]
) -> tuple[dict[str, DAG], list[PipelineFileError]]:
    """Build the Dags of a file or folder.

    Args:
        path: Pipeline file or folder.
        definitions: Pipelines that were loaded before, for the same namespace.
        loaded: Dags of the namespace.
    """
    from airflow_batchemr.dags.build import DagBuildError, build_dag

    requested = _requested_dag()
    others = {dag.dag_id: dag for dag in loaded if dag.dag_id not in definitions}
    earlier = {dag.dag_id: dag for dag in loaded if dag.dag_id in definitions}
    environment, policy = settings.environment(), settings.policy()
    dags: dict[str, DAG] = {}
    errors: list[PipelineFileError] = []
    duplicates: list[PipelineFileError] = []
    for file in find_files(path) if requested is None else files_for(path, requested):
        spec = load_file(file, environment=environment, only=requested)
        apply_policy(spec, policy)
        errors += spec.errors
        duplicates += definitions.add(spec)
        for name in others.keys() & set(spec.names):
            error = spec.error(name, f"{others[name].fileloc} already has a Dag named {name}")
            error.hint = "rename one of the two; until then, the tasks of this Dag fail"
            duplicates.append(error)
        for name, pipeline in spec.pipelines.items():
            if requested not in (None, name) or name in others or not definitions.is_first(name, spec):
                if name in earlier and definitions.is_again(name, spec):
                    dags[name] = earlier[name]
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
    if requested is None:
        return dags, errors + duplicates
    # Errors of other pipelines do not matter in this process. A second definition does: either may be the wrong one.
    duplicates = [error for error in duplicates if error.pipeline == requested]
    if requested in dags:
        return dags, duplicates
    return dags, [*duplicates, *(error for error in errors if error.pipeline in (requested, None))]
