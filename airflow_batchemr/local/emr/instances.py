"""Instance groups, fleets and instances of a cluster in the format of the API."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.state import new_id

if TYPE_CHECKING:
    from airflow_batchemr.local.emr.state import Cluster

__all__ = ["instance_fleets", "instance_groups", "instances", "status_of"]


def instance_groups(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the InstanceGroups requested by JobFlowInstancesConfig, including its older form with InstanceCount."""
    wanted = config.get("InstanceGroups")
    if wanted is None and config.get("InstanceCount"):
        wanted = [{"InstanceRole": "MASTER", "InstanceType": config["MasterInstanceType"], "InstanceCount": 1}]
        if config["InstanceCount"] > 1:
            kind = config.get("SlaveInstanceType", config["MasterInstanceType"])
            wanted.append({"InstanceRole": "CORE", "InstanceType": kind, "InstanceCount": config["InstanceCount"] - 1})
    return [_group(group) for group in wanted or []]


def _group(group: dict[str, Any]) -> dict[str, Any]:
    described = {
        "Id": new_id("ig-"),
        "Name": group.get("Name", group["InstanceRole"].title()),
        # A bid alone requests Spot Instances
        "Market": group.get("Market", "SPOT" if "BidPrice" in group else "ON_DEMAND"),
        "InstanceGroupType": group["InstanceRole"],
        "InstanceType": group["InstanceType"],
        "RequestedInstanceCount": group["InstanceCount"],
        "RunningInstanceCount": group["InstanceCount"],
        "Configurations": group.get("Configurations", []),
        "EbsBlockDevices": [],
        "ShrinkPolicy": {},
    }
    if "BidPrice" in group:
        described["BidPrice"] = group["BidPrice"]
    for volume in group.get("EbsConfiguration", {}).get("EbsBlockDeviceConfigs", []):
        for number in range(volume.get("VolumesPerInstance", 1)):
            device = {"VolumeSpecification": volume["VolumeSpecification"], "Device": f"/dev/sd{chr(98 + number)}"}
            described["EbsBlockDevices"].append(device)
    return described


def instance_fleets(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the InstanceFleets requested by JobFlowInstancesConfig."""
    fleets = []
    for fleet in config.get("InstanceFleets", []):
        on_demand, spot = fleet.get("TargetOnDemandCapacity", 0), fleet.get("TargetSpotCapacity", 0)
        types = [
            {key: value for key, value in each.items() if key != "EbsConfiguration"}
            for each in fleet.get("InstanceTypeConfigs", [])
        ]
        described = {
            "Id": new_id("if-"),
            "Name": fleet.get("Name", fleet["InstanceFleetType"].title()),
            "InstanceFleetType": fleet["InstanceFleetType"],
            "TargetOnDemandCapacity": on_demand,
            "TargetSpotCapacity": spot,
            "ProvisionedOnDemandCapacity": on_demand,
            "ProvisionedSpotCapacity": spot,
            "InstanceTypeSpecifications": types,
        }
        if "LaunchSpecifications" in fleet:
            described["LaunchSpecifications"] = fleet["LaunchSpecifications"]
        fleets.append(described)
    return fleets


def instances(groups: list[dict[str, Any]], fleets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one Instance per unit of capacity, the primary node first."""
    found = []
    for group in sorted(groups, key=lambda each: each["InstanceGroupType"] != "MASTER"):
        kind, count = group["InstanceType"], group["RequestedInstanceCount"]
        found += [_instance(kind, group["Market"], InstanceGroupId=group["Id"]) for _ in range(count)]
    for fleet in sorted(fleets, key=lambda each: each["InstanceFleetType"] != "MASTER"):
        kind = next((each["InstanceType"] for each in fleet["InstanceTypeSpecifications"]), "m5.xlarge")
        for market, count in (("ON_DEMAND", fleet["TargetOnDemandCapacity"]), ("SPOT", fleet["TargetSpotCapacity"])):
            found += [_instance(kind, market, InstanceFleetId=fleet["Id"]) for _ in range(count)]
    return found


def _instance(kind: str, market: str, **belongs: str) -> dict[str, Any]:
    return {
        "Id": new_id("ci-"),
        "Ec2InstanceId": f"i-0{secrets.token_hex(8)}",
        "PublicDnsName": "localhost",
        "PublicIpAddress": "127.0.0.1",
        "PrivateDnsName": "localhost",
        "PrivateIpAddress": "127.0.0.1",
        "Market": market,
        "InstanceType": kind,
        "EbsVolumes": [],
        **belongs,
    }


def status_of(cluster: Cluster, kind: str) -> dict[str, Any]:
    """Return the Status of an instance group, fleet or instance, derived from the state of its cluster."""
    states = {
        "STARTING": "PROVISIONING",
        "BOOTSTRAPPING": "BOOTSTRAPPING",
        "TERMINATING": "TERMINATING" if kind != "INSTANCE" else "RUNNING",
        "TERMINATED": "TERMINATED",
        "TERMINATED_WITH_ERRORS": "TERMINATED",
    }
    return {
        "State": states.get(cluster.state, "RUNNING"),
        "StateChangeReason": {},
        "Timeline": {"CreationDateTime": cluster.created, **({"EndDateTime": cluster.ended} if cluster.ended else {})},
    }
