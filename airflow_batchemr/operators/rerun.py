"""The `rerun` of a run: jobs to run again although they have succeeded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Name of the Dag param, and key of a run's conf, that lists the jobs.
RERUN = "rerun"


def rerun_names(context: Context) -> set[str]:
    """Return the jobs in the run's `rerun` (param or conf)."""
    names: set[str] = set()
    for source in (context.get("params"), getattr(context["dag_run"], "conf", None)):
        wanted = (source or {}).get(RERUN)
        if isinstance(wanted, str):
            names.add(wanted)
        elif isinstance(wanted, Iterable):
            names.update(str(name) for name in wanted)
    return names
