"""Steps in EMR's own form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from airflow_batchemr.pipeline_file.models.base import Raw
from airflow_batchemr.pipeline_file.steps.base import StepKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.models.spark import OnFailure
    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv


class RawStep(StepKind):
    """An EMR StepConfig."""

    raw: Raw = Field(description="An EMR StepConfig, passed on unchanged")

    def default_name(self) -> str:
        """Return the StepConfig's name."""
        return str(self.raw.get("Name", "step"))

    def config(self, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:  # noqa: ARG002
        """Return the StepConfig unchanged."""
        return {key: value for key, value in self.raw.items() if key not in {"Name", "ActionOnFailure"}}

    @property
    def on_failure(self) -> OnFailure | None:
        """The StepConfig's `ActionOnFailure`, in the notation of the file."""
        action = self.raw.get("ActionOnFailure")
        return cast("OnFailure", action.lower()) if action else None
