"""A job: one unit of work of a pipeline."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.array import MAX_INDICES, Array, as_array
from airflow_batchemr.pipeline_file.models.base import Form, Model, Raw, S3Uri, Seconds, Texts, Word, shown, text
from airflow_batchemr.pipeline_file.models.batch import Batch, Environment
from airflow_batchemr.pipeline_file.models.emr import Emr
from airflow_batchemr.pipeline_file.models.notify import Notify, as_notify
from airflow_batchemr.pipeline_file.models.spark import STEPS, Copy, OnFailure, Spark, Step, as_copies, as_steps

Rule = Literal["succeeded", "finished", "failed", "index"]
RULES = ("succeeded", "finished", "failed", "index")
_FINISHED = ("done", "all_done", "always", "completed", "ended")


def as_after(value: object) -> dict[str, str]:
    """A name, several, or names and rules, as names and rules."""
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
    raise Refusal(f"expected a job's name, a list of names, or {{name: rule}}, not {shown(value)}")


class Serverless(Model):
    """An EMR Serverless application.

    Attributes:
        application: its id.
        role: ARN of the IAM role of the run.
        log_uri: where EMR puts the run's logs.
    """

    application: Word
    role: Word
    log_uri: S3Uri | None = None


class EmrOnEks(Model):
    """A virtual cluster of EMR on EKS.

    Attributes:
        virtual_cluster: its id.
        role: ARN of the IAM role of the run.
        release: release label, such as emr-7.5.0-latest.
        log_uri: where EMR puts the run's logs.
    """

    virtual_cluster: Word
    role: Word
    release: Word
    log_uri: S3Uri | None = None


class On(Model):
    """Where `spark:` runs, other than on a cluster of EC2 machines; exactly one.

    Attributes:
        emr_serverless: an application.
        emr_eks: a virtual cluster.
    """

    emr_serverless: Serverless | None = None
    emr_eks: EmrOnEks | None = None


def as_on(value: object) -> object:
    """`emr` is None; the others need to say where."""
    if value is None or value == "emr":
        return None
    if value in ("emr_serverless", "emr_eks"):
        words = "application, role" if value == "emr_serverless" else "virtual_cluster, role, release"
        raise Refusal(f"`{value}` has to say where: `on: {{{value}: {{{words}}}}}`")
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
    raise Refusal(f"expected a factor of 1 to 10 for each further try, or true (2), not {shown(value)}")


_SIZE = {"type": "integer", "minimum": 1, "maximum": MAX_INDICES}


class Job(Model):
    """A Batch job (single or array), steps on EMR, a Batch job beside its own cluster, or any operator.

    Attributes:
        name: its key under `jobs`; not a word of the file.
        after: jobs that come before, and what must have become of them.
        array: the indices of an array job.
        batch: the AWS Batch job.
        emr: the cluster.
        spark: a spark-submit on the cluster.
        steps: steps on the cluster.
        load: copies before them.
        save: copies after them.
        on: where `spark` runs; None is a cluster of EMR on EC2.
        on_failure: what EMR does when a step fails.
        resume_steps: a retry starts at the step that failed; None is true unless there is load or save.
        env: environment of the command.
        retries: tries after the first, by Airflow.
        retry_delay: seconds before the second try.
        retry_backoff: factor of the delay from try to try.
        max_retry_delay: seconds, upper bound of the delay.
        pool: Airflow pool.
        priority: Airflow priority weight.
        worker_queue: Airflow queue.
        deadline: seconds for the whole job from its first submission.
        skip_if_succeeded: a job whose marker stands is not run again.
        explicit_success: exit 0 is not enough: the job must write the object that it is told.
        inputs: URIs of assets it reads.
        outputs: URIs of assets it writes.
        notify: who is told about this job.
        operator: dotted path of any Airflow operator; `with_` are its arguments.
        description: shown in Airflow.
        aws_conn_id: Airflow connection; None is the pipeline's.
        region: AWS region; None is the connection's.
    """

    name: str
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
    ] = Field(default_factory=dict)
    array: Annotated[Array, BeforeValidator(as_array), Form((_SIZE,))] | None = None
    batch: Batch | None = None
    emr: Emr | None = None
    spark: Spark | None = None
    steps: Annotated[list[Step], Field(min_length=1), BeforeValidator(as_steps), STEPS] | None = None
    load: Annotated[list[Copy], BeforeValidator(as_copies), Form(single=True)] = Field(default_factory=list)
    save: Annotated[list[Copy], BeforeValidator(as_copies), Form(single=True)] = Field(default_factory=list)
    on: Annotated[On | None, BeforeValidator(as_on), Form(({"const": "emr"},))] = None
    on_failure: OnFailure | None = None
    resume_steps: bool | None = None
    env: Environment = Field(default_factory=dict)
    retries: Annotated[int, Field(ge=0, le=100)] | None = None
    retry_delay: Seconds | None = None
    retry_backoff: (
        Annotated[float, Field(ge=1, le=10), BeforeValidator(_backoff), Form(({"type": "boolean"},))] | None
    ) = None
    max_retry_delay: Seconds | None = None
    pool: Word | None = None
    priority: int | None = None
    worker_queue: Word | None = None
    deadline: Seconds | None = None
    skip_if_succeeded: bool = True
    explicit_success: bool = False
    inputs: Texts = Field(default_factory=list)
    outputs: Texts = Field(default_factory=list)
    notify: Annotated[list[Notify], BeforeValidator(as_notify), Form(single=True)] = Field(default_factory=list)
    operator: Word | None = None
    with_: Raw = Field(default_factory=dict, alias="with")
    description: str | None = None
    aws_conn_id: Word | None = None
    region: Word | None = None
