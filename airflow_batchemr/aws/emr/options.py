"""The options of EMR work: a new cluster, its steps, and where a job run goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.engine.job_identity import tag_value
from airflow_batchemr.pipeline_file.models import Emr, Spark, Step
from airflow_batchemr.pipeline_file.models.job import On, as_on
from airflow_batchemr.pipeline_file.models.spark import as_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

M = TypeVar("M", bound=BaseModel)


def cluster_options(cluster: dict[str, Any]) -> Emr:
    """Validate the options of a new cluster, as `emr:` in a pipeline file.

    Raises:
        InvalidRequest: names the option.
    """
    options = _model(Emr, cluster, "cluster")
    if options.existing:
        raise InvalidRequest("cluster: names a cluster that is there; a new one is described by type and instances")
    return options


def owner_tag(owner: str) -> dict[str, str]:
    """The tag that names a cluster's owner, for `batchemr clusters` and for cost reports: the owner of the task."""
    return {"batchemr:owner": tag_value(owner)}


def job_run_options(on: dict[str, Any]) -> dict[str, Any]:
    """Validate where a job run goes, as `on:` in a pipeline file; raises `InvalidRequest`."""
    return _model(On, as_on(on), "on").model_dump(exclude_none=True)


def spark_options(spark: dict[str, Any]) -> Spark:
    """Validate a spark-submit, as `spark:` in a pipeline file; raises `InvalidRequest`."""
    made = step_options([{"spark": spark}])[0].spark
    assert made is not None  # noqa: S101 - made so
    return made


def step_options(steps: Any) -> list[Step]:
    """Validate a list of steps, as `steps:` in a pipeline file; text or a list of arguments is a command.

    Raises:
        InvalidRequest: names the step and the option.
    """
    try:
        items = cast("Sequence[Any]", as_steps(steps))
    except ValueError as error:
        raise InvalidRequest(f"steps: {error}") from None
    return [_model(Step, item, f"steps[{number}]") for number, item in enumerate(items)]


def _model(kind: type[M], value: Any, where: str) -> M:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problems = []
        for one in error.errors():
            place = ".".join([where, *(str(part) for part in one["loc"] if not str(part).startswith("function-"))])
            problems.append(f"{place}: {one['msg'].removeprefix('Value error, ')}")
        raise InvalidRequest("; ".join(problems)) from None
