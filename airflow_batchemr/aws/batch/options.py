"""What a job says about its Batch side, in the words of the pipeline file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: `name` or `name:revision` of a job definition, as AWS allows it.
_DEFINITION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}(:\d+)?\Z")
#: Words that say what a job definition of ours holds; they cannot change one that somebody else has registered.
DEFINITION_WORDS = (
    "job_role",
    "execution_role",
    "platform",
    "secrets",
    "volumes",
    "mount_points",
    "ulimits",
    "log_configuration",
    "job_definition",
)


@dataclass(frozen=True)
class BatchWords:
    """The `batch:` block, resolved: durations in seconds, memory in MiB."""

    queue: str
    command: str | Sequence[str] | None = None
    definition: str | None = None
    """Job definition: name (latest active revision), name:revision or ARN. Anything else is taken for an image."""
    image: str | None = None
    vcpus: float | None = None
    memory: int | Sequence[int] | None = None
    """MiB; a list is climbed by indices that died of memory."""
    gpus: int | None = None
    attempts: int | None = None
    """1..10 tries of AWS for each index, of which spot reclaims make use, and what `retry_on` names."""
    retry_on: Sequence[str] | None = None
    timeout: int | None = None
    """Seconds an attempt of an index may run, at least 60."""
    env: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    share_identifier: str | None = None
    scheduling_priority: int | None = None
    job_role: str | None = None
    execution_role: str | None = None
    platform: str | None = None
    """`ec2` (the default) or `fargate`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Environment name -> ARN of a Secrets Manager secret or SSM parameter."""
    volumes: Sequence[Mapping[str, Any]] = ()
    mount_points: Sequence[Mapping[str, Any]] = ()
    ulimits: Sequence[Mapping[str, Any]] = ()
    log_configuration: Mapping[str, Any] | None = None
    preamble: bool = True
    submit: Mapping[str, Any] = field(default_factory=dict)
    """Anything else of SubmitJob, merged deeply."""
    job_definition: Mapping[str, Any] = field(default_factory=dict)
    """Anything else of RegisterJobDefinition, merged deeply."""

    @property
    def registered(self) -> str | None:
        """The job definition that is somebody else's; None where the job gives an image."""
        if self.definition is None or self.image is not None:
            return None
        named = self.definition.startswith("arn:") or _DEFINITION.match(self.definition)
        return self.definition if named else None

    @property
    def container_image(self) -> str | None:
        """The image out of which a job definition is made; None where there is a definition already."""
        return self.image or (None if self.registered else self.definition)

    @property
    def memory_steps(self) -> list[int]:
        """The sizes to climb, in MiB; empty where nothing is said."""
        if self.memory is None:
            return []
        return [self.memory] if isinstance(self.memory, int) else list(self.memory)

    def check_definition(self) -> None:
        """Check that the words fit together.

        Raises:
            InvalidRequest: names the word.
        """
        if not self.queue:
            raise InvalidRequest("queue: a Batch job needs one: `queue: name-or-ARN` in `batch:` or in `defaults:`")
        if self.image and self.definition:
            raise InvalidRequest("image and definition: give one; an image gets a job definition of its own")
        if self.registered is None and self.container_image is None and not self.job_definition:
            raise InvalidRequest("image: a Batch job needs an `image:` or a job `definition:`")
        if self.registered is not None:
            given = [word for word in DEFINITION_WORDS if getattr(self, word)]
            if given:
                raise InvalidRequest(
                    f"{given[0]}: the job definition {self.registered!r} is used as it is; {given[0]} needs `image:`, "
                    "out of which a job definition is made, or belongs into that definition"
                )


def batch_options(values: Mapping[str, Any]) -> BatchWords:
    """Validate the options of a Batch job, each one and together, as `batch:` in a pipeline file.

    Args:
        values: options by name.

    Raises:
        InvalidRequest: names the option.
    """
    known = {one.name for one in fields(BatchWords)}
    options = BatchWords(**{name: value for name, value in values.items() if name in known})
    options.check_definition()
    return options
