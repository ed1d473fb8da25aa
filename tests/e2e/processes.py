"""The processes of the standalone that the tests kill or hold up."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from demo.airflow import Airflow


def worker(airflow: Airflow, run: str, dag: str) -> list[psutil.Process]:
    """The executor's worker of a running task, and the task's own process below it."""
    task = airflow.tasks(dag, run)[dag]["id"]
    (found,) = (process for process, words in processes(airflow) if f"LocalExecutor: {task}" in " ".join(words))
    return [found, *found.children(recursive=True)]


def triggerers(airflow: Airflow) -> list[psutil.Process]:
    """The processes of the standalone's triggerer."""
    return [process for process, words in processes(airflow) if words[-1] == "triggerer"]


def triggerer_of(airflow: Airflow, run: str, dag: str) -> int | None:
    """The id of the triggerer that has the wait of a Dag's only task."""
    return (airflow.tasks(dag, run)[dag]["triggerer_job"] or {}).get("id")


def processes(airflow: Airflow) -> list[tuple[psutil.Process, list[str]]]:
    """All processes of the standalone that have a command line, with its words; others end while we look."""
    assert airflow.standalone is not None
    found = []
    for process in airflow.standalone.tree():
        with suppress(psutil.NoSuchProcess):
            if words := process.cmdline():
                found.append((process, words))
    return found


def kill(those: list[psutil.Process]) -> None:
    """`kill -9`."""
    for process in those:
        with suppress(psutil.NoSuchProcess):
            process.kill()
