"""A pipeline: a top-level entry of a file, one Dag."""

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
    """One type or several; YAML's null is the type `null`."""
    return ["null" if kind is None else kind for kind in (value if isinstance(value, list) else [value])]


class Param(Model):
    """A value that the trigger form asks for, in JSON Schema's words.

    Attributes:
        default: without one the form requires a value.
        type: or several.
        title: label in the form.
        description: text in the form.
        enum: the values that are allowed.
        format: such as date, date-time, multiline.
        minimum: of a number.
        maximum: of a number.
        minLength: of a text.
        maxLength: of a text.
        pattern: regular expression that a text must match.
        items: JSON Schema of an array's items.
        examples: proposals in the form.
        section: heading in the form.
    """

    default: Any = None
    type: (
        Annotated[
            list[ParamType],
            BeforeValidator(_types),
            Form(single=True, items=({"type": "null"},)),
        ]
        | None
    ) = None
    title: Word | None = None
    description: Word | None = None
    enum: Annotated[list[Any], Field(min_length=1)] | None = None
    format: Word | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    minLength: Annotated[int, Field(ge=0)] | None = None  # noqa: N815 - JSON Schema's word
    maxLength: Annotated[int, Field(ge=0)] | None = None  # noqa: N815 - JSON Schema's word
    pattern: Word | None = None
    items: Raw | None = None
    examples: list[Any] | None = None
    section: Word | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """A default of null is a default."""
        if isinstance(data, dict):
            kept = {"default", *(data.keys() - cls.model_fields.keys())}
            return {word: value for word, value in data.items() if value is not None or word in kept}
        return data


_DEFAULT = {"type": ["string", "number", "boolean", "array", "null"]}


def _params(value: object) -> object:
    """A plain value is a param's default; a mapping is its schema."""
    if not isinstance(value, dict):
        raise Refusal(f"expected a mapping of names and defaults, not {shown(value)}")
    return {name: param if isinstance(param, dict | Param) else {"default": param} for name, param in value.items()}


class Pipeline(Model):
    """One Dag: defaults merged, everything resolved.

    Attributes:
        name: its key in the file, the dag_id; not a word of the file.
        description: shown in Airflow.
        schedule: when it runs; None is never by itself.
        timezone: of the schedule and of dates without an offset.
        start_date: first moment that is scheduled.
        end_date: last one.
        catchup: run what was missed since the start date.
        max_active_runs: runs at once; None is Airflow's default.
        overlap: wait: a run starts when the one before has ended; terminate: it ends it.
        tags: shown in Airflow.
        owner: shown in Airflow.
        params: values that the trigger form asks for.
        deadline: seconds from the start of a run to an alert.
        notify: who is told about runs.
        state: URI of the ledger; None is Airflow's `[batchemr] state`.
        skip_if_succeeded: jobs whose marker stands are not run again.
        aws_conn_id: Airflow connection; None is aws_default.
        region: AWS region; None is the connection's.
        jobs: by name, in the order of the file.
        clusters: EMR clusters that jobs share, by name.
    """

    name: str
    description: str | None = None
    schedule: Annotated[Schedule | None, BeforeValidator(as_schedule), SCHEDULES] = None
    timezone: Word = "UTC"
    start_date: Moment | None = None
    end_date: Moment | None = None
    catchup: bool = False
    max_active_runs: Annotated[int, Field(ge=1)] | None = None
    overlap: Literal["wait", "terminate"] | None = None
    tags: Texts = Field(default_factory=list)
    owner: Word | None = None
    params: Annotated[
        dict[str, Param], BeforeValidator(_params), Form(values=(_DEFAULT,)), Names(r"^(?!rerun$)[A-Za-z_]\w*$")
    ] = Field(default_factory=dict)
    deadline: Seconds | None = None
    notify: Annotated[list[Notify], BeforeValidator(as_notify), Form(single=True)] = Field(default_factory=list)
    state: S3Uri | None = None
    skip_if_succeeded: bool = True
    aws_conn_id: Word | None = None
    region: Word | None = None
    jobs: dict[str, Job]
    clusters: dict[str, Emr] = Field(default_factory=dict)
