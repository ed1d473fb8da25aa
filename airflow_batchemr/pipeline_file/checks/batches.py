"""The `batch:` block: what AWS Batch would refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.models.batch import MAX_ENVIRONMENT
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Batch, Job


def _range(start: int, stop: int, step: int = 1) -> tuple[int, ...]:
    return tuple(gib * 1024 for gib in range(start, stop + 1, step))


#: vCPUs of Fargate and the MiB each may have (AWS Batch, ResourceRequirement).
FARGATE = {
    0.25: (512, 1024, 2048),
    0.5: _range(1, 4),
    1.0: _range(2, 8),
    2.0: _range(4, 16),
    4.0: _range(8, 30),
    8.0: _range(16, 60, 4),
    16.0: _range(32, 120, 8),
}
#: Size of a job whose file gives none: RegisterJobDefinition demands one.
DEFAULT_VCPUS, DEFAULT_MEMORY = 1, 2048
#: Options that only a job definition of our own can carry.
OF_OUR_DEFINITION = (
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


def batch(batch: Batch, job: Job | None = None) -> Iterator[Problem]:
    """All that is wrong with a batch block."""
    at = ("batch",)
    if batch.definition is not None and batch.image is not None:
        yield Problem((*at, "image"), "`image` and `definition` say two things: write one of them", key=True)
    if (
        batch.definition is None
        and batch.image is None
        and not (batch.job_definition or batch.submit.get("jobDefinition"))
    ):
        either = ((*at, "image"), (*at, "definition"))
        yield Problem(either[0], "nothing to run: write `image:` or `definition:`", key=True, nothing_of=either)
    if batch.registered_definition is not None:
        for option in OF_OUR_DEFINITION:
            if getattr(batch, option):
                message = f"the job definition {batch.registered_definition} is used as it is and takes no `{option}`"
                yield Problem((*at, option), message, "write `image:`, or add it to that job definition", key=True)
    if batch.queue is None and not batch.submit.get("jobQueue"):
        hint = "write `queue:`, here or in `defaults: {batch: …}`"
        yield Problem((*at, "queue"), "the job queue is missing", hint, key=True, nothing_of=((*at, "queue"),))
    if batch.command is None and not _brings_command(batch):
        hint = "write `command:`; with `preamble: false` the image's or job definition's own is run"
        yield Problem((*at, "command"), "the command is missing", hint, key=True, nothing_of=((*at, "command"),))
    if batch.platform == "fargate":
        yield from _fargate(batch)
    elif batch.vcpus is not None and batch.vcpus != int(batch.vcpus) and batch.platform == "ec2":
        yield Problem((*at, "vcpus"), f"EC2 takes whole vCPUs, not {batch.vcpus:g}", "only Fargate takes fractions")
    if batch.memory and min(batch.memory) < 4:
        yield Problem((*at, "memory"), f"AWS Batch takes at least 4 MiB of memory, not {min(batch.memory)}")
    if batch.memory and sorted(set(batch.memory)) != batch.memory:
        yield Problem((*at, "memory"), "the sizes to try must grow from one to the next")
    if batch.retry_on is not None and batch.attempts == 1:
        yield Problem((*at, "attempts"), "`retry_on` has nothing to do with 1 attempt", "write at least 2")
    if job is not None and job.env and batch.env:
        yield from _environment({**job.env, **batch.env})
    yield from _tag(batch)


def _brings_command(batch: Batch) -> bool:
    """Whether the command comes from elsewhere: a job definition, raw requests, or the image without the preamble."""
    raw = (
        bool(batch.job_definition)
        or batch.registered_definition is not None
        or any(key in batch.submit for key in ("containerOverrides", "nodeOverrides"))
    )
    raw = raw or any(key.endswith("PropertiesOverride") for key in batch.submit)
    return raw or not batch.preamble


def _environment(env: dict[str, str]) -> Iterator[Problem]:
    size = sum(len(name.encode()) + len(value.encode()) + 1 for name, value in env.items())
    if size > MAX_ENVIRONMENT:
        message = f"with the job's `env` the environment has {size:,} bytes, and AWS Batch takes {MAX_ENVIRONMENT:,}"
        yield Problem(("batch", "env"), message)


def _fargate(batch: Batch) -> Iterator[Problem]:
    at = ("batch",)
    if batch.gpus is not None:
        yield Problem((*at, "gpus"), "Fargate has no GPUs", key=True)
    if batch.execution_role is None and batch.image is not None and not batch.job_definition:
        hint = "it pulls the image and writes the logs"
        yield Problem((*at, "execution_role"), "Fargate needs an `execution_role`", hint, key=True)
    if batch.vcpus is not None and batch.vcpus not in FARGATE:
        sizes = ", ".join(f"{size:g}" for size in FARGATE)
        yield Problem((*at, "vcpus"), f"Fargate has {sizes} vCPUs, not {batch.vcpus:g}")
        return
    given = batch.vcpus
    if given is None and not batch.job_definition:
        given = DEFAULT_VCPUS
    fitting = FARGATE[float(given)] if given is not None else sorted({m for row in FARGATE.values() for m in row})
    which = f"with {batch.vcpus:g} vCPUs " if batch.vcpus is not None else ""
    if batch.memory is None and DEFAULT_MEMORY not in fitting and not batch.job_definition:
        message = f"Fargate {which}has no {DEFAULT_MEMORY} MiB of memory, the default"
        yield Problem((*at, "vcpus"), message, f"write `memory: {min(fitting) // 1024}GiB` or more")
    for place, memory in enumerate(batch.memory or []):
        if memory not in fitting:
            near = min(fitting, key=lambda size: (abs(size - memory), size))
            message = f"Fargate {which}has no {memory} MiB of memory"
            yield Problem((*at, "memory", place), message, f"the nearest is {near} MiB ({near / 1024:g} GiB)")


def _tag(batch: Batch) -> Iterator[Problem]:
    """`latest` runs something else tomorrow, and a resumed array would mix two programs."""
    for word in ("image", "definition"):
        image = getattr(batch, word)
        if image is None or "{{" in image:
            continue
        last = image.rsplit("/", 1)[-1]
        if last.endswith(":latest") or (word == "image" and ":" not in last and "@" not in last):
            said = "`latest` is" if last.endswith(":latest") else "without a tag it is `latest`,"
            message = f"{said} another image tomorrow, and a resumed job may mix the two"
            yield Problem(("batch", word), message, "write a tag of your own, or a digest", "warning")
