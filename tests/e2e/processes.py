"""Processes of `airflow standalone` that the tests kill or suspend."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from demo.airflow import Airflow


def worker(airflow: Airflow, run: str, dag: str) -> list[psutil.Process]:
    """Return the executor's worker of a running task and its descendants."""
    task = airflow.tasks(dag, run)[dag]["id"]
    (found,) = (process for process, command in processes(airflow) if f"LocalExecutor: {task}" in " ".join(command))
    return [found, *found.children(recursive=True)]


def triggerers(airflow: Airflow) -> list[psutil.Process]:
    """Return the processes of the triggerer."""
    return [process for process, command in processes(airflow) if command[-1] == "triggerer"]


def triggerer_of(airflow: Airflow, run: str, dag: str) -> int | None:
    """Return the id of the triggerer that runs the trigger of a Dag's only task."""
    return (airflow.tasks(dag, run)[dag]["triggerer_job"] or {}).get("id")


def processes(airflow: Airflow) -> list[tuple[psutil.Process, list[str]]]:
    """Return all processes of `airflow standalone` with their command lines, except those that are exiting."""
    assert airflow.standalone is not None
    found = []
    for process in airflow.standalone.tree():
        with suppress(psutil.NoSuchProcess):
            if command := process.cmdline():
                found.append((process, command))
    return found


def kill(targets: list[psutil.Process]) -> None:
    """Kill processes with SIGKILL."""
    for process in targets:
        with suppress(psutil.NoSuchProcess):
            process.kill()
