"""Translate the parameters of Batch and EMR tasks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.api import copied, map_key, texts
from airflow_batchemr.pipeline_file.importers.step_functions.values import (
    ClusterId,
    Given,
    Result,
    UntranslatableError,
    constant,
)
from airflow_batchemr.pipeline_file.importers.translation import duration
from airflow_batchemr.pipeline_file.models.base import is_template

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.members import Members
    from airflow_batchemr.pipeline_file.importers.step_functions.values import Writer
    from airflow_batchemr.pipeline_file.importers.translation import ImportPosition

_ACTIONS = {
    "CONTINUE": "continue",
    "CANCEL_AND_WAIT": "cancel_and_wait",
    "TERMINATE_CLUSTER": "terminate_cluster",
    "TERMINATE_JOB_FLOW": "terminate_cluster",
}
_COMMAND_RUNNER = "command-runner.jar"
_RESOURCES = {"VCPU": "vcpus", "MEMORY": "memory", "GPU": "gpus"}
_NUMBER = re.compile(r"\d+(\.\d+)?")


def batch(given: Members, write: Writer, place: ImportPosition) -> dict[str, Any]:
    """Translate the parameters of submitJob to the keys of a job.

    Raises:
        UntranslatableError: if a parameter is unknown, or only known at run time.
    """
    given.skip("JobName")  # jobs are named after pipeline, run and job, so that they are found again after a crash
    block: dict[str, Any] = {
        "definition": write.text(given.get("JobDefinition"), "JobDefinition"),
        "queue": write.text(given.get("JobQueue"), "JobQueue"),
    }
    job: dict[str, Any] = {}
    array = given.members("ArrayProperties")
    if "Size" in array:
        job["array"] = write.number(array.get("Size"), int, array.path("Size"))
        place.at("array").note(
            "Step Functions repeated all indices after a failure; with `preamble: true` (the image needs sh and must "
            "not have an entry point) only unfinished indices run again"
        )
    block |= _container(given.members("ContainerOverrides"), write, place)
    if "Parameters" in given:
        block["parameters"] = texts(given.get("Parameters"), "Parameters", write)
    if "Tags" in given:
        block["tags"] = texts(given.get("Tags"), "Tags", write)
    timeout = given.members("Timeout")
    if "AttemptDurationSeconds" in timeout:
        seconds = write.number(timeout.get("AttemptDurationSeconds"), int, timeout.path("AttemptDurationSeconds"))
        block["timeout"] = duration(seconds) if isinstance(seconds, int) else seconds
    if "ShareIdentifier" in given:
        block["share_identifier"] = write.text(given.get("ShareIdentifier"), "ShareIdentifier")
    if (priority := given.fixed("SchedulingPriorityOverride", int)) is not None:
        block["scheduling_priority"] = priority
    rest = given.rest()
    for one in constant(rest.get("DependsOn", []), list, "DependsOn"):
        if "JobId" in constant(one, dict, "DependsOn"):
            raise UntranslatableError(
                "DependsOn is not supported: job ids are only known at run time; use the order of the states"
            )
    if "RetryStrategy" in rest:
        place.at("batch", "submit", "retryStrategy").note(
            "replaces the attempts and rules of `attempts` and `retry_on`"
        )
    submit = block.pop("submit", {}) | copied(rest, "batch", "SubmitJob", "", write)
    if submit:
        block["submit"] = submit
    return {**job, "batch": block}


def _container(given: Members, write: Writer, place: ImportPosition) -> dict[str, Any]:
    """Translate ContainerOverrides."""
    block: dict[str, Any] = {}
    if "Command" in given:
        command = given.constant("Command", list)
        block["command"] = [write.text(argument, "ContainerOverrides.Command") for argument in command]
    for name, kind in (("Vcpus", "VCPU"), ("Memory", "MEMORY")):
        if name in given:
            block[_RESOURCES[kind]] = _size(given.get(name), kind, name, write)
            place.at("batch", _RESOURCES[kind]).note(f"was {name}, which ResourceRequirements replace")
    kinds = set()
    for item in given.items("ResourceRequirements"):
        kind = item.constant("Type", str)
        if kind not in _RESOURCES or kind in kinds:
            problem = f"sets {kind} twice" if kind in kinds else f"has an unknown Type {kind}"
            raise UntranslatableError(f"ResourceRequirements {problem}")
        kinds.add(kind)
        block[_RESOURCES[kind]] = _size(item.get("Value"), kind, item.path("Value"), write)
    if "Environment" in given:
        block["env"] = _environment(given, write)
    if rest := copied(given.rest(), "batch", "SubmitJob.containerOverrides", "ContainerOverrides", write):
        block["submit"] = {"containerOverrides": rest}
    return block


def _size(value: Any, kind: str, what: str, write: Writer) -> Any:
    """The vcpus, memory or gpus: a number, or its template."""
    text = value if isinstance(value, str) else write.text(value, what)
    if is_template(text) and not isinstance(value, str):
        return text
    if not _NUMBER.fullmatch(text) or (kind == "MEMORY" and float(text) % 1):
        raise UntranslatableError(f"{what}: {kind} requires a number, not {text}")
    number = float(text)
    if kind == "MEMORY":
        return f"{int(number)}MiB"
    return number if number % 1 else int(number)


def _environment(given: Members, write: Writer) -> dict[str, str]:
    env: dict[str, str] = {}
    for item in given.items("Environment"):
        name = map_key(item.constant("Name", str), "Environment")
        if name in env:
            raise UntranslatableError(f"Environment sets {name} twice")
        env[name] = write.text(item.get("Value") if item.get("Value") is not None else "", f"Environment.{name}")
    return env


def steps(given: list[Members], write: Writer, place: ImportPosition, *, shared: bool) -> list[dict[str, Any]]:
    """Translate a list of StepConfig.

    Raises:
        UntranslatableError: if a part is unknown, or only known at run time.
    """
    return [_step(item, write, place.at("steps", number), shared=shared) for number, item in enumerate(given)]


def _step(given: Members, write: Writer, place: ImportPosition, *, shared: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"name": write.text(given.get("Name", "step"), given.path("Name"))}
    action = given.constant("ActionOnFailure", str, "CONTINUE")
    if action not in _ACTIONS:
        raise UntranslatableError(f"unknown ActionOnFailure {action}")
    result |= _jar(given.members("HadoopJarStep"), write)
    if rest := given.rest():
        # A member without an option: the whole step in EMR's own form
        config = {"HadoopJarStep": given.get("HadoopJarStep"), **rest}
        raw = copied(config, "emr", "AddJobFlowSteps.Steps[]", given.path(), write)
        result = {"name": result["name"], "raw": raw}
    result["on_failure"] = _ACTIONS[action]
    if shared and result["on_failure"] == "terminate_cluster":
        result["on_failure"] = "cancel_and_wait"
        place.at("on_failure", source=["ActionOnFailure"]).note(
            "was TERMINATE_CLUSTER; the cluster is now terminated after the last job that uses it, whether or not the "
            "jobs succeed"
        )
    elif "ActionOnFailure" not in given:
        place.at("on_failure").note("ActionOnFailure was not set")
    return result


def _jar(given: Members, write: Writer) -> dict[str, Any]:
    """Translate HadoopJarStep."""
    jar = write.text(given.get("Jar"), given.path("Jar"))
    args = [write.text(argument, given.path("Args")) for argument in given.constant("Args", list, [])]
    if jar == _COMMAND_RUNNER and args and not ("Properties" in given or "MainClass" in given):
        return {"command": args}
    result: dict[str, Any] = {"jar": jar}
    if given.get("MainClass") is not None:
        result["class"] = write.text(given.get("MainClass"), given.path("MainClass"))
    if args:
        result["args"] = args
    if properties := given.items("Properties"):
        result["properties"] = {
            map_key(item.constant("Key", str), given.path("Properties")): write.text(
                item.get("Value", ""), item.path("Value")
            )
            for item in properties
        }
    return result


def cluster_of(value: Any, write: Writer) -> dict[str, str]:
    """Translate a ClusterId to an `emr` block.

    Raises:
        UntranslatableError: if it is no id.
    """
    if isinstance(value, ClusterId):
        return {"cluster": value.name}
    if isinstance(value, Given | Result):
        return {"cluster_id": write.text(value, "ClusterId")}
    cluster_id = constant(value, str, "ClusterId")
    if not re.fullmatch(r"j-[A-Z0-9]+", cluster_id):
        raise UntranslatableError(
            f"ClusterId: {cluster_id} is not the id of a cluster, such as j-3H6EATEXAMPLE: replace it and import again"
        )
    return {"cluster_id": cluster_id}
