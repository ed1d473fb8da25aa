"""Limits of EMR that are not part of its service model."""

from __future__ import annotations

from typing import Any

from airflow_batchemr.local.emr.releases import RELEASES
from airflow_batchemr.local.emr.state import CLUSTER_ENDED, Cluster
from airflow_batchemr.local.protocol import AwsError

__all__ = ["check_auto_termination", "check_room_for_steps", "check_run_job_flow", "check_steps", "invalid", "refuse"]

#: Maximum number of active steps of a cluster.
MAX_ACTIVE_STEPS = 256
ACTIONS = ("TERMINATE_JOB_FLOW", "TERMINATE_CLUSTER", "CANCEL_AND_WAIT", "CONTINUE")


def refuse(message: str) -> AwsError:
    """Return the error for a request that violates a limit."""
    return AwsError("ValidationException", message)


def invalid(message: str) -> AwsError:
    """Return the error for a request that refers to a missing resource."""
    return AwsError("InvalidRequestException", message)


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
    instances = request["Instances"]
    kinds = [key for key in ("InstanceGroups", "InstanceFleets", "InstanceCount") if instances.get(key)]
    if len(kinds) != 1:
        raise refuse(
            f"exactly one of InstanceGroups, InstanceFleets and InstanceCount must be set, not {kinds or 'none'}"
        )
    _check_instances(instances)
    concurrency = request.get("StepConcurrencyLevel", 1)
    if not 1 <= concurrency <= 256:
        raise refuse(f"StepConcurrencyLevel must be between 1 and 256, not {concurrency}")
    if len(request.get("BootstrapActions", [])) > 16:
        raise refuse(f"at most 16 bootstrap actions, not {len(request['BootstrapActions'])}")
    if len(request.get("Steps", [])) > MAX_ACTIVE_STEPS:
        raise refuse(f"Maximum number of steps is {MAX_ACTIVE_STEPS}, not {len(request['Steps'])}")
    check_steps(request.get("Steps", []), concurrency)
    check_auto_termination(request.get("AutoTerminationPolicy"))
    for role in ("ServiceRole", "JobFlowRole"):
        if not request.get(role):
            raise refuse(f"{role} must be given")


def _check_instances(instances: dict[str, Any]) -> None:
    if instances.get("InstanceCount") and not instances.get("MasterInstanceType"):
        raise refuse("MasterInstanceType must be given with InstanceCount")
    groups = instances.get("InstanceGroups", [])
    roles = [group["InstanceRole"] for group in groups]
    if groups and roles.count("MASTER") != 1:
        raise refuse("there must be exactly one instance group with the role MASTER")
    if roles.count("CORE") > 1 or ("TASK" in roles and "CORE" not in roles):
        raise refuse("at most one instance group may have the role CORE, and TASK groups require one")
    for group in groups:
        if group["InstanceCount"] < 1:
            raise refuse(f"InstanceCount of the {group['InstanceRole']} group must be at least 1")
        bid = group.get("BidPrice")
        if bid is not None and not bid.replace(".", "", 1).isdecimal():
            raise refuse(f"BidPrice is not a number: {bid}")
    fleets = [fleet["InstanceFleetType"] for fleet in instances.get("InstanceFleets", [])]
    if fleets and fleets.count("MASTER") != 1:
        raise refuse("there must be exactly one instance fleet of the type MASTER")
    if len(fleets) != len(set(fleets)):
        raise refuse("at most one instance fleet of each type")
    for fleet in instances.get("InstanceFleets", []):
        if not fleet.get("TargetOnDemandCapacity", 0) + fleet.get("TargetSpotCapacity", 0):
            raise refuse(f"the {fleet['InstanceFleetType']} fleet has a target capacity of 0")


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
        if sum(len(argument) for argument in step["HadoopJarStep"].get("Args", [])) > 10_280:
            raise refuse(f"the arguments of step {step['Name']} are longer than 10280 characters")


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


def check_auto_termination(policy: dict[str, Any] | None) -> None:
    """Check the limits of an auto-termination policy.

    Raises:
        AwsError: ValidationException.
    """
    if policy is not None and not 60 <= policy.get("IdleTimeout", 3600) <= 604_800:
        raise refuse(f"IdleTimeout must be between 60 and 604800 seconds, not {policy['IdleTimeout']}")
