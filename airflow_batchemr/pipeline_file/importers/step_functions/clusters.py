"""Translate the parameters of createCluster (RunJobFlow) to an entry of `clusters`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.emr_releases import supports_idle_timeout
from airflow_batchemr.core.tags import tag_problem
from airflow_batchemr.pipeline_file.importers.step_functions.api import copied, map_key
from airflow_batchemr.pipeline_file.importers.step_functions.values import Given, UntranslatableError
from airflow_batchemr.pipeline_file.models.base import is_template

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.members import Members
    from airflow_batchemr.pipeline_file.importers.step_functions.values import Writer
    from airflow_batchemr.pipeline_file.importers.translation import ImportPosition

#: Keys of the parameters that have a direct equivalent.
_KEYS = {
    "ServiceRole": "service_role",
    "JobFlowRole": "instance_role",
    "SecurityConfiguration": "security_configuration",
    "CustomAmiId": "custom_ami",
}
_ROLES = {"MASTER": "master", "CORE": "core", "TASK": "task"}
#: Roles of the groups that an `emr` block can have.
_COMPLETE = ({"MASTER"}, {"MASTER", "CORE"}, {"MASTER", "CORE", "TASK"})
_GROUP_KEYS = {"InstanceRole", "InstanceType", "InstanceCount", "Market", "BidPrice", "Name"}
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


class ClusterImport:
    """Translates one createCluster.

    Args:
        given: its parameters.
        write: writes the text.
        place: position of the cluster.
    """

    def __init__(self, given: Members, write: Writer, place: ImportPosition) -> None:
        self.given = given
        self.write = write
        self.place = place
        self.overrides: dict[str, Any] = {}

    def cluster(self) -> dict[str, Any]:
        """Translate the cluster; parameters without an equivalent are copied to `overrides`.

        Raises:
            UntranslatableError: if a parameter is unknown, or only known at run time.
        """
        given, result = self.given, dict[str, Any]()
        given.skip("Steps", "StepExecutionRoleArn")  # of the job that runs them
        if "AmiVersion" in given or "ReleaseLabel" not in given:
            raise UntranslatableError("ReleaseLabel is required: EMR no longer starts clusters of an AmiVersion")
        result["release"] = self._format(
            "ReleaseLabel", r"emr-\d+\.\d+(\.\d+)?(-latest)?", "a release such as emr-7.5.0"
        )
        if "LogUri" in given:
            result["log_uri"] = self._format("LogUri", r"s3[an]?://.+", "an S3 URI")
        for field, key in _KEYS.items():
            if field in given:
                result[key] = self._text(field)
        result |= self._applications()
        result |= self._instances(given.members("Instances"))
        release = result["release"]
        if "AutoTerminationPolicy" not in given and (is_template(release) or supports_idle_timeout(release)):
            self.place.note("the cluster terminates itself if it is idle for 4 hours; `idle_timeout` sets another time")
        if "Configurations" in given and given.get("Configurations"):
            result["configurations"] = copied(
                given.get("Configurations"), "emr", "RunJobFlow.Configurations", "Configurations", self.write
            )
        if given.fixed("VisibleToAllUsers", bool) is False:
            result["visible"] = False
        if (level := given.fixed("StepConcurrencyLevel", int)) not in (None, 1):
            result["step_concurrency"] = level
        if actions := given.items("BootstrapActions"):
            result["bootstrap"] = [self._bootstrap(action) for action in actions]
        if tags := self._tags():
            result["tags"] = tags
        self.overrides |= copied(given.rest(), "emr", "RunJobFlow", "", self.write)
        return {**result, "overrides": self.overrides} if self.overrides else result

    def _text(self, name: str) -> str:
        return self.write.text(self.given.get(name), name)

    def _format(self, name: str, pattern: str, expected: str) -> str:
        """A parameter whose format is checked when the file is loaded: a substitution has no valid value yet."""
        text = self._text(name)
        if not re.fullmatch(pattern, text) and "{{" not in text:
            raise UntranslatableError(f"{name} is not {expected}: {text}. Replace it and import again")
        return text

    def _applications(self) -> dict[str, Any]:
        """The applications; none if there are none, instead of those that a pipeline file installs by default."""
        given = self.given.items("Applications")
        names = [self.write.text(item.get("Name"), item.path("Name")) for item in given]
        if not any(item.rest() for item in given):
            return {"applications": names}
        applications = self.given.get("Applications")
        self.overrides["Applications"] = copied(
            applications, "emr", "RunJobFlow.Applications", "Applications", self.write
        )
        return {}

    def _bootstrap(self, action: Members) -> dict[str, Any]:
        script = action.members("ScriptBootstrapAction")
        result: dict[str, Any] = {"path": self.write.text(script.get("Path"), script.path("Path"))}
        if not re.match(r"s3[an]?://|file:/|\{\{", result["path"]):
            raise UntranslatableError(
                f"{script.path('Path')} is neither an S3 URI nor a file: URI: {result['path']}. Replace it and import "
                "again"
            )
        result["name"] = self.write.text(action.get("Name"), action.path("Name"))
        if args := script.constant("Args", list, []):
            result["args"] = [self.write.text(argument, script.path("Args")) for argument in args]
        return result

    def _tags(self) -> dict[str, str]:
        tags = {
            map_key(item.constant("Key", str), "Tags"): self.write.text(item.get("Value", ""), item.path("Value"))
            for item in self.given.items("Tags")
        }
        if "Name" not in self.given:
            return tags
        name = self.given.get("Name")
        refused = isinstance(name, str) and "${" not in name and tag_problem("Name", name)
        try:
            tags = tags if refused else {"Name": self._text("Name")} | tags
        except UntranslatableError:
            refused = "it is only known at run time"
        if refused:
            self.place.at(source=["Parameters"]).note(f"the cluster's Name is omitted: {refused}")
            return tags
        self.place.at("tags", "Name", source=["Parameters"]).note(
            "was the cluster's name. Clusters are now named after their run, so that they are found again after a "
            "crash; the old name is kept as a tag"
        )
        return tags

    def _instances(self, given: Members) -> dict[str, Any]:
        result: dict[str, Any] = {}
        given.skip("KeepJobFlowAliveWhenNoSteps")
        self.place.note(
            "the cluster is created before its first job and terminated after its last one, as with "
            "KeepJobFlowAliveWhenNoSteps and terminateCluster"
        )
        policy = self.given.members("AutoTerminationPolicy")
        if (idle := policy.fixed("IdleTimeout", int)) is not None:
            result["idle_timeout"] = f"{idle}s"
        self._override("AutoTerminationPolicy", policy)
        for field, key in (("Ec2KeyName", "key_pair"), ("Ec2SubnetId", "subnets")):
            if field in given:
                result[key] = self.write.text(given.get(field), given.path(field))
        if given.constant("TerminationProtected", bool, default=False):
            result["termination_protection"] = True
        result |= self._groups(given)
        self._override("Instances", given)
        return result

    def _override(self, name: str, given: Members) -> None:
        """Copy the members of a structure that have not been read."""
        if rest := copied(given.rest(), "emr", f"RunJobFlow.{name}", name, self.write):
            self.overrides[name] = rest

    def _groups(self, given: Members) -> dict[str, Any]:
        """Instance groups with an equivalent; others are left for `overrides`."""
        groups = given.constant("InstanceGroups", list, [])
        simple = [self._group(group) for group in groups]
        roles = [str(group["InstanceRole"]) if made else "" for group, made in zip(groups, simple, strict=True)]
        if groups and all(simple) and len(set(roles)) == len(roles) and set(roles) in _COMPLETE:
            given.skip("InstanceGroups")
            names = [group["Name"] for group in groups if "Name" in group]
            if names:
                self.place.note(
                    f"the instance groups have the Names master, core and task, instead of {', '.join(names)}"
                )
            return {_ROLES[role]: made for role, made in zip(roles, simple, strict=True)}
        given.forget("InstanceGroups")
        master = given.get("MasterInstanceType")
        slave, count = given.get("SlaveInstanceType", master), given.get("InstanceCount", 1)
        fixed = _is_type(master) and _is_type(slave) and type(count) is int and 1 <= count <= 4000
        if groups or not fixed:
            given.forget("MasterInstanceType", "SlaveInstanceType", "InstanceCount")
            return {}
        self.place.note("MasterInstanceType, SlaveInstanceType and InstanceCount are written as instance groups")
        result: dict[str, Any] = {"master": {"type": master, "count": 1}}
        if count > 1:
            result["core"] = {"type": slave, "count": count - 1}
        return result

    def _group(self, given: Any) -> dict[str, Any] | None:
        """Translate an instance group; None if it has parameters without an equivalent."""
        if not isinstance(given, dict) or set(given) - _GROUP_KEYS or given.get("InstanceRole") not in list(_ROLES):
            return None
        kind, count, name = given.get("InstanceType"), given.get("InstanceCount", 1), given.get("Name", "")
        market, bid = given.get("Market", "ON_DEMAND"), given.get("BidPrice")
        if not _is_type(kind) or not isinstance(name, str):
            return None
        if isinstance(count, Given):
            count = self.write.text(count, "InstanceCount")
        elif (
            type(count) is not int
            or not 1 <= count <= 4000
            or (given["InstanceRole"] == "MASTER" and count not in {1, 3})
        ):
            return None
        result: dict[str, Any] = {"type": kind, "count": count}
        if market == "ON_DEMAND" and bid is None:
            return result
        if market != "SPOT":
            return None
        if bid is None:
            return {**result, "market": "spot"}
        priced = isinstance(bid, str) and re.fullmatch(r"\d+(\.\d+)?", bid) and float(bid)
        return {**result, "market": "spot", "bid": bid} if priced else None


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and _TYPE.fullmatch(value) is not None
