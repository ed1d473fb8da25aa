"""A job of a pipeline."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.array import MAX_INDICES, Array, as_array
from airflow_batchemr.pipeline_file.models.base import (
    TEMPLATE,
    Form,
    Model,
    Pattern,
    Raw,
    S3Uri,
    Seconds,
    Texts,
    Word,
    shown,
    text,
)
from airflow_batchemr.pipeline_file.models.batch import Batch, Environment
from airflow_batchemr.pipeline_file.models.emr import Emr
from airflow_batchemr.pipeline_file.models.notify import Notify, as_notify
from airflow_batchemr.pipeline_file.models.spark import OnFailure, Spark
from airflow_batchemr.pipeline_file.steps import STEPS, Step, as_steps
from airflow_batchemr.pipeline_file.steps.copy import Copy, as_copies

Rule = Literal["succeeded", "finished", "failed", "index"]
RULES = ("succeeded", "finished", "failed", "index")
_FINISHED = ("done", "all_done", "always", "completed", "ended")


def as_after(value: object) -> dict[str, str]:
    """Convert a name, a list of names, or a mapping of names to rules, to a mapping.

    Raises:
        Refusal: if it is none of these.
    """
    if isinstance(value, str):
        return {value: "succeeded"}
    if isinstance(value, list):
        for position, name in enumerate(value):
            if not isinstance(name, str):
                raise Refusal(f"expected the name of a job, not {shown(name)}", None, [position])
        return dict.fromkeys(value, "succeeded")
    if isinstance(value, dict):
        for name, rule in value.items():
            if rule not in RULES:
                hint = "did you mean `finished`?" if rule in _FINISHED else guess(rule, RULES)
                raise Refusal(f"expected {', '.join(RULES)}, not {shown(rule)}", hint, [name])
        return {text(name): rule for name, rule in value.items()}
    raise Refusal(f"expected the name of a job, a list of names, or {{name: rule}}, not {shown(value)}")


#: Formats of StartJobRun (botocore's models of EMR Serverless and EMR on EKS).
_ROLE = Pattern(
    r"arn:aws[a-zA-Z0-9-]*:iam::\d{12}:role/[!-~]+", "the ARN of a role such as arn:aws:iam::123456789012:role/name"
)


_EKS_RELEASE = Pattern(
    r"([._A-Za-z0-9-]{1,40}/)?emr-\d+\.\d+\.\d+(-[._A-Za-z0-9-]{1,40})?", "a release label such as emr-7.5.0-latest"
)


class Serverless(Model):
    """An EMR Serverless application."""

    application: Annotated[Word, Pattern(r"[0-9a-z]{1,64}", "the id of an application such as 00f1abcd2example")] = (
        Field(description="Id of the EMR Serverless application")
    )
    role: Annotated[Word, _ROLE] = Field(description="ARN of the job run's IAM role (`executionRoleArn`)")
    log_uri: S3Uri | None = Field(None, description="S3 URI for the job run's logs")


class EmrOnEks(Model):
    """A virtual cluster of EMR on EKS."""

    virtual_cluster: Annotated[
        Word, Pattern(r"[0-9a-z]{1,64}", "the id of a virtual cluster such as abcd1234example")
    ] = Field(description="Id of the virtual cluster")
    role: Annotated[Word, _ROLE] = Field(description="ARN of the job run's IAM role (`executionRoleArn`)")
    release: Annotated[Word, _EKS_RELEASE] = Field(description="Release label, such as emr-7.5.0-latest")
    log_uri: S3Uri | None = Field(None, description="S3 URI for the job run's logs")


class On(Model):
    """Where `spark` runs, if not on EMR on EC2; exactly one of `emr_serverless` and `emr_eks`."""

    emr_serverless: Serverless | None = Field(None, description="An EMR Serverless application")
    emr_eks: EmrOnEks | None = Field(None, description="A virtual cluster of EMR on EKS")


def as_on(value: object) -> object:
    """Convert `emr` to None, and check the other forms."""
    if value is None or value == "emr":
        return None
    if value in ("emr_serverless", "emr_eks"):
        keys = "application: …, role: …" if value == "emr_serverless" else "virtual_cluster: …, role: …, release: …"
        raise Refusal(f"`{value}` requires parameters: `on: {{{value}: {{{keys}}}}}`")
    if isinstance(value, dict | On):
        given = sum(part is not None for part in value.values()) if isinstance(value, dict) else 1
        if given != 1:
            raise Refusal("expected exactly one of emr_serverless, emr_eks")
        return value
    raise Refusal(
        f"expected emr, or a mapping with emr_serverless or emr_eks, not {shown(value)}", guess(value, ["emr"])
    )


def _backoff(value: object) -> float:
    if value is True:
        return 2.0
    if value is False:
        return 1.0
    if isinstance(value, int | float) and 1 <= value <= 10:
        return float(value)
    raise Refusal(f"expected a factor from 1 to 10, or true (2), not {shown(value)}")


_SIZE = {"type": "integer", "minimum": 1, "maximum": MAX_INDICES}


class Job(Model):
    """A Batch job (single or array), EMR steps, a Batch job with its own EMR cluster, or any Airflow operator."""

    name: str = Field(description="The job's key under `jobs`; not a key of the file")
    after: Annotated[
        dict[str, Rule],
        BeforeValidator(as_after),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}},
                    {"type": "object", "additionalProperties": {"enum": list(RULES)}},
                ]
            }
        ),
    ] = Field(
        default_factory=dict,
        description=(
            "Upstream jobs: a name, a list of names, or a mapping of names to rules (`succeeded`, "
            "`finished`, `failed` or `index`)"
        ),
    )
    array: Annotated[Array, BeforeValidator(as_array), Form((_SIZE, TEMPLATE))] | None = Field(
        None, description="Run the job as an array job: its size, or a mapping. Requires `batch`"
    )
    batch: Batch | None = Field(None, description="Run a command on AWS Batch")
    emr: Emr | None = Field(None, description="The EMR cluster of the job")
    spark: Spark | None = Field(None, description="Run a Spark application")
    steps: Annotated[list[Step], Field(min_length=1), BeforeValidator(as_steps), STEPS] | None = Field(
        None, description="EMR steps: a list of commands and mappings, or a single one"
    )
    load: Annotated[list[Copy], BeforeValidator(as_copies), Form(single=True)] = Field(
        default_factory=list, description="s3-dist-cp copies before the steps"
    )
    save: Annotated[list[Copy], BeforeValidator(as_copies), Form(single=True)] = Field(
        default_factory=list, description="s3-dist-cp copies after the steps"
    )
    on: Annotated[On | None, BeforeValidator(as_on), Form(({"const": "emr"},))] = Field(
        None,
        description=(
            "Where `spark` runs: `emr` (EMR on EC2), or a mapping for EMR Serverless or EMR on EKS. Default: `emr`"
        ),
    )
    on_failure: OnFailure | None = Field(
        None,
        description=("What EMR does if a step fails (EMR `ActionOnFailure`). Default: depends on the cluster"),
    )
    execution_role: Word | None = Field(
        None,
        description=(
            "ARN of the IAM role that the steps run with, their runtime role (EMR `ExecutionRoleArn`, "
            "`StepExecutionRoleArn`). Default: the cluster's instance role"
        ),
    )
    resume_steps: bool | None = Field(
        None,
        description=(
            "Whether a retry continues with the step that failed instead of the first one. Default: true, "
            "but false with `load` or `save`"
        ),
    )
    env: Environment = Field(
        default_factory=dict, description="Environment variables; up to 8 KiB, names must not start with `AWS_BATCH`"
    )
    retries: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None,
        description="Number of retries by Airflow, 0 to 100. Default: 3, only after failures of the platform",
    )
    retry_delay: Seconds | None = Field(
        None,
        description=(
            "Delay before the first retry. Default: 30 seconds; with `retries`, Airflow's `[core] "
            "default_task_retry_delay` (5 minutes)"
        ),
    )
    retry_backoff: (
        Annotated[float, Field(ge=1, le=10), BeforeValidator(_backoff), Form(({"type": "boolean"},))] | None
    ) = Field(
        None,
        description=(
            "Factor by which the delay grows with each retry, 1 to 10; `true` is 2 (Airflow "
            "`retry_exponential_backoff`). Default: 1"
        ),
    )
    max_retry_delay: Seconds | None = Field(
        None, description=("Maximum delay between retries. Default: Airflow's `[core] max_task_retry_delay` (24 hours)")
    )
    pool: Word | None = Field(None, description="Airflow pool. Default: `default_pool`")
    priority: int | None = Field(None, description="Airflow `priority_weight`. Default: 1")
    worker_queue: Word | None = Field(
        None, description="Airflow queue of the task. Default: Airflow's `[operators] default_queue`"
    )
    deadline: Seconds | None = Field(
        None,
        description=(
            "Maximum duration of the job, from its first submission; clearing the task restarts it. Then the "
            "job is stopped and fails"
        ),
    )
    skip_if_succeeded: bool = Field(
        True,
        description=(
            "Do not run the job again if it has a success marker for the run key. Default: that of the pipeline"
        ),
    )
    explicit_success: bool = Field(
        False,
        description=(
            "Exit code 0 is not sufficient: the program must also write an object to `BATCHEMR_SUCCESS_URI`. On EMR, "
            "this applies to each `spark` and each `command` step"
        ),
    )
    inputs: Texts = Field(
        default_factory=list, description="URIs of the Airflow assets that the job reads (task inlets)"
    )
    outputs: Texts = Field(
        default_factory=list, description="URIs of the Airflow assets that the job updates (task outlets)"
    )
    notify: Annotated[list[Notify], BeforeValidator(as_notify), Form(single=True)] = Field(
        default_factory=list, description="Notifications about this job"
    )
    operator: Word | None = Field(None, description="Dotted path of an Airflow operator to run instead")
    with_: Raw = Field(default_factory=dict, alias="with", description="Arguments of the operator")
    description: str | None = Field(None, description="Description of the task, shown in the Airflow UI")
    aws_conn_id: Word | None = Field(None, description="Airflow connection to AWS. Default: that of the pipeline")
    region: Word | None = Field(None, description="AWS region. Default: that of the pipeline")

    def all_steps(self) -> list[Step]:
        """Return `load`, `steps`, `spark` and `save`, in this order, as one list of steps."""
        spark = [{"spark": self.spark}] if self.spark is not None else []
        before, after = ([{"copy": copy} for copy in copies] for copies in (self.load, self.save))
        return [
            *map(Step.model_validate, before),
            *(self.steps or ()),
            *map(Step.model_validate, [*spark, *after]),
        ]
