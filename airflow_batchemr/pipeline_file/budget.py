"""How much a small file may grow into: defaults, variables, `extends` and `matrix` multiply."""

from __future__ import annotations

from typing import Any

from airflow_batchemr.pipeline_file.errors import Refusal

#: Values that one file may come to. A thousand pipelines of two jobs, with long defaults, come to 100,000.
MAX_VALUES = 5_000_000
#: Jobs of one file, those of matrices counted singly.
MAX_JOBS = 50_000
#: Jobs of one pipeline; Airflow's own pages are slow far below.
MAX_PIPELINE_JOBS = 5_000


class Budget:
    """What is left of a file's growth."""

    def __init__(self) -> None:
        self._values = MAX_VALUES
        self._jobs = MAX_JOBS

    def spend(self, values: int) -> None:
        """Take note of values that come from elsewhere in the file.

        Raises:
            Refusal: there are too many.
        """
        self._values -= values
        if self._values < 0:
            message = f"with its defaults and variables written out the file has more than {MAX_VALUES:,} values"
            raise Refusal(message, "split the file, or shorten what is shared")

    def job(self, number: int) -> None:
        """Take note of a pipeline's job, the `number`th.

        Raises:
            Refusal: there are too many.
        """
        self._jobs -= 1
        if number > MAX_PIPELINE_JOBS:
            raise Refusal(
                f"a pipeline has at most {MAX_PIPELINE_JOBS:,} jobs", "one array job has up to 1,000,000 indices"
            )
        if self._jobs < 0:
            raise Refusal(f"a file has at most {MAX_JOBS:,} jobs", "split the file")


def size(value: Any) -> int:
    """The values in a value, itself among them."""
    if isinstance(value, dict):
        return 1 + sum(size(item) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(size(item) for item in value)
    return 1
