"""Translate Sundial's container and script tasks: AWS Batch, ECS, and bash on the Sundial server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.translation import duration, literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_batchemr.pipeline_file.importers.sundial.models import (
        BatchImageCommand,
        DockerImageCommand,
        EnvironmentVariable,
        ShellScriptCommand,
        Task,
    )
    from airflow_batchemr.pipeline_file.importers.translation import ImportPosition

BASH_OPERATOR = "airflow.providers.standard.operators.bash.BashOperator"
#: ECS CPU units per vCPU.
_CPU_UNITS = 1024
#: Minimum timeout of an attempt in seconds (AWS Batch, JobTimeout).
_MIN_TIMEOUT = 60
_KEYS = {"cpu": "vcpus", "memory": "memory"}
#: Environment variable that Sundial sets for scripts.
_PREVIOUS_ATTEMPTS = "SUNDIAL_TASK_PREVIOUS_ATTEMPTS"


def batch(command: BatchImageCommand, task: Task, place: ImportPosition) -> dict[str, Any]:
    """Translate a container on AWS Batch."""
    block: dict[str, Any] = {"image": f"{literal(command.image)}:{literal(command.tag)}"}
    if command.job_queue:
        block["queue"] = literal(command.job_queue)
    block |= _command(command.command)
    block["vcpus"] = command.vCpus
    block["memory"] = size(command.memory)
    if command.job_role_arn:
        block["job_role"] = literal(command.job_role_arn)
    if command.environment_variables:
        block["env"] = environment(command.environment_variables)
    return _limited(block, task, place)


def docker(command: DockerImageCommand, task: Task, place: ImportPosition) -> dict[str, Any]:
    """Translate a container on ECS to one on AWS Batch."""
    block: dict[str, Any] = {"image": f"{literal(command.image)}:{literal(command.tag)}"}
    block |= _command(command.command)
    place.at("batch").note("ran on Amazon ECS (docker_image_command) and now runs on AWS Batch")
    if command.cpu is not None:
        block["vcpus"] = max(1, math.ceil(command.cpu / _CPU_UNITS))
        if command.cpu % _CPU_UNITS:
            place.at("batch", "vcpus", source=["cpu"]).note(
                f"{command.cpu} CPU units are {command.cpu / _CPU_UNITS:.3g} vCPUs, rounded up: AWS Batch on EC2 "
                "requires whole vCPUs (`platform: fargate` also supports 0.25 and 0.5)"
            )
    if command.memory is not None:
        block["memory"] = size(command.memory)
    for field, value in (("cpu", command.cpu), ("memory", command.memory)):
        if value is None:
            place.at("batch").note(f"{field} was not set: set `{_KEYS[field]}` to override the default")
    if command.taskRoleArn:
        block["job_role"] = literal(command.taskRoleArn)
    if command.environment_variables:
        block["env"] = environment(command.environment_variables)
    if command.log_paths:
        place.at("batch", source=["log_paths"]).note(
            f"Sundial also collected the log files {', '.join(command.log_paths)}; AWS Batch only collects stdout and "
            "stderr: have the program write its logs there"
        )
    return _limited(block, task, place)


#: Wraps a script that must print its success. Output is streamed; a nonzero exit code takes precedence.
_EXPLICIT = r"""output=$(mktemp)
trap 'rm -f "$output"' EXIT
(
SCRIPT
) | tee "$output"
exit_code=${PIPESTATUS[0]}
[ "$exit_code" -eq 0 ] || exit "$exit_code"
[ "$(grep '^\*\*status=' "$output" | tail -n 1)" = '**status=success' ] ||
  { echo 'the script exited with 0 but did not print **status=success' >&2; exit 1; }"""


def shell(command: ShellScriptCommand, task: Task, place: ImportPosition) -> dict[str, Any]:
    """Translate a script on the Sundial server to a BashOperator."""
    script = command.script.rstrip("\n")
    if task.require_explicit_success:
        script = _EXPLICIT.replace("SCRIPT", script, 1)
        place.at("operator", source=["require_explicit_success"]).note(
            "Sundial searched the script's output for the line **status=success; the lines around the script do this"
        )
    script = literal(script)
    # BashOperator would read a command with this ending as the name of a template file.
    if script.endswith((".sh", ".bash")):
        script += "\n"
    arguments: dict[str, Any] = {"bash_command": script}
    env = environment(command.environment_variables or [])
    if _PREVIOUS_ATTEMPTS in command.script:
        env[_PREVIOUS_ATTEMPTS] = "{{ ti.try_number - 1 }}"
    if env:
        arguments["env"] = env
    arguments["append_env"] = True
    arguments["skip_on_exit_code"] = []
    place.at("operator").note(
        "the script ran on the Sundial server and now runs on an Airflow worker, which must provide the programs that "
        "it calls. It has no success marker, so that clearing the run runs it again; to change that, run it on AWS "
        "Batch: `batch: {image: …, command: [bash, -c, …]}`"
    )
    if task.max_runtime_seconds is not None:
        arguments["execution_timeout"] = task.max_runtime_seconds
    return {"operator": BASH_OPERATOR, "with": arguments}


def environment(variables: Iterable[EnvironmentVariable]) -> dict[str, str]:
    """Environment variables by name; the last one wins, as in Sundial."""
    return {variable.variable_name: literal(variable.value) for variable in variables}


def size(mebibytes: int) -> str:
    """Format a memory size."""
    return f"{mebibytes // 1024}GiB" if not mebibytes % 1024 else f"{mebibytes}MiB"


def _command(command: list[str]) -> dict[str, Any]:
    """The `command` key; without it, the image's own command runs."""
    return {"command": [literal(argument) for argument in command]} if command else {}


def _limited(block: dict[str, Any], task: Task, place: ImportPosition) -> dict[str, Any]:
    """Add the time limit of an attempt.

    Sundial measured it from the submission. For a single attempt that is the job's deadline. For several attempts it
    becomes AWS Batch's timeout, which is measured from the start of the container.
    """
    limit = task.max_runtime_seconds
    if limit is None:
        return {"batch": block}
    if task.max_attempts == 1:
        return {"batch": block, "deadline": duration(limit)}
    at = place.at("batch", "timeout")
    at.note(
        "Sundial measured the time limit from the submission of an attempt; AWS Batch measures it from the start of "
        "the container"
    )
    if limit < _MIN_TIMEOUT:
        at.note(f"was {limit} seconds; the minimum of AWS Batch is {_MIN_TIMEOUT}")
    return {"batch": block | {"timeout": duration(max(limit, _MIN_TIMEOUT))}}
