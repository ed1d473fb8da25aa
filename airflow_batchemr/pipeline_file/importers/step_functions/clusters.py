"""Translate the parameters of createCluster (RunJobFlow) to an entry of `clusters`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.values import UntranslatableError, constant
from airflow_batchemr.pipeline_file.importers.translation import literal

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.translation import ImportPosition

#: Key and type of the parameters that have a direct equivalent.
_KEYS = {
    "ReleaseLabel": ("release", str),
    "LogUri": ("log_uri", str),
    "ServiceRole": ("service_role", str),
    "JobFlowRole": ("instance_role", str),
    "SecurityConfiguration": ("security_configuration", str),
    "CustomAmiId": ("custom_ami", str),
    "StepConcurrencyLevel": ("step_concurrency", int),
}
_INSTANCE_KEYS = {"Ec2KeyName": "key_pair", "Ec2SubnetId": "subnets", "Ec2SubnetIds": "subnets"}
_ROLES = {"MASTER": "master", "CORE": "core", "TASK": "task"}


def cluster(parameters: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    """Translate a cluster; parameters without an equivalent are copied to `overrides`.

    Raises:
        UntranslatableError: if a parameter is only known at run time.
    """
    given: dict[str, Any] = _known(parameters, "createCluster")
    given.pop("Steps", None)
    result: dict[str, Any] = {}
    for field, (key, kind) in _KEYS.items():
        if field in given:
            result[key] = constant(given.pop(field), kind, field)
    if "Applications" in given:
        result["applications"] = [item["Name"] for item in given.pop("Applications")]
    result |= _instances(dict(given.pop("Instances", {})), given, place)
    if given.get("Configurations"):
        result["configurations"] = given.pop("Configurations")
    if "VisibleToAllUsers" in given and not given.pop("VisibleToAllUsers"):
        result["visible"] = False
    if "BootstrapActions" in given:
        result["bootstrap"] = [
            {"path": item["ScriptBootstrapAction"]["Path"], "name": item["Name"]}
            | ({"args": item["ScriptBootstrapAction"]["Args"]} if item["ScriptBootstrapAction"].get("Args") else {})
            for item in given.pop("BootstrapActions")
        ]
    tags = {item["Key"]: literal(str(item.get("Value", ""))) for item in given.pop("Tags", [])}
    if "Name" in given:
        tags = {"Name": literal(given.pop("Name"))} | tags
        place.at("tags", "Name", source=["Parameters"]).note(
            "was the cluster's name. Clusters are now named after their run, so that they are found again after a "
            "crash; the old name is kept as a tag"
        )
    if tags:
        result["tags"] = tags
    if given:
        result["overrides"] = _merged(result.pop("overrides", {}), given)
    return result


def _instances(given: dict[str, Any], above: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if given.pop("KeepJobFlowAliveWhenNoSteps", False):
        idle = above.get("AutoTerminationPolicy", {}).get("IdleTimeout")
        place.note(
            "the cluster is created before its first job and terminated after its last one"
            + ("" if idle is None else f"; its idle timeout of {idle} seconds is kept")
        )
    if "AutoTerminationPolicy" in above:
        result["idle_timeout"] = f"{above.pop('AutoTerminationPolicy')['IdleTimeout']}s"
    for field, key in _INSTANCE_KEYS.items():
        if field in given:
            result[key] = given.pop(field)
    if given.pop("TerminationProtected", False):
        result["termination_protection"] = True
    groups = given.get("InstanceGroups", [])
    simple = [_group(group) for group in groups]
    roles = [group.get("InstanceRole") for group in groups]
    if groups and None not in simple and len(set(roles)) == len(roles):
        given.pop("InstanceGroups")
        result |= {_ROLES[role]: group for role, group in zip(roles, simple, strict=True)}
    elif set(given) >= {"MasterInstanceType"} and not groups:
        count = given.pop("InstanceCount", 1)
        result["master"] = {"type": given.pop("MasterInstanceType"), "count": 1}
        slave = given.pop("SlaveInstanceType", result["master"]["type"])
        if count > 1:
            result["core"] = {"type": slave, "count": count - 1}
    if given:
        result["overrides"] = {"Instances": given}
    return result


def _group(given: dict[str, Any]) -> dict[str, Any] | None:
    """Translate an instance group; None if it has parameters without an equivalent."""
    known = {"InstanceRole", "InstanceType", "InstanceCount", "Market", "BidPrice", "Name"}
    if set(given) - known or given.get("InstanceRole") not in _ROLES:
        return None
    result = {"type": given.get("InstanceType"), "count": given.get("InstanceCount", 1)}
    if given.get("Market") == "SPOT":
        result["market"] = "spot"
        if "BidPrice" in given:
            result["bid"] = given["BidPrice"]
    return result


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    return {**below, **above}


def _known(value: Any, what: str) -> Any:
    """Copy a value whose parts are all constants."""
    if isinstance(value, dict):
        return {key: _known(item, f"{what}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item, what) for item in value]
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    raise UntranslatableError(f"{what} is only known at run time, but a cluster definition must be constant")
