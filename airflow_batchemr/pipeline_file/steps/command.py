"""Steps that run a command on the master."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from airflow_batchemr.pipeline_file.models.base import SCALAR, TEXT
from airflow_batchemr.pipeline_file.models.command import Command
from airflow_batchemr.pipeline_file.steps.base import StepKind, command_runner, env_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv


class CommandStep(StepKind):
    """A command on the master."""

    short_forms: ClassVar[dict[type, dict[str, Any]]] = {
        str: TEXT,
        list: {"type": "array", "items": SCALAR, "minItems": 1},
    }

    takes_environment: ClassVar[bool] = True

    command: Command = Field(
        description=(
            "Command to run on the master (with command-runner.jar): a list of arguments, or text, which is split as a "
            "shell would, without a shell"
        ),
    )

    def default_name(self) -> str:
        """Return the program's name."""
        return posixpath.basename(self.command[0]) or "command"

    def config(self, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:  # noqa: ARG002
        """Run the command without a shell, so that a rendered template stays in its argument."""
        return command_runner([*env_command(environment), *self.command])
