"""Limits on how far a file may expand: defaults, variables, `extends` and `matrix` multiply its values."""

from __future__ import annotations

from typing import Any

from airflow_batchemr.pipeline_file.errors import Refusal

#: Maximum number of values in a file after expansion. A thousand pipelines of two jobs with long defaults have 100,000.
MAX_VALUES = 5_000_000
#: Maximum number of pipelines in a file, after expanding matrices. Building their Dags takes about 20 s; Airflow stops
#: after 50 s (`[dag_processor] dag_file_processor_timeout`).
MAX_PIPELINES = 10_000
#: Maximum number of jobs in a file, after expanding matrices.
MAX_JOBS = 50_000
#: Maximum number of jobs in a pipeline. Airflow's UI is slow well below that.
MAX_PIPELINE_JOBS = 5_000
#: Maximum number of jobs that extend each other in a row.
MAX_EXTENDS = 50


class ExpansionLimit:
    """Counts what one file expands to."""

    def __init__(self) -> None:
        self._values_left = MAX_VALUES
        self._jobs_left = MAX_JOBS
        self._pipelines_left = MAX_PIPELINES

    def add_values(self, values: int) -> None:
        """Count values that are copied from elsewhere in the file.

        Raises:
            Refusal: if the file exceeds `MAX_VALUES`.
        """
        self._values_left -= values
        if self._values_left < 0:
            message = f"the file expands to more than {MAX_VALUES:,} values with its defaults and variables"
            raise Refusal(message, "split the file, or shorten the shared values")

    def add_pipeline(self) -> None:
        """Count a pipeline."""
        self._pipelines_left -= 1

    @property
    def has_too_many_pipelines(self) -> bool:
        """Whether the file exceeds `MAX_PIPELINES`."""
        return self._pipelines_left < 0

    def add_job(self, number: int) -> None:
        """Count a job.

        Args:
            number: 1-based position of the job in its pipeline.

        Raises:
            Refusal: if the pipeline exceeds `MAX_PIPELINE_JOBS` or the file exceeds `MAX_JOBS`.
        """
        self._jobs_left -= 1
        if number > MAX_PIPELINE_JOBS:
            hint = "use an array job, which can have up to 1,000,000 indices"
            raise Refusal(f"a pipeline can have at most {MAX_PIPELINE_JOBS:,} jobs", hint)
        if self._jobs_left < 0:
            raise Refusal(f"a file can have at most {MAX_JOBS:,} jobs", "split the file")


def count_values(value: Any, known: dict[int, int] | None = None) -> int:
    """The number of values nested in a value, including itself.

    Args:
        value: any value of the file.
        known: sizes of the lists and mappings counted so far, by id. Variables share them: each is visited once.
    """
    if not isinstance(value, dict | list):
        return 1
    known = {} if known is None else known
    if id(value) not in known:
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(count_values(item, known) for item in items)
    return known[id(value)]
