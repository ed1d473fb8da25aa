"""The options of EMR work: a new cluster, its steps, and where a job run goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.options import validated
from airflow_batchemr.core.tags import OWNER_TAG, tag_value
from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models import Emr, Group, Spark, Step
from airflow_batchemr.pipeline_file.models.base import templated_keys
from airflow_batchemr.pipeline_file.models.command import split_command
from airflow_batchemr.pipeline_file.models.job import On, as_on
from airflow_batchemr.pipeline_file.needs import Needs
from airflow_batchemr.pipeline_file.steps import as_steps

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.validation import Rendered


def cluster_options(cluster: Any, *, rendered: Rendered = False) -> Emr:
    """Validate the options of a new cluster, as `emr:` in a pipeline file.

    Args:
        cluster: the options as a mapping.
        rendered: whether templates have been rendered.

    Raises:
        InvalidRequest: names every option that is wrong.
    """
    options = validated(Emr, cluster, "cluster", rendered=rendered)
    if options.existing:
        raise InvalidRequest("cluster: it names an existing cluster; describe a new one by `type` and `instances`")
    return options


def without_templated(cluster: Any) -> Any:
    """Leave out the options of a cluster without fleets that templates may provide: instances and release."""
    if not isinstance(cluster, dict):
        return cluster
    return {
        name: {key: one for key, one in value.items() if key not in templated_keys(Group)}
        if name in ("master", "core", "task") and isinstance(value, dict)
        else value
        for name, value in cluster.items()
        if name not in templated_keys(Emr)
    }


def needs_options(needs: Any) -> Needs:
    """Validate what the steps of a cluster need; None is nothing. Raises `InvalidRequest`, which names the key."""
    return validated(Needs, {} if needs is None else needs, "needs")


def step_options(steps: Any, *, rendered: Rendered = False) -> list[Step]:
    """Validate a list of steps, as `steps:` in a pipeline file; text or a list of arguments is a command.

    Args:
        steps: the list.
        rendered: whether templates have been rendered.

    Raises:
        InvalidRequest: names the step and the option.
    """
    return [validated(Step, step, f"steps[{number}]", rendered=rendered) for number, step in enumerate(_listed(steps))]


def spark_options(spark: Any) -> Spark:
    """Validate a spark-submit, as `spark:` in a pipeline file; raises `InvalidRequest`."""
    return validated(Spark, spark, "spark")


def job_run_options(on: Any) -> dict[str, Any]:
    """Validate where a job run goes, as `on:` in a pipeline file; raises `InvalidRequest`."""
    return validated(On, on, "on", short_form=as_on).model_dump(exclude_none=True)


def split_commands(steps: Any) -> Any:
    """Split the text commands of steps before templates are rendered, so that no value becomes several arguments.

    Raises:
        InvalidRequest: names the step whose command cannot be split.
    """
    if not isinstance(steps, str | list | tuple):
        return steps
    made = _listed(steps)
    for number, step in enumerate(made):
        if isinstance(step, dict) and isinstance(step.get("command"), str):
            try:
                made[number] = {**step, "command": split_command(step["command"])}
            except Refusal as refusal:
                raise InvalidRequest(f"steps[{number}].command: {refusal}") from None
    return made


def _listed(steps: Any) -> list[Any]:
    try:
        return cast("list[Any]", as_steps(list(steps) if isinstance(steps, tuple) else steps))
    except Refusal as refusal:
        raise InvalidRequest(f"steps: {refusal}") from None


def owner_tag(owner: str) -> dict[str, str]:
    """The tag that names a cluster's owner, for `batchemr clusters` and for cost reports: the owner of the task."""
    return {OWNER_TAG: tag_value(owner)}
