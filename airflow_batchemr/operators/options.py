"""Operator arguments that are the fields of a model of the pipeline file."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import XComArg

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.options import job_options, validated
from airflow_batchemr.connections import as_airflow_error
from airflow_batchemr.core import units
from airflow_batchemr.ledger.store import plain_uri
from airflow_batchemr.pipeline_file.models.base import is_template, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.pipeline_file.models.base import Model

__all__ = [
    "LATER",
    "check_state",
    "check_text",
    "check_when_parsed",
    "describes",
    "duration",
    "is_template",
    "job_option",
    "takes",
    "unresolved",
    "validated",
]

F = TypeVar("F", bound="Callable[..., None]")
C = TypeVar("C", bound=type)


class _Later:
    """Type of `LATER`."""

    def __repr__(self) -> str:
        return "LATER"


#: Placeholder for an argument that is mapped, while the others are checked; see `mapping.py`.
LATER = _Later()
#: The line of an operator's docstring that its options replace.
_PLACE = "        **options: "


def takes(model: type[Model]) -> Callable[[F], F]:
    """Decorate an operator's `__init__` to show the fields of a model as keyword arguments.

    The constructor collects them from its `**kwargs`. Airflow reads the signature in `default_args`, `partial` and
    `expand`; so do `help()` and interactive editors.

    Args:
        model: its fields are optional arguments; those that the constructor names itself stay as they are.
    """

    def decorate(init: F) -> F:
        signature = inspect.signature(init)
        named = list(signature.parameters.values())
        fields = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any)
            for name in model.model_fields
            if name not in signature.parameters
        ]
        last = named.index(next(one for one in named if one.kind is inspect.Parameter.VAR_KEYWORD))
        parameters = [*named[:last], *fields, *named[last:]]
        init.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return init

    return decorate


def describes(model: type[Model]) -> Callable[[C], C]:
    """Decorate an operator to document the fields of a model in its docstring."""

    def decorate(operator: C) -> C:
        if operator.__doc__ is not None:  # python -OO
            lines = operator.__doc__.split("\n")
            at = next(number for number, line in enumerate(lines) if line.startswith(_PLACE))
            after = next(number for number in range(at + 1, len(lines)) if not lines[number].startswith(" " * 12))
            options = [f"        {name}: {field.description}" for name, field in model.model_fields.items()]
            operator.__doc__ = "\n".join([*lines[:at], *options, *lines[after:]])
        return operator

    return decorate


def unresolved(value: Any) -> bool:
    """Return whether a value contains the output of another task, which is known only when the task runs."""
    if isinstance(value, XComArg | _Later):
        return True
    if isinstance(value, dict):
        return any(unresolved(item) for item in value.values())
    return isinstance(value, list | tuple) and any(unresolved(item) for item in value)


def check_when_parsed(check: Callable[[Any], object], value: Any) -> None:
    """Check an operator's argument when the Dag is parsed, unless another task provides part of it.

    Args:
        check: Raises `InvalidRequest` for an invalid value.
        value: Argument to check.

    Raises:
        AirflowFailException: Describes the error.
    """
    if not unresolved(value):
        with as_airflow_error():
            check(value)


def job_option(name: str, value: Any) -> Any:
    """Check an option that a job has in a pipeline file next to `batch:` or `emr:`, such as `deadline`.

    Operators call it when the Dag is parsed, and again when the task runs, with the rendered value.

    Returns:
        The checked value. The output of another task is returned unchanged.

    Raises:
        AirflowFailException: Describes the error.
    """
    if unresolved(value):
        return value
    with as_airflow_error():
        if value is None or isinstance(value, str | bool | int | float):
            return _checked_scalar(name, value)
        return getattr(job_options(**{name: value}), name)


@functools.lru_cache(maxsize=256, typed=True)
def _checked_scalar(name: str, value: str | float | None) -> Any:
    """Check an option once for all tasks that have the same value."""
    return getattr(job_options(**{name: value}), name)


def duration(name: str, value: Any) -> Any:
    """Return a duration in seconds, from a notation of the pipeline file or a timedelta.

    Args:
        name: Name of the argument.
        value: Duration. None and the output of another task are returned unchanged.

    Raises:
        AirflowFailException: Describes the error.
    """
    if value is None or unresolved(value):
        return value
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    with as_airflow_error():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidRequest(f"{name}: expected a duration such as 90s, 15m or 2h, not {shown(value)}")
        try:
            return units.seconds(value)
        except ValueError as error:
            raise InvalidRequest(f"{name}: {error}") from None


def check_text(**arguments: Any) -> None:
    """Check that arguments are text, None, or the output of another task.

    Raises:
        AirflowFailException: Names the arguments that are not.
    """
    wrong = {
        name: value
        for name, value in arguments.items()
        if value is not None and not isinstance(value, str) and not unresolved(value)
    }
    with as_airflow_error():
        if wrong:
            raise InvalidRequest("; ".join(f"{name}: expected text, not {shown(wrong[name])}" for name in wrong))


def check_state(state: Any) -> None:
    """Check a state URI when the Dag is parsed, unless it is rendered or provided by another task.

    Raises:
        AirflowFailException: It is not a valid S3 URI.
    """
    check_text(state=state)
    if state and not unresolved(state) and not is_template(state):
        with as_airflow_error():
            plain_uri(state)
