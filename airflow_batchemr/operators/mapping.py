"""Mapped tasks, `partial(…).expand(…)`: defaults, explanations and checks as without mapping."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import OperatorPartial

from airflow_batchemr.operators.options import LATER

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from typing_extensions import Self

    from airflow_batchemr.operators.aws_operator import AwsOperator


class Partial(OperatorPartial):
    """What `partial` of the operators returns."""

    operator_class: type[AwsOperator]
    #: The arguments of `partial`, on top of `default_args` of the Dag, the task group and the task.
    given: Mapping[str, Any]

    @classmethod
    def of(cls, partial: OperatorPartial, arguments: Mapping[str, Any]) -> Self:
        """Create from what Airflow's `partial` has returned.

        Args:
            partial: Takes the place of it.
            arguments: Arguments of `partial`.
        """
        made = cls(operator_class=partial.operator_class, kwargs=partial.kwargs, params=partial.params)
        partial._expand_called = True  # noqa: SLF001 - otherwise, Airflow warns
        made.given = {**default_arguments(partial.kwargs, arguments), **arguments}
        # Airflow drops those of the task's `default_args` that it does not know itself
        own = own_arguments(made.operator_class)
        made.kwargs["default_args"] = {
            name: value for name, value in (arguments.get("default_args") or {}).items() if name in own
        }
        return made

    def expand(self, **mapped_kwargs: Any) -> MappedOperator:
        """Map the task, as in Airflow.

        Raises:
            AirflowFailException: An argument of `partial` is invalid.
            TypeError: An argument is not accepted.
        """
        names = set(mapped_kwargs)
        self._prepare(names)
        return self._checked(super().expand(**mapped_kwargs), names)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> MappedOperator:
        """Map the task, as in Airflow. The arguments that another task provides are checked when the task runs.

        Raises:
            AirflowFailException: An argument of `partial` is invalid.
            TypeError: An argument is not accepted.
        """
        known = isinstance(kwargs, Sequence) and all(isinstance(one, Mapping) for one in kwargs)
        names = {name for one in kwargs for name in one} if known else set()
        self._prepare(names)
        mapped = super().expand_kwargs(kwargs, strict=strict)
        return self._checked(mapped, names) if known else mapped

    def _prepare(self, names: set[str]) -> None:
        self._expand_called = True
        self.operator_class.prepare_mapped(self.kwargs, self.given, names)
        if not self.kwargs["default_args"]:
            del self.kwargs["default_args"]

    def _checked(self, mapped: MappedOperator, names: set[str]) -> MappedOperator:
        """Check the arguments of `partial` by creating a task of which only the mapped arguments are unknown.

        Not for operators that users have derived, whose constructors may need the values.
        """
        if self.operator_class.__module__.startswith("airflow_batchemr."):
            mapped.unmap(dict.fromkeys(names & own_arguments(self.operator_class), LATER))
        return mapped


def default_arguments(partial: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `default_args` of a mapped task.

    Args:
        partial: `kwargs` of what Airflow's `partial` has returned.
        arguments: Arguments of `partial`.
    """
    parents = [getattr(partial.get(parent), "default_args", None) for parent in ("dag", "task_group")]
    return {name: value for one in (*parents, arguments.get("default_args")) for name, value in (one or {}).items()}


def own_arguments(operator: type[BaseOperator]) -> set[str]:
    """Return the names of the arguments that an operator accepts in addition to those of Airflow's BaseOperator."""
    classes = operator.mro()[: operator.mro().index(BaseOperator)]
    inits = [vars(one)["__init__"] for one in classes if "__init__" in vars(one)]
    return {name for init in inits for name in inspect.signature(init).parameters} - {"self", "kwargs"}
