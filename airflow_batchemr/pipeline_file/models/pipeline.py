"""A pipeline: a top-level entry of a file, which becomes one Dag."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import (
    Form,
    Model,
    Moment,
    Names,
    Raw,
    S3Uri,
    Seconds,
    Texts,
    Word,
    shown,
)
from airflow_batchemr.pipeline_file.models.emr import Emr
from airflow_batchemr.pipeline_file.models.job import Job
from airflow_batchemr.pipeline_file.models.notify import Notify, as_notify
from airflow_batchemr.pipeline_file.models.schedule import SCHEDULES, Schedule, as_schedule

ParamType = Literal["string", "integer", "number", "boolean", "array", "object", "null"]


def _types(value: object) -> list[object]:
    """Convert a single type to a list, and YAML's null to the type `null`."""
    return ["null" if kind is None else kind for kind in (value if isinstance(value, list) else [value])]


class Param(Model):
    """A param of the Dag, in JSON Schema terms."""

    default: Any = Field(
        None,
        description=(
            "Default value. Without it, the trigger form requires a value. Required in a pipeline with a schedule"
        ),
    )
    type: (
        Annotated[
            list[ParamType],
            BeforeValidator(_types),
            Form(single=True, items=({"type": "null"},)),
        ]
        | None
    ) = Field(None, description="Type or list of types. Default: any")
    title: Word | None = Field(None, description="Label in the trigger form. Default: the name")
    description: Word | None = Field(None, description="Text in the trigger form")
    enum: Annotated[list[Any], Field(min_length=1)] | None = Field(None, description="Allowed values")
    format: Word | None = Field(None, description="Format of a string, such as date, date-time or multiline")
    minimum: int | float | None = Field(None, description="Minimum of a number")
    maximum: int | float | None = Field(None, description="Maximum of a number")
    minLength: Annotated[int, Field(ge=0)] | None = Field(None, description="Minimum length of a string")  # noqa: N815 - JSON Schema's name
    maxLength: Annotated[int, Field(ge=0)] | None = Field(None, description="Maximum length of a string")  # noqa: N815 - JSON Schema's name
    pattern: Word | None = Field(None, description="Regular expression that a string must match")
    items: Raw | None = Field(None, description="JSON Schema of the items of an array")
    examples: list[Any] | None = Field(None, description="Suggested values in the trigger form")
    section: Word | None = Field(None, description="Section of the trigger form")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """Keep a default of null."""
        if isinstance(data, dict):
            kept = {"default", *(data.keys() - cls.model_fields.keys())}
            return {key: value for key, value in data.items() if value is not None or key in kept}
        return data


_DEFAULT = {"type": ["string", "number", "boolean", "array", "null"]}


def _params(value: object) -> object:
    """Convert plain values, which are defaults, to the fields of `Param`."""
    if not isinstance(value, dict):
        raise Refusal(f"expected a mapping of names and defaults, not {shown(value)}")
    return {name: param if isinstance(param, dict | Param) else {"default": param} for name, param in value.items()}


class Pipeline(Model):
    """A pipeline with defaults merged, matrices expanded and variables substituted."""

    name: str = Field(description="The pipeline's key in the file and the Dag's `dag_id`; not a key of the file")
    description: str | None = Field(None, description="Description of the Dag, shown in the Airflow UI")
    schedule: Annotated[Schedule | None, BeforeValidator(as_schedule), SCHEDULES] = Field(
        None,
        description=(
            "When the pipeline runs: a cron expression, a preset such as `@daily`, or a mapping. Default: "
            "only when triggered"
        ),
    )
    timezone: Word = Field("UTC", description="IANA time zone of the schedule, and of dates without an offset")
    start_date: Moment | None = Field(
        None,
        description=("Start of the first data interval (Airflow `start_date`). Default: no past runs are scheduled"),
    )
    end_date: Moment | None = Field(None, description="Date after which no runs are scheduled (Airflow `end_date`)")
    catchup: bool = Field(
        False, description="Schedule the runs that were missed since `start_date` (Airflow `catchup`)"
    )
    max_active_runs: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description=("Maximum number of concurrent runs. Default: Airflow's `[core] max_active_runs_per_dag` (16)"),
    )
    overlap: Literal["wait", "terminate"] | None = Field(
        None,
        description=(
            "What happens if a run is due while the previous one is still running: `wait` delays the new "
            "run, `terminate` ends the previous one. Default: runs may overlap"
        ),
    )
    tags: Texts = Field(default_factory=list, description="Tags of the Dag, shown in the Airflow UI")
    owner: Word | None = Field(
        None,
        description=(
            "Owner of the tasks, shown in the Airflow UI. Default: Airflow's `[operators] default_owner` (`airflow`)"
        ),
    )
    params: Annotated[
        dict[str, Param], BeforeValidator(_params), Form(values=(_DEFAULT,)), Names(r"^(?!rerun$)[A-Za-z_]\w*$")
    ] = Field(default_factory=dict, description="Params of the Dag: default values, or mappings")
    deadline: Seconds | None = Field(
        None,
        description=(
            "Time from queueing a run to an alert; the run continues (Airflow `DeadlineAlert`). In a "
            "single-job pipeline it also is the job's `deadline`"
        ),
    )
    notify: Annotated[list[Notify], BeforeValidator(as_notify), Form(single=True)] = Field(
        default_factory=list, description="Notifications about the runs"
    )
    state: S3Uri | None = Field(None, description="S3 URI of the ledger. Default: Airflow's `[batchemr] state`")
    skip_if_succeeded: bool = Field(
        True, description="Do not run jobs again that have a success marker for the run key"
    )
    aws_conn_id: Word | None = Field(None, description="Airflow connection to AWS. Default: `aws_default`")
    region: Word | None = Field(None, description="AWS region. Default: that of the connection")
    jobs: dict[str, Job] = Field(description="The jobs, by name")
    clusters: dict[str, Emr] = Field(
        default_factory=dict,
        description="EMR clusters that jobs of the pipeline share, by name",
    )
