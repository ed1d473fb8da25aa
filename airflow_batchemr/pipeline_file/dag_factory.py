"""Recognize Dags in the form of dag-factory, whose files look like pipeline files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.known_keys import JOB_KEYS

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.errors import PipelineFileError
    from airflow_batchemr.pipeline_file.reader import Document

#: Keys of a task in dag-factory's files.
_TASK = {"operator", "decorator", "task_id", "dependencies", "task_group_name"}
#: Keys of a Dag that pipelines do not have, the most telling ones first.
_DAG = ("tasks", "task_groups", "default_args")
_OURS = {"jobs", *JOB_KEYS} - {"tags", "description"}


def dag_factory_error(document: Document) -> tuple[list[str], PipelineFileError | None]:
    """Find the Dags of a file that are in dag-factory's form.

    Returns:
        their keys, and one error for all of them, at the first one.
    """
    found = [key for key, entry in document.value.items() if _is_dag(entry)]
    if not found:
        return [], None
    first = next((key for key in found if key != "default"), found[0])
    key = next(key for key in _DAG if key in document.value[first])
    position, _ = document.find([first, key], key=True)
    message = "this file is in the form of dag-factory: pipelines of batchemr have `jobs`, not `tasks`"
    hint = (
        "load it with dag-factory; or rewrite it: `tasks` as `jobs`, the arguments of each operator under `with:`, "
        "`dependencies` as `after`, `default_args` and the top-level `default` as `defaults`"
    )
    return found, document.error(message, hint, position, pipeline=first)


def _is_dag(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    tasks = entry.get("tasks")
    items = tasks.values() if isinstance(tasks, dict) else tasks if isinstance(tasks, list) else ()
    if any(isinstance(task, dict) and not _TASK.isdisjoint(task) for task in items):
        return True
    return ("task_groups" in entry or isinstance(entry.get("default_args"), dict)) and _OURS.isdisjoint(entry)
