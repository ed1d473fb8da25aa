"""The `batch:` block: the options of an AWS Batch job, of the pipeline file and of `BatchArrayOperator` alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.base import (
    TEXT,
    Form,
    Mebibytes,
    Model,
    Names,
    Pattern,
    Raw,
    Seconds,
    Tags,
    Templated,
    TextMap,
    Word,
    as_aws,
    shown,
    text,
    without_nulls,
)
from airflow_batchemr.pipeline_file.models.command import Command

if TYPE_CHECKING:
    from pydantic import ValidationInfo

#: `name` or `name:revision` of a job definition, in AWS's format.
_DEFINITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}(:\d+)?\Z")
#: Limit of AWS Batch for container overrides, in bytes.
MAX_ENVIRONMENT = 8192
#: Names in `retry_on`, for rules of AWS's `evaluateOnExit`.
RETRY_CAUSES = ("spot", "oom", "pull")
#: AWS accepts 5 rules. The last one prevents a retry for all other causes.
MAX_RETRY_CAUSES = 4


#: Formats of AWS Batch (RegisterJobDefinition, SubmitJob).
_IMAGE = Pattern(
    r"[A-Za-z0-9._:/#@+-]{1,255}",
    "an image such as repository/name:tag",
    "it has up to 255 letters, digits and . _ - + : / @ #",
)
_QUEUE = Pattern(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}|arn:\S+",
    "the name or ARN of a job queue",
    "a name has up to 128 letters, digits, - and _, and begins with a letter or digit",
)
_SHARE = Pattern(r"[A-Za-z0-9]{1,255}\*?", "a share identifier of up to 255 letters and digits")
#: Fields of SubmitJob in the JSON Schema; botocore's model covers all of them when the file is read.
_SUBMIT_TEXTS = ("jobQueue", "jobDefinition")
_SUBMIT_MAPPINGS = (
    "containerOverrides",
    "ecsPropertiesOverride",
    "eksPropertiesOverride",
    "nodeOverrides",
    "parameters",
    "retryStrategy",
    "tags",
    "timeout",
)
_OBJECT: dict[str, Any] = {"anyOf": [{"type": "object"}, {"type": "string", "pattern": r"\{\{"}]}
_EKS = {"anyOf": [{"type": "object", "properties": {"podProperties": _OBJECT}}, _OBJECT["anyOf"][1]]}
_SUBMIT_SCHEMA = {
    "type": "object",
    "properties": {
        **dict.fromkeys(_SUBMIT_TEXTS, TEXT),
        **dict.fromkeys(_SUBMIT_MAPPINGS, _OBJECT),
        "eksPropertiesOverride": _EKS,
    },
}


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


def _submit(value: dict[str, Any], info: ValidationInfo) -> Any:
    _not_ours(value)
    return as_aws("batch", "SubmitJob", value, info)


def _not_ours(submit: dict[str, Any]) -> None:
    """Reject what identifies a job, and what passes the index to the children of an array."""
    container = submit.get("containerOverrides")
    for name, holder, instead in (
        ("jobName", submit, "it contains the job's name in the file"),
        ("arrayProperties", submit, "write `array:` in the job"),
        ("command", container, "write `command:`"),
        ("environment", container, "write `env:`"),
    ):
        if isinstance(holder, dict) and name in holder:
            at = [name] if holder is submit else ["containerOverrides", name]
            raise Refusal(f"{name} is set by batchemr, to find and resume the job", instead, at)
    tags = submit.get("tags")
    if isinstance(tags, dict) and (ours := [name for name in tags if str(name).startswith("batchemr:")]):
        raise Refusal(f"the tag {ours[0]} is set by batchemr, to find the job", "remove it", ["tags", ours[0]])


def _as_member(name: str | None = None) -> AfterValidator:
    """Check a value as RegisterJobDefinition's input, or as a member of its `containerProperties`."""
    path = "RegisterJobDefinition" + (f".containerProperties.{name}" if name else "")

    def check(value: Any, info: ValidationInfo) -> Any:
        if value:
            value = as_aws("batch", path, value, info, added=("image",))  # see `ensure_definition`
        return without_nulls(value) if name else value

    return AfterValidator(check)


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
            "remove the quotes" if isinstance(value, str) and re.fullmatch(r"[\d.]+", value) else None,
        )
    return int(value) if value == int(value) else value


def _timeout(value: int) -> int:
    if value < 60:
        raise Refusal(f"AWS Batch takes a timeout of at least 60 seconds, not {value}")
    return value


def _ulimits(value: object) -> object:
    """Convert `{nofile: 1024}` or `{nofile: {soft: 1, hard: 2}}` to AWS's list; -1 is unlimited."""
    if not isinstance(value, dict):
        return value
    made = []
    for name, limit in value.items():
        if isinstance(limit, dict) and limit.keys() != {"soft", "hard"}:
            raise Refusal("expected a number, or {soft: …, hard: …}", None, [name])
        for number in limit.values() if isinstance(limit, dict) else (limit,):
            if not isinstance(number, int) or isinstance(number, bool):
                raise Refusal(f"expected a number, or {{soft: …, hard: …}}, not {shown(number)}", None, [name])
        soft, hard = (limit.get("soft"), limit.get("hard")) if isinstance(limit, dict) else (limit, limit)
        made.append({"name": name, "softLimit": soft, "hardLimit": hard})
    return made


_LIMIT = {"type": "integer", "minimum": -1}
_BOTH = {
    "type": "object",
    "properties": {"soft": _LIMIT, "hard": _LIMIT},
    "required": ["soft", "hard"],
    "additionalProperties": False,
}
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
        softLimit: AWS's soft limit; -1 is unlimited.
        hardLimit: AWS's hard limit; -1 is unlimited.
    """

    name: Word
    softLimit: Annotated[int, Field(ge=-1)]  # noqa: N815 - AWS's word
    hardLimit: Annotated[int, Field(ge=-1)]  # noqa: N815 - AWS's word

    @model_validator(mode="after")
    def _in_order(self) -> Ulimit:
        soft, hard = (float("inf") if limit == -1 else limit for limit in (self.softLimit, self.hardLimit))
        if soft > hard:
            message = f"the soft limit of {self.name} ({self.softLimit}) is greater than its hard limit"
            raise Refusal(f"{message} ({self.hardLimit})", "-1 is unlimited")
        return self


#: Environment of a container: no `AWS_BATCH*`, at most 8,192 bytes in all (limits of AWS Batch).
Environment = Annotated[TextMap, AfterValidator(_environment), Names(r"^(?![aA][wW][sS]_[bB][aA][tT][cC][hH])[^=]+$")]


#: Marks an option of the job definition. It has no effect on an existing definition, so it requires `image`.
NEEDS_IMAGE = "needs image"


class Batch(Model):
    """One job on AWS Batch; an array job if the job has an `array`.

    Each field is an option of `batch:` in a pipeline file and an argument of `BatchArrayOperator`; its description is
    the operator's documentation and the JSON Schema's.
    """

    definition: Annotated[Word, _IMAGE] | None = Field(
        None, description="Job definition: name (its latest active revision), name:revision or ARN; or an image."
    )
    image: Annotated[Word, _IMAGE] | None = Field(
        None, description="Container image, for which a job definition is registered once."
    )
    queue: Annotated[Word, _QUEUE] | None = Field(None, description="Job queue, name or ARN.")
    command: Command | None = Field(
        None,
        description="Program and arguments: a list, or text that is split as a shell would, without a shell and before "
        "templates are rendered. Default: the command of the job definition; required with an image.",
    )
    container: Word | None = Field(
        None,
        description="Name of the container that runs the command, in job definitions with several containers; the "
        "first essential one by default.",
    )
    vcpus: (
        Templated[
            Annotated[int | float, BeforeValidator(_vcpus), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
        ]
        | None
    ) = Field(None, description="Virtual CPUs; whole numbers on EC2, Fargate also takes 0.25 and 0.5.")
    memory: (
        Annotated[list[Templated[Mebibytes]], BeforeValidator(_memory), Field(min_length=1), Form(single=True)] | None
    ) = Field(
        None,
        description="Memory, such as 8GiB (a number is MiB); of a list, each size is tried in order for indices that "
        "ran out of memory.",
    )
    gpus: Templated[Annotated[int, Field(ge=1)]] | None = Field(None, description="Number of GPUs.")
    attempts: Templated[Annotated[int, Field(ge=1, le=10)]] | None = Field(
        None, description="Attempts of each index by AWS Batch, 1 to 10, for the causes in `retry_on`; 3 by default."
    )
    retry_on: (
        Annotated[list[_Cause], BeforeValidator(_retry_on), Field(max_length=MAX_RETRY_CAUSES), Form(single=True)]
        | None
    ) = Field(
        None,
        description="Causes for another attempt by AWS Batch: spot (EC2 host or Fargate task reclaimed), oom (out of "
        "memory), pull (image not pulled), exit:N; at most 4, spot by default.",
    )
    timeout: Templated[Annotated[Seconds, AfterValidator(_timeout)]] | None = Field(
        None, description="Maximum duration of an attempt of an index, such as 2h (a number is seconds); at least 60 s."
    )
    runnable_timeout: Templated[Seconds] | None = Field(
        None,
        description="Maximum duration for which the job may stay RUNNABLE; then it is terminated and the task fails "
        "with the reason.",
    )
    env: Environment = Field(
        default_factory=dict, description="Environment variables of the program; at most 8,192 bytes in all."
    )
    tags: Tags = Field(
        default_factory=dict,
        description="Tags of the job, besides those that identify the run; at most 50 in all, with those of the job "
        "definition.",
    )
    parameters: TextMap = Field(
        default_factory=dict, description="Values of the job definition's parameters (`Ref::name`)."
    )
    share_identifier: Annotated[Word, _SHARE] | None = Field(
        None, description="Share identifier, for a fair-share queue; up to 255 letters and digits."
    )
    scheduling_priority: Annotated[int, Field(ge=0, le=9999)] | None = Field(
        None, description="Priority within the share, 0 to 9999."
    )
    job_role: Annotated[Word | None, NEEDS_IMAGE] = Field(
        None, description="ARN of the IAM role that the program runs with; needs `image`."
    )
    execution_role: Annotated[Word | None, NEEDS_IMAGE] = Field(
        None, description="ARN of the IAM role that pulls the image and writes the logs; needs `image`."
    )
    platform: Annotated[Literal["ec2", "fargate"] | None, NEEDS_IMAGE] = Field(
        None, description="ec2 (the default) or fargate; needs `image`."
    )
    secrets: Annotated[TextMap, NEEDS_IMAGE] = Field(
        default_factory=dict,
        description="Environment variables and the ARNs of their Secrets Manager secrets or SSM parameters; needs "
        "`image`.",
    )
    volumes: Annotated[list[dict[str, Any]], _as_member("volumes"), NEEDS_IMAGE] = Field(
        default_factory=list, description="Volumes, as RegisterJobDefinition takes them; needs `image`."
    )
    mount_points: Annotated[list[dict[str, Any]], _as_member("mountPoints"), NEEDS_IMAGE] = Field(
        default_factory=list, description="Mount points, as RegisterJobDefinition takes them; needs `image`."
    )
    ulimits: Annotated[list[Ulimit], BeforeValidator(_ulimits), Form((_ULIMITS,)), NEEDS_IMAGE] = Field(
        default_factory=list,
        description="Limits, such as {nofile: 1024}, {nofile: {soft: 1024, hard: 4096}} or {memlock: -1} (unlimited), "
        "or AWS's list; needs `image`.",
    )
    log_configuration: Annotated[Raw, _as_member("logConfiguration"), NEEDS_IMAGE] = Field(
        default_factory=dict, description="Log configuration, as RegisterJobDefinition takes it; needs `image`."
    )
    preamble: bool = Field(
        default=True,
        description="False for images without a shell, or whose ENTRYPOINT takes the command; a resume then runs the "
        "whole array.",
    )
    wait_for_children: bool = Field(
        default=False,
        description="Whether the job also waits for the jobs that it has started with names that begin with "
        "`BATCHEMR_CHILD_PREFIX`.",
    )
    submit: Annotated[
        dict[str, Any],
        AfterValidator(_submit),
        WithJsonSchema(_SUBMIT_SCHEMA),
    ] = Field(
        default_factory=dict,
        description="Further fields of SubmitJob, merged deeply; containers, nodes, variables and resources by name.",
    )
    job_definition: Annotated[Raw, _as_member(), NEEDS_IMAGE] = Field(
        default_factory=dict,
        description="Further fields of RegisterJobDefinition, merged deeply; null removes a field; needs `image`.",
    )

    @property
    def registered_definition(self) -> str | None:
        """The existing job definition that the job uses; None if one is created from an image."""
        definition: str | None = self.submit.get("jobDefinition")
        if definition is None and self.image is None:
            definition = self.definition
        if definition is None:
            return None
        # A variable without a value yet, from an import, is no image
        named = definition.startswith(("arn:", "${")) or _DEFINITION.match(definition)
        return definition if named else None

    @property
    def container_image(self) -> str | None:
        """The image from which a job definition is created; None for an existing one."""
        return self.image or (None if self.registered_definition else self.definition)

    @property
    def job_queue(self) -> str | None:
        """The job queue, which can also be set as `submit: {jobQueue: …}`."""
        return self.queue or self.submit.get("jobQueue")


#: The options marked `NEEDS_IMAGE`.
DEFINITION_OPTIONS = tuple(name for name, field in Batch.model_fields.items() if NEEDS_IMAGE in field.metadata)
