"""Checks of a job's steps: values that EMR would reject."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.steps.step import Step
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Emr, Job
    from airflow_batchemr.pipeline_file.validation import Keys

#: EMR: total characters of all strings of a step's HadoopJarStep.
STEP_LENGTH = 10_240
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def steps(job: Job, cluster: Emr | None) -> Iterator[Problem]:
    """Check the steps of a job.

    Args:
        job: the job.
        cluster: the new or shared cluster that they run on; None if it is only known at run time.
    """
    found: list[tuple[Keys, Step]] = [(("steps", position), step) for position, step in enumerate(job.steps or ())]
    if job.spark is not None:
        found.append((("spark",), Step.model_validate({"spark": job.spark})))
    for at, step in found:
        length = _length(step.kind.config({}, {}).get("HadoopJarStep"))
        if length > STEP_LENGTH:
            message = f"the step has {length:,} characters in its arguments, and EMR accepts {STEP_LENGTH:,}"
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


def _length(value: Any) -> int:
    """Total length of all strings, without templates, whose values are only known when the task runs."""
    if isinstance(value, str):
        return len(_TEMPLATE.sub("", value))
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    return sum(map(_length, value)) if isinstance(value, list) else 0
