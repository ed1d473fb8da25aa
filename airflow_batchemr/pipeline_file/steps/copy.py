"""Steps that copy data with s3-dist-cp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from airflow_batchemr.pipeline_file.models.base import Model, Texts, Word
from airflow_batchemr.pipeline_file.needs import Needs
from airflow_batchemr.pipeline_file.steps.base import StepKind, command_runner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv


class Copy(Model):
    """An s3-dist-cp step."""

    source: Word = Field(description="Source URI, `s3://…` or `hdfs:///…`")
    destination: Word = Field(description="Destination URI")
    args: Texts = Field(default_factory=list, description="Additional arguments of s3-dist-cp")


class CopyStep(StepKind):
    """A copy with s3-dist-cp."""

    is_copy: ClassVar[bool] = True

    copy_: Copy = Field(alias="copy", description="Copy data with s3-dist-cp")

    def default_name(self) -> str:
        """Return `copy` and the source."""
        return f"copy {self.copy_.source}"

    def config(self, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:  # noqa: ARG002
        """Run s3-dist-cp."""
        copy = self.copy_
        return command_runner(["s3-dist-cp", f"--src={copy.source}", f"--dest={copy.destination}", *copy.args])

    def needs(self) -> Needs:
        """Require Hadoop, which has s3-dist-cp; Spark alone does not install it."""
        return Needs(applications=["Hadoop"])


def as_copies(value: object) -> object:
    """Convert a single copy to a list."""
    return value if isinstance(value, list) else [value]
