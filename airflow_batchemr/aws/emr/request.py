"""The RunJobFlow request of an `emr:` block, checked before the call."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import instances
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.validation import check_request, deep_merge
from airflow_batchemr.core.emr_releases import supports_idle_timeout
from airflow_batchemr.core.tags import tags_problem
from airflow_batchemr.pipeline_file.checks.steps import STEP_LENGTH, total_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.pipeline_file.models import Emr

#: Release of a cluster that names none: Spark 3.5, Hadoop 3.4.
RELEASE = "emr-7.5.0"
#: The roles that `aws emr create-default-roles` creates, which are Sundial's defaults, too.
SERVICE_ROLE, INSTANCE_ROLE = "EMR_DefaultRole", "EMR_EC2_DefaultRole"
#: Seconds after which an idle cluster ends itself: a cluster that waits for steps of other jobs, and one that has its
#: steps from the start. The latter ends with its steps; its timeout is only a safeguard, and long, because EMR
#: considers a cluster idle while a step outside YARN runs.
IDLE_TIMEOUT_STAYING, IDLE_TIMEOUT_ENDING = 4 * 3600, 24 * 3600
#: EMR: steps per RunJobFlow.
STEPS_AT_CREATION = 256
_SECURITY_GROUPS = {
    "master": "EmrManagedMasterSecurityGroup",
    "core": "EmrManagedSlaveSecurityGroup",
    "service": "ServiceAccessSecurityGroup",
    "additional_master": "AdditionalMasterSecurityGroups",
    "additional_core": "AdditionalSlaveSecurityGroups",
}


@dataclass(frozen=True)
class Variant:
    """One of the variants of a cluster, which are tried in order if AWS cannot start it."""

    types: int = 0
    """Position in the lists of instance types."""
    subnet: int = 0
    """Position in the list of subnets."""


def variants(emr: Emr) -> list[Variant]:
    """All variants of the cluster, in the order in which they are tried: every subnet, then the next type."""
    subnets = len(emr.subnets or []) if emr.fleets is None else 0
    return [Variant(types, subnet) for types in range(instances.choices(emr)) for subnet in range(max(subnets, 1))]


def run_job_flow_request(
    emr: Emr,
    *,
    name: str,
    tags: Mapping[str, str],
    steps: Sequence[Mapping[str, Any]] = (),
    stays: bool = False,
    variant: Variant | None = None,
    bootstrap: Sequence[Mapping[str, Any]] = (),
    configurations: Sequence[Mapping[str, Any]] = (),
    needed: Sequence[str] = (),
) -> dict[str, Any]:
    """Build the request and check it against botocore's model.

    Args:
        emr: the block, of a new cluster.
        name: deterministic name of the cluster.
        tags: in addition to the block's own, which they override.
        steps: StepConfigs; at most 256.
        stays: whether the cluster waits for more when its steps are done.
        variant: which of `variants(emr)`.
        bootstrap: generated bootstrap actions, which run after the block's own.
        configurations: generated classifications, which the block's own replace.
        needed: applications that the steps need.

    Raises:
        InvalidRequest: names the option or field that EMR would refuse.
    """
    chosen = variant or Variant()
    release = emr.release or RELEASE
    stays = stays or emr.several_masters  # EMR keeps such a cluster alive, whatever the request says
    machines: dict[str, Any] = {
        "KeepJobFlowAliveWhenNoSteps": stays,
        "TerminationProtected": emr.termination_protection,
    }
    if emr.fleets is not None:
        machines["InstanceFleets"] = instances.fleets(emr)
        if emr.subnets:
            machines["Ec2SubnetIds"] = list(emr.subnets)
    else:
        if emr.type or emr.master:
            machines["InstanceGroups"] = instances.groups(emr, chosen.types)
        if emr.subnets:
            machines["Ec2SubnetId"] = emr.subnets[chosen.subnet]
    machines.update(_security(emr))
    request: dict[str, Any] = {
        "Name": name,
        "ReleaseLabel": release,
        "Applications": [{"Name": application} for application in applications(emr, needed)],
        "ServiceRole": emr.service_role or SERVICE_ROLE,
        "JobFlowRole": emr.instance_role or INSTANCE_ROLE,
        "VisibleToAllUsers": emr.visible,
        "Instances": machines,
        "Tags": [{"Key": key, "Value": value} for key, value in {**emr.tags, **tags}.items()],
    }
    named = {one.get("Classification") for one in emr.configurations}  # EMR refuses duplicates
    generated = [dict(one) for one in configurations if one["Classification"] not in named]
    optional = {
        "LogUri": emr.log_uri,
        "SecurityConfiguration": emr.security_configuration,
        "CustomAmiId": emr.custom_ami,
        "Configurations": [*emr.configurations, *generated],
        "BootstrapActions": [*_bootstrap(emr), *bootstrap],
        "Steps": [dict(step) for step in steps],
        "StepConcurrencyLevel": emr.step_concurrency if emr.step_concurrency > 1 else None,
        "ManagedScalingPolicy": _scaling(emr),
    }
    request.update({field: value for field, value in optional.items() if value})
    request = deep_merge(request, emr.overrides)
    label = str(request.get("ReleaseLabel", release))
    idle = emr.keep_alive or emr.idle_timeout or (IDLE_TIMEOUT_STAYING if stays else IDLE_TIMEOUT_ENDING)
    if supports_idle_timeout(label):
        request.setdefault("AutoTerminationPolicy", {"IdleTimeout": idle})
    _check(request)
    if (emr.keep_alive or emr.idle_timeout) and not supports_idle_timeout(label):
        option = "keep_alive" if emr.keep_alive else "idle_timeout"
        raise InvalidRequest(
            f"{option}: clusters of {label} cannot end themselves when they are idle: use emr-5.30, emr-6.1 or later"
        )
    return request


def applications(emr: Emr, needed: Sequence[str] = ()) -> list[str]:
    """The applications of the cluster: those of the block, else Hadoop, Spark and what the steps need.

    Spark includes Hadoop without s3-dist-cp and MapReduce, so Hadoop is added if steps copy.
    """
    if emr.applications is None:
        return sorted({"Hadoop", "Spark", *needed})
    named = {name.lower() for name in emr.applications}
    return [*emr.applications, *(["Hadoop"] if "Hadoop" in needed and "hadoop" not in named else [])]


def _security(emr: Emr) -> dict[str, Any]:
    made: dict[str, Any] = {"Ec2KeyName": emr.key_pair} if emr.key_pair else {}
    for option, names in emr.security_groups.items():
        if option.startswith("additional_"):
            made[_SECURITY_GROUPS[option]] = list(names)
        elif names:
            made[_SECURITY_GROUPS[option]] = names[0]
    return made


def _bootstrap(emr: Emr) -> list[dict[str, Any]]:
    return [
        {
            "Name": action.name or posixpath.basename(action.path) or "bootstrap",
            "ScriptBootstrapAction": {"Path": action.path, "Args": list(action.args)},
        }
        for action in emr.bootstrap
    ]


def _scaling(emr: Emr) -> dict[str, Any] | None:
    scaling = emr.managed_scaling
    if scaling is None:
        return None
    limits = {
        "UnitType": "InstanceFleetUnits" if emr.fleets else "Instances",
        "MinimumCapacityUnits": scaling.minimum,
        "MaximumCapacityUnits": scaling.maximum,
        "MaximumOnDemandCapacityUnits": scaling.maximum_on_demand,
        "MaximumCoreCapacityUnits": scaling.maximum_core,
    }
    return {"ComputeLimits": {field: value for field, value in limits.items() if value is not None}}


def _check(request: Mapping[str, Any]) -> None:
    check_request("emr", "RunJobFlow", request)
    machines = request["Instances"]
    if machines.get("InstanceGroups") and machines.get("InstanceFleets"):
        raise InvalidRequest("overrides: instance groups and instance fleets cannot be mixed")
    if not any(machines.get(field) for field in ("InstanceGroups", "InstanceFleets", "MasterInstanceType")):
        raise InvalidRequest("emr: the cluster has no instances: write `type` and `instances`, groups, or `fleets`")
    steps = request.get("Steps", [])
    if len(steps) > STEPS_AT_CREATION:
        raise InvalidRequest(f"steps: RunJobFlow accepts {STEPS_AT_CREATION} steps, not {len(steps)}")
    if problem := tags_problem({tag["Key"]: tag["Value"] for tag in request["Tags"]}):
        raise InvalidRequest(f"tags: {problem}")
    check_steps(steps, int(request.get("StepConcurrencyLevel", 1)))


def check_steps(steps: Sequence[Mapping[str, Any]], concurrency: int) -> None:
    """Check StepConfigs against the limits of EMR and the step concurrency of the cluster.

    Raises:
        InvalidRequest: EMR would refuse a step, or it would end the cluster or cancel others while others run.
    """
    check_request("emr", "AddJobFlowSteps", {"JobFlowId": "", "Steps": list(steps)})
    for step in steps:
        length = total_length(step.get("HadoopJarStep"))
        if length > STEP_LENGTH:
            raise InvalidRequest(
                f"steps: EMR accepts {STEP_LENGTH:,} characters in the arguments of a step, not {length:,} (step "
                f"{step['Name']!r}): store long lists in a file on S3"
            )
        action = step.get("ActionOnFailure", "CONTINUE")
        if concurrency > 1 and action != "CONTINUE":
            raise InvalidRequest(
                f"on_failure: with step_concurrency {concurrency} EMR accepts only `continue`, not "
                f"`{str(action).lower()}` (step {step['Name']!r})"
            )


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a request or an answer of boto3 to plain JSON values: times become ISO strings."""
    made: dict[str, Any] = json.loads(json.dumps(value, default=lambda item: item.isoformat()))
    return made
