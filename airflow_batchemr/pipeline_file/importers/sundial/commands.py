"""Sundial's containers and scripts as jobs: AWS Batch, the retired ECS form, and bash on Sundial's own machine."""

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
#: ECS: units of `cpu` in one vCPU.
_CPU_UNITS = 1024
#: AWS Batch: the shortest timeout of an attempt, in seconds.
_MIN_TIMEOUT = 60
_WORDS = {"cpu": "vcpus", "memory": "memory"}
#: What Sundial told scripts about themselves.
_PREVIOUS_ATTEMPTS = "SUNDIAL_TASK_PREVIOUS_ATTEMPTS"


def batch(command: BatchImageCommand, task: Task, place: ImportPosition) -> dict[str, Any]:
    """The words of a job for a container on AWS Batch."""
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
    """The words of a job for a container on ECS, which becomes one on AWS Batch."""
    block: dict[str, Any] = {"image": f"{literal(command.image)}:{literal(command.tag)}"}
    block |= _command(command.command)
    place.at("batch").note("ran on Amazon ECS (docker_image_command); now it is a job on AWS Batch")
    if command.cpu is not None:
        block["vcpus"] = max(1, math.ceil(command.cpu / _CPU_UNITS))
        if command.cpu % _CPU_UNITS:
            place.at("batch", "vcpus", source=["cpu"]).note(
                f"{command.cpu} cpu units were {command.cpu / _CPU_UNITS:.3g} vCPU; AWS Batch on EC2 takes whole ones "
                "(with `platform: fargate` 0.25 and 0.5 as well)"
            )
    if command.memory is not None:
        block["memory"] = size(command.memory)
    for word, given in (("cpu", command.cpu), ("memory", command.memory)):
        if given is None:
            place.at("batch").note(f"{word} was left to ECS: set `{_WORDS[word]}`, or the package's default is taken")
    if command.taskRoleArn:
        block["job_role"] = literal(command.taskRoleArn)
    if command.environment_variables:
        block["env"] = environment(command.environment_variables)
    if command.log_paths:
        place.at("batch", source=["log_paths"]).note(
            f"Sundial also collected the log files {', '.join(command.log_paths)}; AWS Batch keeps what the program "
            "writes to stdout and stderr: let it write there"
        )
    return _limited(block, task, place)


#: Around a script that has to say that it succeeded. Its output is shown as it comes; its own exit code counts first.
_EXPLICIT = r"""said=$(mktemp)
trap 'rm -f "$said"' EXIT
(
SCRIPT
) | tee "$said"
ended=${PIPESTATUS[0]}
[ "$ended" -eq 0 ] || exit "$ended"
[ "$(grep '^\*\*status=' "$said" | tail -n 1)" = '**status=success' ] ||
  { echo 'the script ended with 0 and did not say **status=success' >&2; exit 1; }"""


def shell(command: ShellScriptCommand, task: Task, place: ImportPosition) -> dict[str, Any]:
    """The words of a job for a script that ran beside Sundial: a BashOperator, which runs beside Airflow."""
    script = command.script.rstrip("\n")
    if task.require_explicit_success:
        script = _EXPLICIT.replace("SCRIPT", script, 1)
        place.at("operator", source=["require_explicit_success"]).note(
            "Sundial looked for the line **status=success in the script's output: the lines around the script do so now"
        )
    script = literal(script)
    # BashOperator takes a command that ends so for the name of a template's file.
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
        "the script ran on Sundial's own machine; now it runs on an Airflow worker, which needs what it calls. It has "
        "no marker: a cleared run runs it again. To have one, run it on AWS Batch: "
        "`batch: {image: …, command: [bash, -c, …]}`"
    )
    if task.max_runtime_seconds is not None:
        arguments["execution_timeout"] = task.max_runtime_seconds
    return {"operator": BASH_OPERATOR, "with": arguments}


def environment(variables: Iterable[EnvironmentVariable]) -> dict[str, str]:
    """Variables by name; of two with one name the later one counts, as in Sundial."""
    return {variable.variable_name: literal(variable.value) for variable in variables}


def size(mebibytes: int) -> str:
    """Memory as people write it."""
    return f"{mebibytes // 1024}GiB" if not mebibytes % 1024 else f"{mebibytes}MiB"


def _command(command: list[str]) -> dict[str, Any]:
    """Without a command the image's own one runs."""
    return {"command": [literal(word) for word in command]} if command else {}


def _limited(block: dict[str, Any], task: Task, place: ImportPosition) -> dict[str, Any]:
    """The block with the limit of an attempt's time.

    Sundial counted from the submission on. With one attempt that is the job's deadline; with several it is AWS
    Batch's timeout, which counts from the container's start.
    """
    limit = task.max_runtime_seconds
    if limit is None:
        return {"batch": block}
    if task.max_attempts == 1:
        return {"batch": block, "deadline": duration(limit)}
    at = place.at("batch", "timeout")
    at.note(
        "Sundial counted an attempt's time from its submission; AWS Batch counts it from the start of the container"
    )
    if limit < _MIN_TIMEOUT:
        at.note(f"was {limit} seconds; AWS Batch takes no less than {_MIN_TIMEOUT}")
    return {"batch": block | {"timeout": duration(max(limit, _MIN_TIMEOUT))}}
