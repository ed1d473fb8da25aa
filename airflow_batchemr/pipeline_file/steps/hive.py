"""Steps that run a Hive script."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from airflow_batchemr.pipeline_file.models.base import TEXT, Form, Model, Texts, Word
from airflow_batchemr.pipeline_file.needs import Needs
from airflow_batchemr.pipeline_file.steps.base import StepKind, command_runner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv


class Hive(Model):
    """A Hive script as a step."""

    script: Word = Field(description="S3 URI of the script")
    args: Texts = Field(default_factory=list, description="Arguments, such as `-d INPUT=s3://…`")


def _hive(value: object) -> object:
    return {"script": value} if isinstance(value, str) else value


class HiveStep(StepKind):
    """A Hive script."""

    hive: Annotated[Hive, BeforeValidator(_hive), Form((TEXT,))] = Field(
        description="Run a Hive script: its URI, or a mapping"
    )

    def default_name(self) -> str:
        """Return `hive` and the name of the script."""
        return f"hive {posixpath.basename(self.hive.script)}"

    def config(self, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:  # noqa: ARG002
        """Run the script with EMR's `hive-script`."""
        return command_runner(["hive-script", "--run-hive-script", "--args", "-f", self.hive.script, *self.hive.args])

    def needs(self) -> Needs:
        """Require Hive."""
        return Needs(applications=["Hive"])
