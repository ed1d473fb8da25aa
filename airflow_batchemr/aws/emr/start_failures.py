"""Why a cluster did not start: the kind of failure, what to do, and whether another subnet or type may help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_batchemr.aws.emr.clusters import Cluster


@dataclass(frozen=True)
class StartFailure:
    """One kind of failure to start."""

    kind: str
    """`subnet full`, `no capacity`, `spot not fulfilled`, `quota`, `role`, `bootstrap`, `validation`, `instances` or
    `internal`."""
    advice: str
    elsewhere: bool = False
    """Whether the next subnet or instance type of the list may succeed."""
    transient: bool = False
    """Whether the same request may succeed later."""


_CAPACITY = {"elsewhere": True, "transient": True}
#: Patterns of EMR's messages. The first match counts. Repeats are bounded: otherwise, the time would be quadratic.
_KINDS = {
    r"InsufficientFreeAddressesInSubnet|not have enough free (IP )?addresses|insufficient free addresses": StartFailure(
        "subnet full", "give `subnets:` another one, or a larger one", **_CAPACITY
    ),
    r"spot (instance|provisioning|fleet|capacity|request)[^.]{0,200}"
    r"(timeout|timed out|not (be )?(fulfilled|provisioned)|unavailable)|"
    r"SpotProvisioningTimeout|max(imum)? spot (price|instance count)|bid price|price-too-low": StartFailure(
        "spot not fulfilled",
        "give `type:` further types, fleets with `on_timeout: switch_to_on_demand`, or `market: on_demand`",
        **_CAPACITY,
    ),
    r"InsufficientInstanceCapacity|insufficient (instance )?capacity|not have sufficient .{0,200}capacity|"
    r"no capacity|sufficient capacity": StartFailure(
        "no capacity", "give `type:` further types or `subnets:` further zones", **_CAPACITY
    ),
    r"instance type .{0,200}(not supported|not available|unsupported)|"
    r"Unsupported.{0,200}(instance type|Availability Zone)|"
    r"not supported in (your|the) requested Availability Zone": StartFailure(
        "instance type", "choose a type that EMR has in this region and zone", elsewhere=True
    ),
    r"LimitExceeded|quota|exceed(s|ed)? .{0,200}(limit|EC2)|"
    r"more than the (current )?(vCPU|instance) limit": StartFailure(
        "quota", "raise the account's EC2 quota, request less, or wait for other clusters", **_CAPACITY
    ),
    r"(role|instance profile)[^.]{0,200}"
    r"(invalid|does not exist|not (have|authorized|been)|insufficient|missing|cannot)|"
    r"invalid (InstanceProfile|role)|sts:AssumeRole|EMR_DefaultRole": StartFailure(
        "role", "see `service_role:` and `instance_role:` (aws emr create-default-roles creates the defaults)"
    ),
    r"bootstrap": StartFailure("bootstrap", "see the bootstrap action's log"),
}
_CODES = {
    "BOOTSTRAP_FAILURE": StartFailure("bootstrap", "see the bootstrap action's log"),
    "VALIDATION_ERROR": StartFailure("validation", "fix what EMR reports"),
    "INSTANCE_FAILURE": StartFailure("instances", "try again, or with other types", **_CAPACITY),
    "INSTANCE_FLEET_TIMEOUT": StartFailure(
        "spot not fulfilled", "give the fleet further types, or a longer `spot_timeout:`", **_CAPACITY
    ),
    "INTERNAL_ERROR": StartFailure("internal", "try again; else ask AWS support", **_CAPACITY),
}
#: Codes of clusters that did not fail to start.
_ENDED_OTHERWISE = frozenset({"USER_REQUEST", "ALL_STEPS_COMPLETED", "STEP_FAILURE"})


def start_failure(cluster: Cluster) -> StartFailure | None:
    """Why a cluster ended before it ran a step; None if it did not fail to start."""
    if cluster.alive or cluster.code in _ENDED_OTHERWISE:
        return None
    for pattern, failure in _KINDS.items():
        if re.search(pattern, cluster.message, re.IGNORECASE):
            return failure
    return _CODES.get(cluster.code) or StartFailure("unknown", "see the cluster's page and its logs")
