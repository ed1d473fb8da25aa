"""Checks of a job's steps: values that EMR would reject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.preamble import STEP_VARIABLES
from airflow_batchemr.pipeline_file.models.base import without_templates
from airflow_batchemr.pipeline_file.steps.step import Step
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_batchemr.pipeline_file.models import Emr, Job
    from airflow_batchemr.pipeline_file.validation import Keys

#: EMR: total characters of all strings of a step's HadoopJarStep.
STEP_LENGTH = 10_240


def steps(job: Job, cluster: Emr | None) -> Iterator[Problem]:
    """Check the steps of a job.

    Args:
        job: the job.
        cluster: the new or shared cluster that they run on; None if it is only known at run time.
    """
    found: list[tuple[Keys, Step]] = [(("steps", position), step) for position, step in enumerate(job.steps or ())]
    if job.spark is not None:
        found.append((("spark",), Step.model_validate({"spark": job.spark})))
    copies = [((key, at), copy) for key in ("load", "save") for at, copy in enumerate(getattr(job, key))]
    variables = {**dict.fromkeys(STEP_VARIABLES, ""), **job.env}  # the values of the run are not known
    for at, step in [*found, *((at, Step.model_validate({"copy": copy})) for at, copy in copies)]:
        # What a template renders to is only known when the task runs
        length = total_length(
            step.kind.config(variables, {}).get("HadoopJarStep"), lambda text: len(without_templates(text))
        )
        if length > STEP_LENGTH:
            what = "arguments and variables" if job.env and step.kind.takes_environment else "arguments"
            message = f"EMR accepts {STEP_LENGTH:,} characters in the {what} of a step, not {length:,}"
            yield Problem(at, message, "store long lists in a file on S3")
    if cluster is None or cluster.step_concurrency == 1:
        return
    rules: list[tuple[Keys, str | None]] = [(("on_failure",), job.on_failure)]
    for at, step in found:
        rules += [((*at, "on_failure"), step.on_failure), ((*at, step.kind.key()), step.kind.on_failure)]
    for at, rule in rules:
        if rule not in (None, "continue"):
            message = f"`{rule}` is not supported on a cluster with `step_concurrency: {cluster.step_concurrency}`"
            yield Problem(at, message, "EMR accepts only `continue` for steps that run at the same time")


def total_length(value: Any, length: Callable[[str], int] = len) -> int:
    """Total length of all strings in a part of a request, except field names."""
    if isinstance(value, str):
        return length(value)
    if isinstance(value, Mapping):
        return sum(total_length(item, length) for item in value.values())
    return sum(total_length(item, length) for item in value) if isinstance(value, Sequence) else 0
