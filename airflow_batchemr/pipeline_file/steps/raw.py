"""Steps in EMR's own form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import AfterValidator, Field, WithJsonSchema

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import Raw, check_aws, shown, without_nulls
from airflow_batchemr.pipeline_file.steps.base import StepKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.models.spark import OnFailure
    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv


_ACTIONS = ("TERMINATE_JOB_FLOW", "TERMINATE_CLUSTER", "CANCEL_AND_WAIT", "CONTINUE")
#: Members of EMR's StepConfig and HadoopJarStepConfig.
_STEP = ("Name", "ActionOnFailure", "HadoopJarStep", "StepMonitoringConfiguration")
_JAR_STEP = ("Jar", "MainClass", "Args", "Properties")
_OBJECT = {"type": "object", "additionalProperties": False}
_JAR_SCHEMA = {**_OBJECT, "properties": {key: {} for key in _JAR_STEP}, "required": ["Jar"]}
_SCHEMA = {
    **_OBJECT,
    "properties": {**{key: {} for key in _STEP}, "HadoopJarStep": _JAR_SCHEMA},
    "required": ["HadoopJarStep"],
}


def _step_config(value: dict[str, Any]) -> dict[str, Any]:
    value = without_nulls(value)
    action = value.get("ActionOnFailure", "CONTINUE")
    if not isinstance(action, str) or ("{{" not in action and action.upper() not in _ACTIONS):
        raise Refusal(f"expected one of {', '.join(_ACTIONS)}, not {shown(action)}", at=["ActionOnFailure"])
    check_aws("emr", "RunJobFlow.Steps[]", {key: part for key, part in value.items() if key != "ActionOnFailure"})
    if "HadoopJarStep" not in value:
        raise Refusal("`HadoopJarStep` is missing")
    if isinstance(value["HadoopJarStep"], dict) and "Jar" not in value["HadoopJarStep"]:
        raise Refusal("`Jar` is missing", at=["HadoopJarStep"])
    return value


class RawStep(StepKind):
    """An EMR StepConfig."""

    raw: Annotated[Raw, AfterValidator(_step_config), WithJsonSchema(_SCHEMA)] = Field(
        description="An EMR StepConfig, passed on unchanged"
    )

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
