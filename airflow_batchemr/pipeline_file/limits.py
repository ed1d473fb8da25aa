"""Limits on how far a file may expand: defaults, variables, `extends` and `matrix` multiply its values."""

from __future__ import annotations

from typing import Any

from airflow_batchemr.pipeline_file.errors import Refusal

#: Maximum number of values in a file after expansion. A thousand pipelines of two jobs with long defaults have 100,000.
MAX_VALUES = 5_000_000
#: Maximum number of jobs in a file, after expanding matrices.
MAX_JOBS = 50_000
#: Maximum number of jobs in a pipeline. Airflow's UI is slow well below that.
MAX_PIPELINE_JOBS = 5_000


class ExpansionLimit:
    """Counts what one file expands to."""

    def __init__(self) -> None:
        self._values_left = MAX_VALUES
        self._jobs_left = MAX_JOBS

    def add_values(self, values: int) -> None:
        """Count values that are copied from elsewhere in the file.

        Raises:
            Refusal: if the file exceeds `MAX_VALUES`.
        """
        self._values_left -= values
        if self._values_left < 0:
            message = f"the file expands to more than {MAX_VALUES:,} values with its defaults and variables"
            raise Refusal(message, "split the file, or shorten the shared values")

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


def count_values(value: Any) -> int:
    """The number of values nested in a value, including itself."""
    if isinstance(value, dict):
        return 1 + sum(count_values(item) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(count_values(item) for item in value)
    return 1
