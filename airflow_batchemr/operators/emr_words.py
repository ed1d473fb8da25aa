"""From an operator's arguments, in the words of the file, to the models that the layers below take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.engine.job_identity import tag_value
from airflow_batchemr.pipeline_file.models import Emr, Step
from airflow_batchemr.pipeline_file.models.job import On, as_on
from airflow_batchemr.pipeline_file.models.spark import as_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

M = TypeVar("M", bound=BaseModel)


def cluster_words(cluster: dict[str, Any]) -> Emr:
    """The `emr:` block of a new cluster.

    Raises:
        InvalidRequest: names the word.
    """
    words = _model(Emr, cluster, "cluster")
    if words.existing:
        raise InvalidRequest("cluster: names a cluster that is there; a new one is described by type and instances")
    return words


def owner_tag(owner: str) -> dict[str, str]:
    """The tag that says whose cluster it is, for `batchemr clusters` and for who pays: the task's owner in Airflow."""
    return {"batchemr:owner": tag_value(owner)}


def on_words(on: dict[str, Any]) -> dict[str, Any]:
    """The `on:` block, checked, as plain values; raises `InvalidRequest`."""
    return _model(On, as_on(on), "on").model_dump(exclude_none=True)


def step_words(steps: Any) -> list[Step]:
    """The list of steps; a text or a list of words is a command.

    Raises:
        InvalidRequest: names the step and the word.
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
