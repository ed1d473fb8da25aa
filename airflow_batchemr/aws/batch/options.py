"""The options of a Batch job, checked as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.options import described, validated
from airflow_batchemr.pipeline_file import checks
from airflow_batchemr.pipeline_file.models import Array, Batch
from airflow_batchemr.pipeline_file.models.array import as_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.validation import Rendered


def batch_options(values: Mapping[str, Any], *, rendered: Rendered = False) -> Batch:
    """Validate the options of a Batch job, each one and together, as `batch:` in a pipeline file.

    Args:
        values: options by name; those that are None count as not given.
        rendered: whether templates have been rendered.

    Raises:
        InvalidRequest: names every option that is wrong.
    """
    options = validated(Batch, dict(values), rendered=rendered)
    wrong = [
        replace(problem, keys=problem.keys[1:])  # without `batch`
        for problem in checks.batch(options)
        if problem.severity == "error"
    ]
    if wrong:
        raise InvalidRequest(described(wrong))
    return options


def array_options(array: Any, *, rendered: Rendered = False) -> dict[str, Any]:
    """Validate the options of an array, as `array:` in a pipeline file; without an array a job has one index.

    Args:
        array: number of indices, also as text; a mapping; or None.
        rendered: whether templates have been rendered.

    Raises:
        InvalidRequest: names every option that is wrong.
    """
    array = 1 if array is None else array
    if isinstance(array, str) and (rendered or array.strip().isdigit()):
        array, rendered = {"size": array}, rendered or True
    options = validated(Array, array, "array", short_form=as_array, rendered=rendered)
    return options.model_dump(exclude_defaults=True, mode="json")
