"""Translate the parameters of Batch and EMR tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.values import (
    ClusterId,
    Given,
    UntranslatableError,
    constant,
)
from airflow_batchemr.pipeline_file.importers.translation import duration

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.values import Writer
    from airflow_batchemr.pipeline_file.importers.translation import ImportPosition

#: Parameters of SubmitJob whose keys are defined by the user.
_FREE_KEYS = {"Parameters", "Tags", "Options", "Labels"}
_RAW = (
    *("NodeOverrides", "EcsPropertiesOverride", "EksPropertiesOverride", "PropagateTags"),
    "ConsumableResourcePropertiesOverride",
)
_ACTIONS = {
    "CONTINUE": "continue",
    "CANCEL_AND_WAIT": "cancel_and_wait",
    "TERMINATE_CLUSTER": "terminate_cluster",
    "TERMINATE_JOB_FLOW": "terminate_cluster",
}
_COMMAND_RUNNER = "command-runner.jar"


def batch(parameters: dict[str, Any], write: Writer, place: ImportPosition) -> dict[str, Any]:
    """Translate the parameters of submitJob to the keys of a job.

    Raises:
        UntranslatableError: if a parameter is unknown, or only known at run time.
    """
    given = dict(parameters)
    given.pop("JobName", None)  # jobs are named after pipeline, run and job, so that they are found again after a crash
    block: dict[str, Any] = {
        "definition": constant(given.pop("JobDefinition", None), str, "JobDefinition"),
        "queue": constant(given.pop("JobQueue", None), str, "JobQueue"),
    }
    job: dict[str, Any] = {}
    if "ArrayProperties" in given:
        job["array"] = constant(given.pop("ArrayProperties").get("Size"), int, "ArrayProperties.Size")
        place.at("array").note(
            "Step Functions repeated all indices after a failure; with `preamble: true` (the image needs sh and must "
            "not have an entry point) only unfinished indices run again"
        )
    submit: dict[str, Any] = {}
    overrides = constant(given.pop("ContainerOverrides", {}), dict, "ContainerOverrides")
    block |= _overrides(dict(overrides), write, submit)
    if "Parameters" in given:
        block["parameters"] = _texts(given.pop("Parameters"), write, "Parameters")
    if "Tags" in given:
        block["tags"] = {key: constant(value, str, f"Tags.{key}") for key, value in given.pop("Tags").items()}
    if "Timeout" in given:
        seconds = constant(given.pop("Timeout").get("AttemptDurationSeconds"), int, "Timeout.AttemptDurationSeconds")
        block["timeout"] = duration(seconds)
    if "ShareIdentifier" in given:
        block["share_identifier"] = constant(given.pop("ShareIdentifier"), str, "ShareIdentifier")
    if "SchedulingPriorityOverride" in given:
        block["scheduling_priority"] = constant(given.pop("SchedulingPriorityOverride"), int, "SchedulingPriority")
    if "RetryStrategy" in given:
        submit["retryStrategy"] = _retry_strategy(given.pop("RetryStrategy"))
    if "DependsOn" in given:
        raise UntranslatableError(
            "DependsOn is not supported: job ids are only known at run time; use the order of the states"
        )
    for name in _RAW:
        if name in given:
            submit[_camel(name)] = _lower(given.pop(name))
    if given:
        raise UntranslatableError(f"submitJob has no parameter {', '.join(given)}")
    if submit:
        block["submit"] = submit
    return {**job, "batch": block}


def _overrides(given: dict[str, Any], write: Writer, submit: dict[str, Any]) -> dict[str, Any]:
    block: dict[str, Any] = {}
    if "Command" in given:
        command = constant(given.pop("Command"), list, "Command")
        block["command"] = [write.text(argument, "Command") for argument in command]
    requirements = {
        "VCPU": given.pop("Vcpus", None),
        "MEMORY": given.pop("Memory", None),
    }
    for item in given.pop("ResourceRequirements", []):
        requirements[str(item.get("Type"))] = item.get("Value")
    for kind, key in (("VCPU", "vcpus"), ("MEMORY", "memory"), ("GPU", "gpus")):
        if (value := requirements.pop(kind, None)) is not None:
            number = float(constant(value, (str, int, float), kind))
            block[key] = f"{int(number)}MiB" if key == "memory" else int(number) if number == int(number) else number
    if requirements:
        raise UntranslatableError(f"unknown ResourceRequirements type {', '.join(requirements)}")
    if "Environment" in given:
        block["env"] = {
            constant(item.get("Name"), str, "Environment.Name"): write.text(item.get("Value"), f"{item.get('Name')}")
            for item in constant(given.pop("Environment"), list, "Environment")
        }
    if given:
        submit["containerOverrides"] = _lower(given)
    return block


def _retry_strategy(given: dict[str, Any]) -> dict[str, Any]:
    """Translate a retry strategy; without rules, AWS Batch retries any failure."""
    rules = _lower(given.get("EvaluateOnExit") or [{"OnReason": "*", "Action": "RETRY"}])
    return {"attempts": constant(given.get("Attempts", 1), int, "RetryStrategy.Attempts"), "evaluateOnExit": rules}


def _texts(given: Any, write: Writer, what: str) -> dict[str, str]:
    return {key: write.text(value, f"{what}.{key}") for key, value in constant(given, dict, what).items()}


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


def _lower(value: Any) -> Any:
    """Convert keys from Step Functions' `JobName` to the API's `jobName`."""
    if isinstance(value, dict):
        return {_camel(key): item if key in _FREE_KEYS else _lower(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lower(item) for item in value]
    return constant(value, (str, int, float, bool, type(None)), "a value") if not isinstance(value, bool) else value


def steps(given: list[Any], write: Writer, place: ImportPosition, *, shared: bool) -> list[dict[str, Any]]:
    """Translate a list of StepConfig."""
    return [_step(dict(item), write, place.at("steps", number), shared=shared) for number, item in enumerate(given)]


def _step(given: dict[str, Any], write: Writer, place: ImportPosition, *, shared: bool) -> dict[str, Any]:
    jar = dict(constant(given.get("HadoopJarStep"), dict, "HadoopJarStep"))
    result: dict[str, Any] = {"name": write.text(given.get("Name", "step"), "Name")}
    args = [write.text(argument, "Args") for argument in constant(jar.get("Args", []), list, "Args")]
    if jar.get("Jar") == _COMMAND_RUNNER and not jar.get("Properties"):
        result["command"] = args
    else:
        result["jar"] = write.text(jar.get("Jar"), "Jar")
        if jar.get("MainClass"):
            result["class"] = write.text(jar["MainClass"], "MainClass")
        if args:
            result["args"] = args
        if jar.get("Properties"):
            result["properties"] = {
                item["Key"]: write.text(item.get("Value"), item["Key"])
                for item in constant(jar["Properties"], list, "Properties")
            }
    action = constant(given.get("ActionOnFailure", "CONTINUE"), str, "ActionOnFailure")
    if action not in _ACTIONS:
        raise UntranslatableError(f"unknown ActionOnFailure {action}")
    result["on_failure"] = _ACTIONS[action]
    if shared and result["on_failure"] == "terminate_cluster":
        result["on_failure"] = "cancel_and_wait"
        place.at("on_failure").note(
            "was TERMINATE_CLUSTER; the cluster is now terminated after the last job that uses it, whether or not the "
            "jobs succeed"
        )
    return result


def cluster_of(value: Any, write: Writer) -> dict[str, str]:
    """Translate a ClusterId to an `emr` block."""
    if isinstance(value, ClusterId):
        return {"cluster": value.name}
    if isinstance(value, Given):
        return {"cluster_id": write.text(value, "ClusterId")}
    return {"cluster_id": constant(value, str, "ClusterId")}
