"""Base class of the kinds of EMR steps, and shared functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_batchemr.pipeline_file.models.base import Model
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.pipeline_file.models.spark import Logs, OnFailure
    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv

#: Jar with which EMR runs a command on the master.
_COMMAND_RUNNER = "command-runner.jar"


class StepKind(Model, ABC):
    """A kind of EMR step; see `airflow_batchemr.pipeline_file.steps.kinds` for how to add one.

    The fields are keys of a step. The first one selects the kind; the others are only accepted beside it.

    Attributes:
        short_forms: JSON Schema of each Python type that may stand for a whole step of this kind, without the key.
        is_copy: whether the step copies data. Copies at the beginning and end of a job never overlap with other steps.
        takes_environment: whether its program gets environment variables.
    """

    short_forms: ClassVar[dict[type, dict[str, Any]]] = {}
    is_copy: ClassVar[bool] = False
    takes_environment: ClassVar[bool] = False

    @classmethod
    def selector(cls) -> str:
        """The name of the field that selects the kind."""
        return next(iter(cls.model_fields))

    @classmethod
    def key(cls) -> str:
        """The key that selects the kind in a pipeline file."""
        name = cls.selector()
        return cls.model_fields[name].alias or name

    @classmethod
    def blocks(cls) -> list[type[Model]]:
        """The models of those keys that take a mapping."""
        types = [field.annotation for field in cls.model_fields.values()]
        return [each for each in types if isinstance(each, type) and issubclass(each, Model)]

    @abstractmethod
    def default_name(self) -> str:
        """Return the name of a step without `name`."""

    @abstractmethod
    def config(self, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:
        """Return the step's EMR StepConfig without `Name` and `ActionOnFailure`.

        Args:
            environment: variables for the step's programs.
            pythons: Python environments by value of `python_env`.
        """

    def refusal(self) -> str | None:
        """Return why the step must not be submitted with its rendered values, if so."""
        return None

    def needs(self) -> Needs:
        """Return what the step requires of its cluster."""
        return Needs()

    @property
    def on_failure(self) -> OnFailure | None:
        """What EMR does if the step fails, if a key of the kind sets it."""
        return None

    @property
    def logs(self) -> Logs | None:
        """The CloudWatch log stream that the step's program writes to."""
        return None


def command_runner(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the StepConfig of a command on the master, without a shell."""
    return {"HadoopJarStep": {"Jar": _COMMAND_RUNNER, "Args": list(arguments)}}


def env_command(environment: Mapping[str, str]) -> list[str]:
    """Return the arguments of `env` that set variables for the command after them."""
    return ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []
