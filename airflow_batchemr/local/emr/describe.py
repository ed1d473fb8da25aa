"""Clusters and steps in the format of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.releases import applications

if TYPE_CHECKING:
    from airflow_batchemr.local.emr.state import Cluster, Step

__all__ = ["cluster_detail", "cluster_entry", "step_detail"]


def cluster_entry(cluster: Cluster) -> dict[str, Any]:
    """Return the ClusterSummary of a cluster."""
    return {
        "Id": cluster.id,
        "Name": cluster.request["Name"],
        "Status": _cluster_status(cluster),
        "NormalizedInstanceHours": len(cluster.instances),
        "ClusterArn": cluster.arn,
    }


def cluster_detail(cluster: Cluster) -> dict[str, Any]:
    """Return the Cluster structure of a cluster."""
    request = cluster.request
    config = request["Instances"]
    ec2 = {
        "Ec2KeyName": config.get("Ec2KeyName"),
        "Ec2SubnetId": config.get("Ec2SubnetId") or next(iter(config.get("Ec2SubnetIds", [])), None),
        "RequestedEc2SubnetIds": config.get("Ec2SubnetIds", []),
        "Ec2AvailabilityZone": config.get("Placement", {}).get("AvailabilityZone", f"{cluster.region}a"),
        "IamInstanceProfile": request.get("JobFlowRole"),
        "EmrManagedMasterSecurityGroup": config.get("EmrManagedMasterSecurityGroup"),
        "EmrManagedSlaveSecurityGroup": config.get("EmrManagedSlaveSecurityGroup"),
        "ServiceAccessSecurityGroup": config.get("ServiceAccessSecurityGroup"),
        "AdditionalMasterSecurityGroups": config.get("AdditionalMasterSecurityGroups", []),
        "AdditionalSlaveSecurityGroups": config.get("AdditionalSlaveSecurityGroups", []),
    }
    # Without a choice, EMR installs Hadoop
    installed = [each["Name"] for each in request.get("Applications", [])] or ["Hadoop"]
    detail = {
        **cluster_entry(cluster),
        "Ec2InstanceAttributes": {key: value for key, value in ec2.items() if value is not None},
        "InstanceCollectionType": "INSTANCE_FLEET" if cluster.fleets else "INSTANCE_GROUP",
        "ReleaseLabel": request["ReleaseLabel"],
        "AutoTerminate": not cluster.keep_alive,
        "TerminationProtected": cluster.protected,
        "VisibleToAllUsers": cluster.visible,
        "Applications": applications(request["ReleaseLabel"], installed),
        "Tags": [{"Key": key, "Value": value} for key, value in cluster.tags.items()],
        "Configurations": request.get("Configurations", []),
        "StepConcurrencyLevel": cluster.concurrency,
        "ScaleDownBehavior": request.get("ScaleDownBehavior", "TERMINATE_AT_TASK_COMPLETION"),
    }
    if cluster.ready is not None:
        detail["MasterPublicDnsName"] = "localhost"
    for key in (
        "LogUri",
        "ServiceRole",
        "SecurityConfiguration",
        "AutoScalingRole",
        "CustomAmiId",
        "EbsRootVolumeSize",
    ):
        if key in request:
            detail[key] = request[key]
    return detail


def step_detail(step: Step) -> dict[str, Any]:
    """Return the Step structure of a step; a StepSummary has the same fields."""
    jar = step.config["HadoopJarStep"]
    timeline = {"CreationDateTime": step.created, "StartDateTime": step.started, "EndDateTime": step.ended}
    status: dict[str, Any] = {
        "State": step.state,
        "StateChangeReason": {"Message": step.reason} if step.reason else {},
        "Timeline": {key: value for key, value in timeline.items() if value is not None},
    }
    if step.failure is not None:
        status["FailureDetails"] = step.failure
    config: dict[str, Any] = {
        "Jar": jar["Jar"],
        "Properties": {each["Key"]: each.get("Value", "") for each in jar.get("Properties", [])},
        "Args": jar.get("Args", []),
    }
    if "MainClass" in jar:
        config["MainClass"] = jar["MainClass"]
    return {
        "Id": step.id,
        "Name": step.config["Name"],
        "Config": config,
        "ActionOnFailure": step.action_on_failure,
        "Status": status,
    }


def _cluster_status(cluster: Cluster) -> dict[str, Any]:
    timeline = {"CreationDateTime": cluster.created, "ReadyDateTime": cluster.ready, "EndDateTime": cluster.ended}
    return {
        "State": cluster.state,
        "StateChangeReason": dict(cluster.reason),
        "Timeline": {key: value for key, value in timeline.items() if value is not None},
    }
