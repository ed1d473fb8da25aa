"""Validate options with the models of the pipeline file: the same values, checks and messages as in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models import Job
from airflow_batchemr.pipeline_file.models.base import Model
from airflow_batchemr.pipeline_file.validation import Problem, Rendered, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

M = TypeVar("M", bound=Model)


def validated(
    model: type[M],
    value: Any,
    where: str = "",
    *,
    short_form: Callable[[object], object] | None = None,
    rendered: Rendered = False,
) -> M:
    """Validate a value against a model of the pipeline file.

    Args:
        model: the model.
        value: its fields as a mapping, or an instance of the model. Tuples count as lists.
        where: name of the value in messages, such as `cluster` or `steps[2]`.
        short_form: converts other notations of the value into the mapping, such as `as_array`.
        rendered: whether templates have been rendered; see `pipeline_file.validation.validate`.

    Raises:
        InvalidRequest: names every option that is wrong, what was expected and, if there is one, the fix.
    """
    value = _with_lists(value)
    try:
        fields: Any = short_form(value) if short_form else value
        made, problems = validate(model, fields, rendered=rendered)
    except Refusal as refusal:
        raise InvalidRequest(described([Problem(refusal.at, refusal.message, refusal.hint)], where)) from None
    if problems or made is None:
        raise InvalidRequest(described(problems, where))
    return made


def job_options(**options: Any) -> Job:
    """Validate options that a pipeline file has next to `batch:` or `emr:`, such as `deadline` and `env`.

    Raises:
        InvalidRequest: names every option that is wrong.
    """
    return validated(Job, {"name": "job", **options})


def described(problems: Iterable[Problem], where: str = "") -> str:
    """Describe problems in one line: `memory: expected a size like 8GiB or 512MiB, not big`."""
    texts = []
    for problem in problems:
        place = where
        for key in problem.keys:
            place += f"[{key}]" if isinstance(key, int) else f".{key}" if place else str(key)
        hint = f" ({problem.hint})" if problem.hint else ""
        texts.append(f"{place}: {problem.message}{hint}" if place else f"{problem.message}{hint}")
    return "; ".join(texts)


def _with_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_with_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return value
