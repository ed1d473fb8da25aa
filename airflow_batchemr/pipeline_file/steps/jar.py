"""Steps that run a jar."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_batchemr.pipeline_file.models.base import TextMap, Texts, Word
from airflow_batchemr.pipeline_file.steps.base import StepKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv


class JarStep(StepKind):
    """A jar, run by Hadoop."""

    jar: Word = Field(description="URI of a jar; with `class`, `args` and `properties`")
    class_: Word | None = Field(
        None, alias="class", description="Main class of the jar. Default: the one in its manifest"
    )
    args: Texts = Field(default_factory=list, description="Arguments of the jar")
    properties: TextMap = Field(default_factory=dict, description="Java properties of the jar")

    def default_name(self) -> str:
        """Return the main class or the name of the jar."""
        return self.class_ or posixpath.basename(self.jar)

    def config(self, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:  # noqa: ARG002
        """Run the jar; Hadoop does not pass variables to it."""
        properties = [{"Key": key, "Value": value} for key, value in self.properties.items()]
        jar = {"Jar": self.jar, "MainClass": self.class_, "Args": list(self.args), "Properties": properties}
        return {"HadoopJarStep": {key: value for key, value in jar.items() if value}}
