"""Operator arguments that are the fields of a model of the pipeline file."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from airflow.sdk import XComArg

from airflow_batchemr.aws.options import validated
from airflow_batchemr.connections import as_airflow_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.pipeline_file.models.base import Model

__all__ = ["check_when_parsed", "describes", "takes", "template_options", "unresolved", "validated"]

F = TypeVar("F", bound="Callable[..., None]")
C = TypeVar("C", bound=type)
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


def template_options(model: type[Model]) -> list[str]:
    """Return the names of the fields that accept Airflow templates: text, alone or in lists or mappings."""
    return [name for name, field in model.model_fields.items() if _takes_text(field.annotation)]


def _takes_text(annotation: Any) -> bool:
    return annotation in (str, Any) or any(_takes_text(part) for part in get_args(annotation))


def unresolved(value: Any) -> bool:
    """Return whether a value contains the output of another task, which is known only when the task runs."""
    if isinstance(value, XComArg):
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
