"""Checks of a `batch` block: values that AWS Batch would reject."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.container_overrides import container_names
from airflow_batchemr.core.preamble import PREAMBLE, PREAMBLE_IN_JOB, RESERVED, RUN_VARIABLES
from airflow_batchemr.core.tags import MAX_TAGS, RUN_TAGS, tag_problem
from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.models.base import is_fixed, is_template, without_templates
from airflow_batchemr.pipeline_file.models.batch import DEFINITION_OPTIONS, MAX_ENVIRONMENT
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_batchemr.pipeline_file.models import Batch, Job


def _range(start: int, stop: int, step: int = 1) -> tuple[int, ...]:
    return tuple(gib * 1024 for gib in range(start, stop + 1, step))


#: Memory sizes in MiB that Fargate supports, by vCPUs (AWS Batch, ResourceRequirement).
FARGATE = {
    0.25: (512, 1024, 2048),
    0.5: _range(1, 4),
    1.0: _range(2, 8),
    2.0: _range(4, 16),
    4.0: _range(8, 30),
    8.0: _range(16, 60, 4),
    16.0: _range(32, 120, 8),
    32.0: (61_440, 122_880, 249_856),
}
_KINDS = ("containerProperties", "ecsProperties", "eksProperties", "nodeProperties")
_FRACTIONS = "only Fargate (`platform: fargate`) supports fractions"
#: Size of a job whose file gives none: RegisterJobDefinition demands one.
DEFAULT_VCPUS, DEFAULT_MEMORY = 1, 2048


def batch(batch: Batch, job: Job | None = None) -> Iterator[Problem]:
    """Check a `batch` block.

    Args:
        batch: the block.
        job: the job that it belongs to.
    """
    at = ("batch",)
    if batch.definition is not None and batch.image is not None:
        yield Problem((*at, "image"), "`image` and `definition` cannot be combined", "remove one of them", key=True)
    if (
        batch.definition is None
        and batch.image is None
        and not (batch.job_definition or batch.submit.get("jobDefinition"))
    ):
        either = ((*at, "image"), (*at, "definition"))
        yield Problem(either[0], "`image` or `definition` is required", key=True, missing=either)
    if batch.registered_definition is not None:
        for option in DEFINITION_OPTIONS:
            if getattr(batch, option):
                message = f"`{option}` has no effect on the job definition {batch.registered_definition}"
                yield Problem((*at, option), message, "set `image:`, or add it to that job definition", key=True)
    if batch.queue is None and not batch.submit.get("jobQueue"):
        hint = "set it here or in `defaults: {batch: {queue: …}}`"
        yield Problem((*at, "queue"), "`queue` is required", hint, key=True, missing=((*at, "queue"),))
    if batch.command is None and not _command_optional(batch):
        hint = "to run the command of the image or job definition, set `preamble: false`"
        yield Problem((*at, "command"), "`command` is required", hint, key=True, missing=((*at, "command"),))
    kinds = [kind for kind in _KINDS if batch.job_definition.get(kind)]
    if len(kinds) > 1:
        message = f"a job definition has either `{kinds[0]}` or `{kinds[1]}`"
        yield Problem((*at, "job_definition", kinds[1]), message, "null removes one of them", key=True)
    platform = _platform(batch)
    if platform == "fargate":
        yield from _fargate(batch)
    elif platform == "ec2" and isinstance(batch.vcpus, float):
        message = f"EC2 requires whole vCPUs, not {batch.vcpus:g}"
        yield Problem((*at, "vcpus"), message, _FRACTIONS)
    if platform == "ec2":
        yield from _raw_vcpus(batch)
    memory = [size for size in batch.memory or [] if not is_template(size)]
    if memory and min(memory) < 4:
        yield Problem((*at, "memory"), f"AWS Batch requires at least 4 MiB of memory, not {min(memory)}")
    if sorted(set(memory)) != memory:
        sizes = ", ".join(map(str, memory))
        yield Problem((*at, "memory"), f"memory sizes must be in ascending order, not {sizes} MiB")
    if batch.retry_on is not None and batch.attempts == 1:
        yield Problem((*at, "attempts"), "`retry_on` requires more than 1 attempt", "set `attempts` to at least 2")
    yield from _requirements(batch)
    yield from _container(batch)
    yield from _overrides({**(job.env if job else {}), **batch.env}, batch, job)
    yield from _tag(batch)
    yield from _tags(batch)


def _command_optional(batch: Batch) -> bool:
    """Whether the command may come from a job definition, raw parameters or, without the preamble, the image."""
    raw = (
        bool(batch.job_definition)
        or batch.registered_definition is not None
        or any(key in batch.submit for key in ("containerOverrides", "nodeOverrides"))
    )
    raw = raw or any(key.endswith("PropertiesOverride") for key in batch.submit) or is_template(batch.definition)
    return raw or not batch.preamble


def _platform(batch: Batch) -> str | None:
    """Where the job runs; None if that is not known, or on EKS and managed instances."""
    if batch.registered_definition is not None or "eksProperties" in batch.job_definition:
        return None
    capabilities = batch.job_definition.get("platformCapabilities")
    if isinstance(capabilities, list) and capabilities:
        return next((name.lower() for name in ("FARGATE", "EC2") if name in capabilities), None)
    if batch.platform is None and is_template(batch.definition):
        return None
    return batch.platform or "ec2"


def _raw_vcpus(batch: Batch) -> Iterator[Problem]:
    """The vCPUs of a plain container in AWS's own form."""
    for option, member in (("submit", "containerOverrides"), ("job_definition", "containerProperties")):
        container = getattr(batch, option).get(member)
        given = container.get("resourceRequirements") if isinstance(container, dict) else None
        for position, one in enumerate(given if isinstance(given, list) else ()):
            if one.get("type") == "VCPU" and re.fullmatch(r"\d*\.0*[1-9]\d*", value := str(one.get("value"))):
                keys = ("batch", option, member, "resourceRequirements", position, "value")
                yield Problem(keys, f"EC2 requires whole vCPUs, not {value}", _FRACTIONS)


def _container(batch: Batch) -> Iterator[Problem]:
    """The named container has to be in the job definition, if that is part of the file."""
    if batch.container is None or batch.registered_definition is not None:
        return
    if not is_fixed(json.dumps([batch.container, batch.definition, batch.job_definition])):
        return
    what = "`job_definition`" if batch.job_definition else "the job definition of an image"
    if problem := container_problem(batch.container, batch.job_definition, what):
        yield Problem(("batch", "container"), *problem)


def _requirements(batch: Batch) -> Iterator[Problem]:
    at = ("batch",)
    for position, argument in enumerate(batch.command or []):
        if not argument:
            yield Problem((*at, "command", position), "AWS Batch accepts no empty arguments", "remove it")
    if batch.secrets and batch.execution_role is None and not batch.job_definition:
        hint = "AWS Batch reads the secrets with this role"
        yield Problem((*at, "execution_role"), "`secrets` requires an `execution_role`", hint, key=True)


def container_problem(name: str, definition: Mapping[str, Any], what: str) -> tuple[str, str | None] | None:
    """Return message and hint if a job definition has no container of that name; None if it has one.

    Args:
        name: of the container.
        definition: as RegisterJobDefinition takes it or DescribeJobDefinitions returns it.
        what: how messages name the definition.
    """
    known = container_names(definition)
    if not known:
        return f"{what} has no containers with names", "remove `container`"
    return None if name in known else (f"{what} has no container {name!r}, only {', '.join(known)}", guess(name, known))


def _overrides(env: Mapping[str, str], batch: Batch, job: Job | None) -> Iterator[Problem]:
    """Check the size of a SubmitJob's overrides as far as it is known: without the values of templates and the run."""
    command = list(batch.command or ())
    if batch.preamble and command:
        for name in sorted(RESERVED & env.keys()):
            at = ("batch", "env", name) if name in batch.env else ("env", name)
            yield Problem(at, f"the name {name} is reserved for batchemr", "choose another name", key=True)
        in_job = job is not None and job.array is not None and job.array.markers
        command = ["/bin/sh", "-c", PREAMBLE_IN_JOB if in_job else PREAMBLE, "sh", *command]
    variables = {**env, **dict.fromkeys(RUN_VARIABLES, "")}
    environment = [{"name": name, "value": value} for name, value in variables.items()]
    parts = {"command": command, "env": environment}
    sizes = {key: len(without_templates(_compact(part)).encode()) for key, part in parts.items()}
    if (size := sum(sizes.values())) > MAX_ENVIRONMENT:
        largest = max(sizes, key=lambda key: sizes[key])
        message = f"AWS Batch accepts {MAX_ENVIRONMENT:,} bytes of command and environment, not {size:,}"
        yield Problem(("batch", largest), message, "put large values into an object on S3 and pass its URI")


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fargate(batch: Batch) -> Iterator[Problem]:
    at = ("batch",)
    if "nodeProperties" in batch.job_definition:
        keys = (*at, "job_definition", "nodeProperties")
        yield Problem(keys, "Fargate does not support multi-node jobs", "remove `platform: fargate`", key=True)
    if batch.gpus is not None:
        yield Problem((*at, "gpus"), "Fargate has no GPUs", key=True)
    if batch.ulimits:
        yield Problem((*at, "ulimits"), "Fargate does not support ulimits", "remove them", key=True)
    for position, volume in enumerate(batch.volumes):
        if "host" in volume:
            yield Problem((*at, "volumes", position), "Fargate does not support host volumes", "use an EFS volume")
    if batch.execution_role is None and batch.image is not None and not batch.job_definition:
        hint = "Fargate uses this role to pull the image and write logs"
        yield Problem((*at, "execution_role"), "Fargate requires an `execution_role`", hint, key=True)
    given = batch.vcpus
    if is_template(given):
        return  # which memory it supports depends on the vCPUs
    if given is not None and given not in FARGATE:
        sizes = ", ".join(f"{size:g}" for size in FARGATE)
        yield Problem((*at, "vcpus"), f"Fargate supports {sizes} vCPUs, not {batch.vcpus:g}")
        return
    if given is None and not batch.job_definition:
        given = DEFAULT_VCPUS
    supported = FARGATE[float(given)] if given is not None else sorted({m for row in FARGATE.values() for m in row})
    vcpus = f" with {batch.vcpus:g} vCPU{'s' * (batch.vcpus != 1)}" if batch.vcpus is not None else ""
    if batch.memory is None and DEFAULT_MEMORY not in supported and not batch.job_definition:
        message = f"Fargate does not support the default of {DEFAULT_MEMORY} MiB of memory{vcpus}"
        yield Problem((*at, "vcpus"), message, f"set `memory: {min(supported) // 1024}GiB` or more")
    for position, memory in enumerate(batch.memory or []):
        if memory not in supported and not is_template(memory):
            near = min(supported, key=lambda size: (abs(size - memory), size))
            message = f"Fargate does not support {memory} MiB of memory{vcpus}"
            hint = f"the nearest size is {near} MiB ({near / 1024:g} GiB)"
            yield Problem((*at, "memory", position), message, hint)


def _tags(batch: Batch) -> Iterator[Problem]:
    """A job has at most 50 tags; ECS tasks get those of the job definition, too, unless `submit:` says otherwise."""
    names = {"submit": {*RUN_TAGS, *batch.tags}, "job_definition": set[str]()}
    for option, of_option in names.items():
        tags = getattr(batch, option).get("tags")
        for name, value in tags.items() if isinstance(tags, dict) else ():
            of_option.add(name)
            if problem := tag_problem(str(name), str(value) if is_fixed(str(value)) else ""):
                yield Problem(("batch", option, "tags", name), problem)
    job, definition = names.values()
    number = len(job | definition) if batch.submit.get("propagateTags", True) else max(len(job), len(definition))
    if number > MAX_TAGS:
        message = f"AWS Batch accepts {MAX_TAGS} tags, not {number}, including those that identify the run"
        yield Problem(("batch", "tags"), message)


def _tag(batch: Batch) -> Iterator[Problem]:
    """`latest` may change, and a resumed array would then run two versions of a program."""
    for key in ("image", "definition"):
        image = getattr(batch, key)
        if image is None or "{{" in image:
            continue
        last = image.rsplit("/", 1)[-1]
        if last.endswith(":latest") or (key == "image" and ":" not in last and "@" not in last):
            what = "`latest`" if last.endswith(":latest") else "an image without a tag is `latest`, which"
            message = f"{what} can change between submissions, so that a resumed job may run two versions"
            yield Problem(("batch", key), message, "use a version tag or a digest", "warning")
