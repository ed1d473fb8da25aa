"""The instances of a cluster: RunJobFlow's Instances from the options of `emr:`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.models import Emr, Fleet, Group
    from airflow_batchemr.pipeline_file.models.instances import Ebs

_ROLES = (("MASTER", "master"), ("CORE", "core"), ("TASK", "task"))


def groups(emr: Emr, choice: int) -> list[dict[str, Any]]:
    """Instance groups.

    Args:
        emr: the block.
        choice: which of the instance types that each group lists; for a shorter list, its last one.
    """
    if emr.master is not None:
        described = [(role, getattr(emr, name)) for role, name in _ROLES if getattr(emr, name) is not None]
        return [_group(role, group, choice) for role, group in described]
    assert emr.type is not None  # noqa: S101 - the model has checked
    ours: dict[str, Any] = {"InstanceType": _at(emr.type, choice)}
    if emr.ebs is not None:
        ours["EbsConfiguration"] = ebs(emr.ebs)
    made = [{"Name": "master", "InstanceRole": "MASTER", "Market": "ON_DEMAND", "InstanceCount": 1, **ours}]
    workers = (emr.instances or 1) - 1
    if workers:
        core = {"Name": "core", "InstanceRole": "CORE", "InstanceCount": workers, **ours}
        made.append({**core, **_market(emr.market or "on_demand", emr.bid)})
    return made


def fleets(emr: Emr) -> list[dict[str, Any]]:
    """Instance fleets."""
    assert emr.fleets is not None  # noqa: S101 - the caller has checked
    described = [(role, getattr(emr.fleets, name)) for role, name in _ROLES]
    return [_fleet(role, fleet) for role, fleet in described if fleet is not None]


def choices(emr: Emr) -> int:
    """How many instance types there are to try, one after another; fleets choose among their own types."""
    if emr.fleets is not None:
        return 1
    lists = [emr.type] if emr.type else [getattr(emr, name).type for _, name in _ROLES if getattr(emr, name)]
    return max((len(types) for types in lists), default=1)


def check(emr: Emr) -> None:
    """Check what EMR would refuse only after the call.

    Raises:
        InvalidRequest: names the option and what to do.
    """
    has_core = bool(emr.core or (emr.fleets and emr.fleets.core) or (emr.instances or 1) > 1)
    described = bool(emr.type or emr.master or emr.fleets)
    if emr.managed_scaling and described and not has_core:
        raise InvalidRequest("managed_scaling: needs a `core` group, or more than one of `instances`, to scale")
    if several_masters(emr) and not has_core:
        raise InvalidRequest("master: a cluster with 3 masters needs a `core` group")


def several_masters(emr: Emr) -> bool:
    """Whether the cluster has 3 masters: EMR protects it from termination and keeps it alive after its steps."""
    return bool((emr.master and emr.master.count > 1) or (emr.fleets and emr.fleets.master.on_demand > 1))


def _at(types: list[str], choice: int) -> str:
    return types[min(choice, len(types) - 1)]


def _market(market: str, bid: str | None) -> dict[str, str]:
    if market == "on_demand":
        return {"Market": "ON_DEMAND"}
    # Without a bid EMR bids the on-demand price.
    return {"Market": "SPOT", **({"BidPrice": bid} if bid else {})}


def _group(role: str, group: Group, choice: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "Name": role.lower(),
        "InstanceRole": role,
        "InstanceType": _at(group.type, choice),
        "InstanceCount": group.count,
        **_market(group.market, group.bid),
    }
    if group.ebs is not None:
        made["EbsConfiguration"] = ebs(group.ebs)
    return made


def _fleet(role: str, fleet: Fleet) -> dict[str, Any]:
    types = []
    for one in fleet.types:
        config: dict[str, Any] = {"InstanceType": one.type}
        if role != "MASTER":  # EMR counts the only master as 1 in any case
            config["WeightedCapacity"] = one.weight
        if fleet.spot:
            config.update({"BidPrice": one.bid} if one.bid else {"BidPriceAsPercentageOfOnDemandPrice": 100.0})
        if one.ebs is not None:
            config["EbsConfiguration"] = ebs(one.ebs)
        types.append(config)
    made: dict[str, Any] = {
        "Name": role.lower(),
        "InstanceFleetType": role,
        "TargetOnDemandCapacity": fleet.on_demand,
        "TargetSpotCapacity": fleet.spot,
        "InstanceTypeConfigs": types,
    }
    if fleet.spot:
        spot: dict[str, Any] = {
            "TimeoutDurationMinutes": -(-fleet.spot_timeout // 60),
            "TimeoutAction": fleet.on_timeout.upper(),
        }
        if fleet.allocation:
            spot["AllocationStrategy"] = fleet.allocation
        made["LaunchSpecifications"] = {"SpotSpecification": spot}
    if fleet.on_demand and (fleet.allocation or len(fleet.types) > 5):  # EMR accepts more than 5 types only with it
        made.setdefault("LaunchSpecifications", {})["OnDemandSpecification"] = {"AllocationStrategy": "lowest-price"}
    return made


def ebs(volumes: Ebs) -> dict[str, Any]:
    """EBS volumes of each instance, as EMR's EbsConfiguration."""
    volume: dict[str, Any] = {"VolumeType": volumes.type, "SizeInGB": volumes.size}
    if volumes.iops is not None:
        volume["Iops"] = volumes.iops
    if volumes.throughput is not None:
        volume["Throughput"] = volumes.throughput
    return {"EbsBlockDeviceConfigs": [{"VolumeSpecification": volume, "VolumesPerInstance": volumes.count}]}
