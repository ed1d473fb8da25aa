"""What EMR rejects although its service model allows it. The source is the API reference, unless noted."""

from __future__ import annotations

import re
from typing import Any

from airflow_batchemr.local.emr.releases import RELEASES
from airflow_batchemr.local.emr.state import CLUSTER_ENDED, Cluster, numbers
from airflow_batchemr.local.protocol import AwsError

__all__ = [
    "check_auto_termination",
    "check_concurrency",
    "check_managed_scaling",
    "check_room_for_steps",
    "check_run_job_flow",
    "check_steps",
    "check_tags",
    "invalid",
    "refuse",
    "several_masters",
]

#: Maximum number of active steps of a cluster.
MAX_ACTIVE_STEPS = 256
#: Maximum length of all strings of a step's HadoopJarStep.
MAX_STEP_TEXT = 10_240
#: Maximum number of task groups. Source: "Add or remove task instances" in the Management Guide.
MAX_TASK_GROUPS = 48
#: Maximum number of instance types of a fleet, and of one with an allocation strategy.
#: Source: "Configure instance fleets" in the Management Guide.
MAX_TYPES, MAX_TYPES_WITH_STRATEGY = 5, 30
#: Maximum number of tags, as for all resources with tags.
MAX_TAGS = 50
ACTIONS = ("TERMINATE_JOB_FLOW", "TERMINATE_CLUSTER", "CANCEL_AND_WAIT", "CONTINUE")
#: On-demand and spot targets of a master fleet.
MASTER_TARGETS = ((1, 0), (0, 1), (3, 0))
#: Dollars per hour. `OnDemandPrice` is documented but rejected (github.com/aws/aws-sdk/issues/167), and so is a fourth
#: decimal (as EMR answers in mrjob's tests).
BID = re.compile(r"\d+(\.\d{1,3})?")


def refuse(message: str) -> AwsError:
    """Return the error for a request that violates a limit."""
    return AwsError("ValidationException", message)


def invalid(message: str, members: dict[str, str] | None = None) -> AwsError:
    """Return the error for a request that refers to a missing resource."""
    return AwsError("InvalidRequestException", message, members=members)


def check_run_job_flow(request: dict[str, Any]) -> None:
    """Check the limits of RunJobFlow.

    Raises:
        AwsError: ValidationException that names the field.
    """
    label = request.get("ReleaseLabel")
    if label is None:
        raise refuse("ReleaseLabel must be given")
    if label not in RELEASES:
        raise refuse(f"The supplied release label is invalid: {label}.")
    known = {name.lower() for name in RELEASES[label]}
    for application in request.get("Applications", []):
        if application.get("Name", "").lower() not in known:
            raise refuse(f"Specified application: {application.get('Name')} is invalid for release {label}.")
    release, instances = numbers(label), request["Instances"]
    _check_instances(instances, release)
    concurrency = request.get("StepConcurrencyLevel", 1)
    check_concurrency(concurrency, release)
    if len(request.get("BootstrapActions", [])) > 16:
        raise refuse(f"at most 16 bootstrap actions, not {len(request['BootstrapActions'])}")
    if len(request.get("Steps", [])) > MAX_ACTIVE_STEPS:
        raise refuse(f"Maximum number of steps is {MAX_ACTIVE_STEPS}, not {len(request['Steps'])}")
    check_steps(request.get("Steps", []), concurrency)
    check_auto_termination(request.get("AutoTerminationPolicy"), release)
    check_managed_scaling(request.get("ManagedScalingPolicy"), release, fleets="InstanceFleets" in instances)
    check_tags(request.get("Tags", []))
    for role in ("ServiceRole", "JobFlowRole"):
        if not request.get(role):
            raise refuse(f"{role} must be given")


def _check_instances(instances: dict[str, Any], release: tuple[int, ...]) -> None:
    uniform = any(instances.get(key) for key in ("InstanceCount", "MasterInstanceType", "SlaveInstanceType"))
    groups, fleets = instances.get("InstanceGroups", []), instances.get("InstanceFleets", [])
    if [uniform, bool(groups), bool(fleets)].count(True) != 1:
        raise refuse(
            "Please configure instances using one and only one of the following: instance groups; instance fleets; "
            "instance count, master and slave instance type."
        )
    if uniform and not (instances.get("InstanceCount", 0) >= 1 and instances.get("MasterInstanceType")):
        raise refuse("InstanceCount, which must be at least 1, and MasterInstanceType must be given together")
    subnets = instances.get("Ec2SubnetIds", [])
    if (len(subnets) > 1 and not fleets) or (subnets and instances.get("Ec2SubnetId")):
        raise refuse("Ec2SubnetIds is for instance fleets, other clusters have one Ec2SubnetId; not both")
    _check_roles([group["InstanceRole"] for group in groups], "group", MAX_TASK_GROUPS)
    _check_roles([fleet["InstanceFleetType"] for fleet in fleets], "fleet", 1)
    for group in groups:
        _check_group(group)
    for fleet in fleets:
        _check_fleet(fleet)
    if several_masters(instances) and release < (5, 23):
        raise refuse("a cluster with 3 master nodes needs release 5.23.0 or later")


def several_masters(instances: dict[str, Any]) -> bool:
    """Whether a cluster has 3 master nodes. EMR protects it from termination and keeps it alive, whatever is requested.

    Source: "Plan, configure and launch clusters with multiple primary nodes" in the Management Guide.
    """
    groups, fleets = instances.get("InstanceGroups", []), instances.get("InstanceFleets", [])
    counts = [group["InstanceCount"] for group in groups if group["InstanceRole"] == "MASTER"]
    counts += [fleet.get("TargetOnDemandCapacity", 0) for fleet in fleets if fleet["InstanceFleetType"] == "MASTER"]
    return any(count > 1 for count in counts)


def _check_roles(roles: list[str], kind: str, most_tasks: int) -> None:
    if roles and roles.count("MASTER") != 1:
        raise refuse(f"there must be exactly one instance {kind} with the role MASTER, not {roles.count('MASTER')}")
    if roles.count("CORE") > 1 or ("TASK" in roles and "CORE" not in roles):
        raise refuse(f"at most one instance {kind} may have the role CORE, and the role TASK requires one")
    if roles.count("TASK") > most_tasks:
        raise refuse(f"at most {most_tasks} of the role TASK, not {roles.count('TASK')}")


def _check_group(group: dict[str, Any]) -> None:
    role, count = group["InstanceRole"], group["InstanceCount"]
    if role == "MASTER" and count not in (1, 3):
        raise refuse(f"The master instance group must have an instance count of 1 or 3, not {count}")
    if count < 1:
        raise refuse(f"InstanceCount of the {role} group must be at least 1")
    if "BidPrice" in group and group.get("Market") == "ON_DEMAND":
        raise refuse(f"Attempted to set bid price for on demand instance group: {role}")
    _check_price(group)
    _check_volumes(group)


def _check_price(config: dict[str, Any]) -> None:
    bid = config.get("BidPrice")
    if bid is not None and (not BID.fullmatch(bid) or float(bid) <= 0):
        raise refuse(f"The bid price is invalid. Revise the configuration and resubmit: {bid}")
    if bid is not None and "BidPriceAsPercentageOfOnDemandPrice" in config:
        raise refuse("BidPrice and BidPriceAsPercentageOfOnDemandPrice may not be given together")


def _check_volumes(config: dict[str, Any]) -> None:
    for device in config.get("EbsConfiguration", {}).get("EbsBlockDeviceConfigs", []):
        volume = device["VolumeSpecification"]
        kind = volume["VolumeType"]
        if kind not in ("gp3", "gp2", "io1", "st1", "sc1", "standard"):
            raise refuse(f"VolumeType must be gp3, gp2, io1, st1, sc1 or standard, not {kind}")
        if kind == "io1" and "Iops" not in volume:
            raise refuse("Iops must be given for volumes of the type io1")
        if "Throughput" in volume and kind != "gp3":
            raise refuse(f"Throughput is only valid for volumes of the type gp3, not {kind}")


def _check_fleet(fleet: dict[str, Any]) -> None:
    role, types = fleet["InstanceFleetType"], fleet.get("InstanceTypeConfigs", [])
    target = fleet.get("TargetOnDemandCapacity", 0), fleet.get("TargetSpotCapacity", 0)
    if not sum(target):
        raise refuse(f"the {role} fleet has a target capacity of 0")
    if role == "MASTER" and target not in MASTER_TARGETS:
        raise refuse("a MASTER fleet has one target capacity, on-demand or spot, which must be 1, or 3 on-demand")
    launch = fleet.get("LaunchSpecifications", {})
    strategy = any("AllocationStrategy" in specification for specification in launch.values())
    most = MAX_TYPES_WITH_STRATEGY if strategy else MAX_TYPES
    if not 1 <= len(types) <= most:
        raise refuse(f"the {role} fleet must have 1 to {most} InstanceTypeConfigs, not {len(types)}")
    spot = launch.get("SpotSpecification")
    if spot is not None and not 5 <= spot["TimeoutDurationMinutes"] <= 1440:
        raise refuse(f"TimeoutDurationMinutes must be between 5 and 1440, not {spot['TimeoutDurationMinutes']}")
    for each in types:
        if each.get("WeightedCapacity", 1) < 1 or (role == "MASTER" and each.get("WeightedCapacity", 1) != 1):
            raise refuse(
                f"WeightedCapacity of {each['InstanceType']} must be {'' if role == 'MASTER' else 'at least '}1"
            )
        _check_price(each)
        _check_volumes(each)


def check_concurrency(level: int, release: tuple[int, ...]) -> None:
    """Check a step concurrency level.

    Raises:
        AwsError: ValidationException.
    """
    if not 1 <= level <= 256:
        raise refuse(f"StepConcurrencyLevel must be between 1 and 256, not {level}")
    if level > 1 and release < (5, 28):
        raise refuse("a StepConcurrencyLevel above 1 needs release 5.28.0 or later")


def check_steps(steps: list[dict[str, Any]], concurrency: int) -> None:
    """Check the limits of steps in RunJobFlow or AddJobFlowSteps.

    Raises:
        AwsError: ValidationException.
    """
    for step in steps:
        action = step.get("ActionOnFailure", "CONTINUE")
        if action not in ACTIONS:
            raise refuse(f"ActionOnFailure must be one of {', '.join(ACTIONS)}, not {action}")
        if concurrency > 1 and action != "CONTINUE":
            raise refuse(f"ActionOnFailure {action} is not valid with a StepConcurrencyLevel of {concurrency}")
        jar = step["HadoopJarStep"]
        texts = [jar["Jar"], jar.get("MainClass", ""), *jar.get("Args", [])]
        texts += [text for each in jar.get("Properties", []) for text in each.values()]
        if sum(len(text) for text in texts) > MAX_STEP_TEXT:
            raise refuse(f"the strings of step {step['Name']} are longer than {MAX_STEP_TEXT} characters in total")


def check_room_for_steps(cluster: Cluster, count: int) -> None:
    """Check that a cluster accepts a number of additional steps.

    Raises:
        AwsError: The cluster has ended, or would have too many active steps.
    """
    if cluster.state in CLUSTER_ENDED or cluster.state == "TERMINATING":
        raise refuse(f"A job flow that is shutting down, terminated, or finished may not be modified: {cluster.id}")
    if not 1 <= count <= MAX_ACTIVE_STEPS or len(cluster.active_steps()) + count > MAX_ACTIVE_STEPS:
        raise refuse(
            "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') for cluster exceeded: "
            f"{MAX_ACTIVE_STEPS}"
        )


def check_auto_termination(policy: dict[str, Any] | None, release: tuple[int, ...]) -> None:
    """Check the limits of an auto-termination policy.

    Raises:
        AwsError: ValidationException.
    """
    if policy is None:
        return
    if not 60 <= policy.get("IdleTimeout", 3600) <= 604_800:
        raise refuse(f"IdleTimeout must be between 60 and 604800 seconds, not {policy['IdleTimeout']}")
    _check_policy_release("an auto-termination policy", release)


def check_managed_scaling(policy: dict[str, Any] | None, release: tuple[int, ...], *, fleets: bool) -> None:
    """Check the limits of a managed scaling policy.

    Raises:
        AwsError: ValidationException.
    """
    if policy is None:
        return
    _check_policy_release("a managed scaling policy", release)
    limits = policy.get("ComputeLimits")
    if limits is None:
        raise refuse("ComputeLimits must be given in a managed scaling policy")
    if (limits["UnitType"] == "InstanceFleetUnits") != fleets:
        raise refuse(
            f"UnitType {limits['UnitType']} is not valid for a cluster with instance {'fleets' if fleets else 'groups'}"
        )
    most = limits["MaximumCapacityUnits"]
    if not 1 <= limits["MinimumCapacityUnits"] <= most:
        raise refuse(f"MinimumCapacityUnits must be between 1 and MaximumCapacityUnits ({most})")
    for name in ("MaximumOnDemandCapacityUnits", "MaximumCoreCapacityUnits"):
        if not 0 <= limits.get(name, 0) <= most:
            raise refuse(f"{name} must be at most MaximumCapacityUnits ({most}), not {limits[name]}")


def _check_policy_release(what: str, release: tuple[int, ...]) -> None:
    if release < (5, 30) or release[:2] == (6, 0):
        raise refuse(f"{what} needs release 5.30.0 or later, other than 6.0.0")


def check_tags(tags: list[dict[str, str]], present: int = 0) -> None:
    """Check tags of a cluster that has a number of other tags.

    Raises:
        AwsError: ValidationException.
    """
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise refuse(
                f"a tag's Key has 1 to 128 characters, not beginning with aws:, its Value at most 256: {key!r}"
            )
    if present + len(tags) > MAX_TAGS:
        raise refuse(f"at most {MAX_TAGS} tags, not {present + len(tags)}")
