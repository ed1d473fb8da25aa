"""RunJobFlow's parameters, as createCluster takes them, in the words of `clusters:`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions.values import UntranslatableError, constant
from airflow_batchemr.pipeline_file.importers.translation import literal

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.translation import ImportPosition

#: Fields whose value is one word of the file.
_WORDS = {
    "ReleaseLabel": ("release", str),
    "LogUri": ("log_uri", str),
    "ServiceRole": ("service_role", str),
    "JobFlowRole": ("instance_role", str),
    "SecurityConfiguration": ("security_configuration", str),
    "CustomAmiId": ("custom_ami", str),
    "StepConcurrencyLevel": ("step_concurrency", int),
}
_INSTANCE_WORDS = {"Ec2KeyName": "key_pair", "Ec2SubnetId": "subnets", "Ec2SubnetIds": "subnets"}
_ROLES = {"MASTER": "master", "CORE": "core", "TASK": "task"}


def cluster(parameters: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    """The words of a cluster; what has no word of its own is in `overrides` as it is.

    Raises:
        UntranslatableError: something is known only when it runs.
    """
    given: dict[str, Any] = _known(parameters, "createCluster")
    given.pop("Steps", None)
    made: dict[str, Any] = {}
    for field, (word, kind) in _WORDS.items():
        if field in given:
            made[word] = constant(given.pop(field), kind, field)
    if "Applications" in given:
        made["applications"] = [item["Name"] for item in given.pop("Applications")]
    made |= _instances(dict(given.pop("Instances", {})), given, place)
    if given.get("Configurations"):
        made["configurations"] = given.pop("Configurations")
    if "VisibleToAllUsers" in given and not given.pop("VisibleToAllUsers"):
        made["visible"] = False
    if "BootstrapActions" in given:
        made["bootstrap"] = [
            {"path": item["ScriptBootstrapAction"]["Path"], "name": item["Name"]}
            | ({"args": item["ScriptBootstrapAction"]["Args"]} if item["ScriptBootstrapAction"].get("Args") else {})
            for item in given.pop("BootstrapActions")
        ]
    tags = {item["Key"]: literal(str(item.get("Value", ""))) for item in given.pop("Tags", [])}
    if "Name" in given:
        tags = {"Name": literal(given.pop("Name"))} | tags
        place.at("tags", "Name", source=["Parameters"]).note(
            "was the cluster's name; a cluster is now named after its run, so that it is found again after a crash, "
            "and keeps this name as a tag"
        )
    if tags:
        made["tags"] = tags
    if given:
        made["overrides"] = _merged(made.pop("overrides", {}), given)
    return made


def _instances(given: dict[str, Any], above: dict[str, Any], place: ImportPosition) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if given.pop("KeepJobFlowAliveWhenNoSteps", False):
        idle = above.get("AutoTerminationPolicy", {}).get("IdleTimeout")
        place.note(
            "the cluster lives from its first job to the end of its last one"
            + ("" if idle is None else f"; its idle timeout of {idle} seconds stays")
        )
    if "AutoTerminationPolicy" in above:
        made["idle_timeout"] = f"{above.pop('AutoTerminationPolicy')['IdleTimeout']}s"
    for field, word in _INSTANCE_WORDS.items():
        if field in given:
            made[word] = given.pop(field)
    if given.pop("TerminationProtected", False):
        made["termination_protection"] = True
    groups = given.get("InstanceGroups", [])
    simple = [_group(group) for group in groups]
    roles = [group.get("InstanceRole") for group in groups]
    if groups and None not in simple and len(set(roles)) == len(roles):
        given.pop("InstanceGroups")
        made |= {_ROLES[role]: group for role, group in zip(roles, simple, strict=True)}
    elif set(given) >= {"MasterInstanceType"} and not groups:
        count = given.pop("InstanceCount", 1)
        made["master"] = {"type": given.pop("MasterInstanceType"), "count": 1}
        slave = given.pop("SlaveInstanceType", made["master"]["type"])
        if count > 1:
            made["core"] = {"type": slave, "count": count - 1}
    if given:
        made["overrides"] = {"Instances": given}
    return made


def _group(given: dict[str, Any]) -> dict[str, Any] | None:
    """A group in words, None where it says more than words do."""
    known = {"InstanceRole", "InstanceType", "InstanceCount", "Market", "BidPrice", "Name"}
    if set(given) - known or given.get("InstanceRole") not in _ROLES:
        return None
    made = {"type": given.get("InstanceType"), "count": given.get("InstanceCount", 1)}
    if given.get("Market") == "SPOT":
        made["market"] = "spot"
        if "BidPrice" in given:
            made["bid"] = given["BidPrice"]
    return made


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    return {**below, **above}


def _known(value: Any, what: str) -> Any:
    """A copy of a value that is known before the run in all its parts."""
    if isinstance(value, dict):
        return {key: _known(item, f"{what}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item, what) for item in value]
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    raise UntranslatableError(f"{what}: known only when it runs, and a cluster has to be written down")
