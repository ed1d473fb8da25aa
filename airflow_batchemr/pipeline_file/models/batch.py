"""The `batch:` block: the words of AWS Batch's SubmitJob and RegisterJobDefinition."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.base import (
    Command,
    Form,
    Mebibytes,
    Model,
    Names,
    Raw,
    Seconds,
    TextMap,
    Word,
    shown,
    text,
)

#: Limit of AWS Batch for container overrides, in bytes.
MAX_ENVIRONMENT = 8192
#: Names in `retry_on` for rules of AWS's `evaluateOnExit`.
RETRY_CAUSES = ("spot", "oom", "pull")
#: AWS takes 5 rules; the last one says that all else is not tried again.
MAX_RETRY_CAUSES = 4


def _memory(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _retry_on(value: object) -> list[str]:
    causes = [text(item) for item in (value if isinstance(value, list) else [value])]
    for position, cause in enumerate(causes):
        at = [position] if isinstance(value, list) else []
        code = re.fullmatch(r"exit:(\d{1,3}\*?|\*)", cause)
        if cause not in RETRY_CAUSES and not code:
            raise Refusal(f"expected {', '.join(RETRY_CAUSES)} or exit:N, not {cause}", guess(cause, RETRY_CAUSES), at)
        if code and code[1].isdigit() and not 1 <= int(code[1]) <= 255:
            raise Refusal(f"an exit code that is tried again is 1 to 255, not {code[1]}", None, at)
        if cause in causes[:position]:
            raise Refusal(f"{cause} is named twice", None, at)
    if len(causes) > MAX_RETRY_CAUSES:
        raise Refusal(
            f"at most {MAX_RETRY_CAUSES} causes, not {len(causes)}: AWS takes 5 rules, the last one for all else",
            "`exit:1*` covers all codes that begin with 1",
        )
    return causes


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if name.upper().startswith("AWS_BATCH"):
            raise Refusal(
                f"AWS Batch keeps names that begin with AWS_BATCH for itself: {name}", "choose another name", [name]
            )
        if not name or "=" in name or "\0" in name:
            raise Refusal(f"not a name of an environment variable: {name!r}", None, [name])
    size = sum(len(name.encode()) + len(item.encode()) + 1 for name, item in value.items())
    if size > MAX_ENVIRONMENT:
        raise Refusal(
            f"the environment has {size:,} bytes, and AWS Batch takes at most {MAX_ENVIRONMENT:,}",
            "put large values into an object on S3 and pass its URI",
        )
    return value


def _vcpus(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1024:
        raise Refusal(
            f"expected a number of vCPUs above 0, not {shown(value)}",
            "remove the quotes" if isinstance(value, str) else None,
        )
    return int(value) if value == int(value) else value


def _timeout(value: int) -> int:
    if value < 60:
        raise Refusal(f"AWS Batch takes a timeout of at least 60 seconds, not {value}")
    return value


def _ulimits(value: object) -> object:
    """`{nofile: 1024}` or `{nofile: {soft: 1, hard: 2}}` as AWS's list."""
    if not isinstance(value, dict):
        return value
    made = []
    for name, limit in value.items():
        for number in limit.values() if isinstance(limit, dict) else (limit,):
            if not isinstance(number, int) or isinstance(number, bool):
                raise Refusal(f"expected a number, or {{soft: …, hard: …}}, not {shown(number)}", None, [name])
        soft, hard = (limit.get("soft"), limit.get("hard")) if isinstance(limit, dict) else (limit, limit)
        made.append({"name": name, "softLimit": soft, "hardLimit": hard})
    return made


_LIMIT = {"type": "integer", "minimum": 0}
_BOTH = {"type": "object", "properties": {"soft": _LIMIT, "hard": _LIMIT}, "additionalProperties": False}
_ULIMITS = {"type": "object", "additionalProperties": {"anyOf": [_LIMIT, _BOTH]}}
_Cause = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "pattern": r"^(spot|oom|pull|exit:(\d{0,3}\*|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5]))$"}
    ),
]


class Ulimit(Model):
    """A ulimit of the container, in AWS's own words.

    Attributes:
        name: such as `nofile`.
        softLimit: AWS's soft limit.
        hardLimit: AWS's hard limit.
    """

    name: Word
    softLimit: Annotated[int, Field(ge=0)]  # noqa: N815 - AWS's word
    hardLimit: Annotated[int, Field(ge=0)]  # noqa: N815 - AWS's word


#: Environment of a container: no `AWS_BATCH*`, at most 8,192 bytes in all (limits of AWS Batch).
Environment = Annotated[TextMap, AfterValidator(_environment), Names(r"^(?![aA][wW][sS]_[bB][aA][tT][cC][hH])[^=]+$")]


class Batch(Model):
    """One job on AWS Batch; an array job if the job has an `array`.

    Attributes:
        definition: a job definition's name, name:revision or ARN, or an image (as in the article).
        image: a container image; a job definition is registered for it.
        queue: a job queue's name or ARN.
        command: text (one line, split as a shell would) or a list of words.
        vcpus: virtual CPUs (Fargate takes fractions).
        memory: MiB; several are tried in order, for indices that died of memory.
        gpus: number of GPUs.
        attempts: 1 to 10, by AWS itself.
        retry_on: what AWS tries again: spot, oom, pull, exit:N.
        timeout: seconds an attempt may run, at least 60.
        runnable_timeout: seconds a job may be stuck in RUNNABLE.
        env: environment of the command.
        tags: tags of the job, beside the run's identity.
        parameters: values of the definition's `Ref::name`.
        share_identifier: of a fair-share queue.
        scheduling_priority: in its share, 0 to 9999.
        job_role: ARN of the IAM role of the command.
        execution_role: ARN of the IAM role that pulls the image and writes logs.
        platform: `ec2` or `fargate`.
        secrets: environment names and the ARNs of their secrets.
        volumes: as in the job definition.
        mount_points: as in the job definition.
        ulimits: `{nofile: 1024}`, or AWS's list.
        log_configuration: as in the job definition.
        preamble: false for images without a shell; a resume then runs the whole array.
        wait_for_children: wait for the jobs that this one has started with `BATCHEMR_CHILD_PREFIX`.
        submit: merged into the SubmitJob request as it is.
        job_definition: merged into the RegisterJobDefinition request as it is.
    """

    definition: Word | None = None
    image: Word | None = None
    queue: Word | None = None
    command: Command | None = None
    vcpus: (
        Annotated[int | float, BeforeValidator(_vcpus), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
        | None
    ) = None
    memory: Annotated[list[Mebibytes], BeforeValidator(_memory), Field(min_length=1), Form(single=True)] | None = None
    gpus: Annotated[int, Field(ge=1)] | None = None
    attempts: Annotated[int, Field(ge=1, le=10)] | None = None
    retry_on: (
        Annotated[list[_Cause], BeforeValidator(_retry_on), Field(max_length=MAX_RETRY_CAUSES), Form(single=True)]
        | None
    ) = None
    timeout: Annotated[Seconds, AfterValidator(_timeout)] | None = None
    runnable_timeout: Seconds | None = None
    env: Environment = Field(default_factory=dict)
    tags: TextMap = Field(default_factory=dict)
    parameters: TextMap = Field(default_factory=dict)
    share_identifier: Word | None = None
    scheduling_priority: Annotated[int, Field(ge=0, le=9999)] | None = None
    job_role: Word | None = None
    execution_role: Word | None = None
    platform: Literal["ec2", "fargate"] | None = None
    secrets: TextMap = Field(default_factory=dict)
    volumes: list[dict[str, Any]] = Field(default_factory=list)
    mount_points: list[dict[str, Any]] = Field(default_factory=list)
    ulimits: Annotated[list[Ulimit], BeforeValidator(_ulimits), Form((_ULIMITS,))] = Field(default_factory=list)
    log_configuration: Raw = Field(default_factory=dict)
    preamble: bool = True
    wait_for_children: bool = False
    submit: Raw = Field(default_factory=dict)
    job_definition: Raw = Field(default_factory=dict)
