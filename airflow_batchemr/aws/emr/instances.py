"""The instances of a cluster: RunJobFlow's Instances from the options of `emr:`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.models import Emr, Fleet, Group
    from airflow_batchemr.pipeline_file.models.instances import Ebs

_ROLES = ("master", "core", "task")


def groups(emr: Emr, choice: int) -> list[dict[str, Any]]:
    """Instance groups; `choice` selects among the instance types that a group lists, or the last one."""
    if emr.type is None:
        return [
            _group(role, group, group.count, group.market, choice)
            for role in _ROLES
            if (group := getattr(emr, role)) is not None
        ]
    made = [_group("master", emr, 1, "on_demand", choice)]
    workers = (emr.instances or 1) - 1
    return [*made, _group("core", emr, workers, emr.market or "on_demand", choice)] if workers else made


def fleets(emr: Emr) -> list[dict[str, Any]]:
    """Instance fleets."""
    return [_fleet(role, fleet) for role in _ROLES if (fleet := getattr(emr.fleets, role, None)) is not None]


def choices(emr: Emr) -> int:
    """How many instance types there are to try, one after another; fleets choose among their own types."""
    if emr.fleets is not None:
        return 1
    lists = [emr.type] if emr.type else [getattr(emr, role).type for role in _ROLES if getattr(emr, role)]
    return max((len(types) for types in lists), default=1)


def _group(role: str, options: Emr | Group, count: int, market: str, choice: int) -> dict[str, Any]:
    types = options.type or []
    made: dict[str, Any] = {
        "Name": role,
        "InstanceRole": role.upper(),
        "InstanceType": types[min(choice, len(types) - 1)],
        "InstanceCount": count,
        "Market": market.upper(),
        **_ebs(options.ebs),
    }
    if market == "spot" and options.bid:  # without a bid EMR bids the on-demand price
        made["BidPrice"] = options.bid
    return made


def _fleet(role: str, fleet: Fleet) -> dict[str, Any]:
    types = []
    for one in fleet.types:
        config: dict[str, Any] = {"InstanceType": one.type, **_ebs(one.ebs)}
        if role != "master":  # EMR counts the only master as 1 in any case
            config["WeightedCapacity"] = one.weight
        if fleet.spot:
            config.update({"BidPrice": one.bid} if one.bid else {"BidPriceAsPercentageOfOnDemandPrice": 100.0})
        types.append(config)
    launch: dict[str, Any] = {}
    if fleet.spot:
        launch["SpotSpecification"] = {
            "TimeoutDurationMinutes": -(-fleet.spot_timeout // 60),
            "TimeoutAction": fleet.on_timeout.upper(),
            **({"AllocationStrategy": fleet.allocation} if fleet.allocation else {}),
        }
    if fleet.on_demand and (fleet.allocation or len(fleet.types) > 5):  # EMR accepts more than 5 types only with it
        launch["OnDemandSpecification"] = {"AllocationStrategy": "lowest-price"}
    return {
        "Name": role,
        "InstanceFleetType": role.upper(),
        "TargetOnDemandCapacity": fleet.on_demand,
        "TargetSpotCapacity": fleet.spot,
        "InstanceTypeConfigs": types,
        **({"LaunchSpecifications": launch} if launch else {}),
    }


def _ebs(volumes: Ebs | None) -> dict[str, Any]:
    """The field of a group or type for EBS volumes of each instance; empty for EMR's default."""
    if volumes is None:
        return {}
    options = {
        "VolumeType": volumes.type,
        "SizeInGB": volumes.size,
        "Iops": volumes.iops,
        "Throughput": volumes.throughput,
    }
    volume = {field: value for field, value in options.items() if value is not None}
    device = {"VolumeSpecification": volume, "VolumesPerInstance": volumes.count}
    return {"EbsConfiguration": {"EbsBlockDeviceConfigs": [device]}}
