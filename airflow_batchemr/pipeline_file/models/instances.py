"""The machines of a cluster: instance groups and instance fleets."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.core import units
from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import TEXT, Form, Model, Seconds, Word, shown, text

Market = Literal["on_demand", "spot"]


def _bid(value: object) -> str:
    """A price in US dollars an hour, as EMR's BidPrice takes it."""
    price = text(value)
    if not re.fullmatch(r"\d+(\.\d+)?", price) or float(price) <= 0:
        raise Refusal(
            f"a bid is a price in dollars an hour like 0.07, not {shown(value)}",
            "leave it out for up to the on-demand price",
        )
    return price


def _types(value: object) -> list[str]:
    types = [text(item) for item in value] if isinstance(value, list) else [text(value)]
    for position, name in enumerate(types):
        if not re.fullmatch(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", name):
            raise Refusal(
                f"expected an instance type like m5.xlarge, not {name}",
                None,
                [position] if isinstance(value, list) else [],
            )
    if not types:
        raise Refusal("expected an instance type like m5.xlarge, not an empty list")
    return types


def _ebs(value: object) -> object:
    return value if isinstance(value, dict | Ebs) else {"size": value}


def _gibibytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise Refusal(f"expected a size like 100GiB, not {shown(value)}")
    size = units.bytes_(value)
    if size % 1024**3:
        raise Refusal(f"EBS takes whole GiB, not {value}")
    return size // 1024**3


#: A bid in dollars an hour, as text.
Bid = Annotated[str, BeforeValidator(_bid), WithJsonSchema({"type": ["string", "number"], "pattern": r"^\d+(\.\d+)?$"})]
_TYPE = {"type": "string", "pattern": r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"}
#: One instance type, or several: the next is taken where EMR cannot get the one before.
InstanceTypes = Annotated[
    list[str],
    BeforeValidator(_types),
    WithJsonSchema({"anyOf": [_TYPE, {"type": "array", "items": _TYPE, "minItems": 1}]}),
]


_GIBIBYTES = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[gGtT]([iI]?[bB]?)\s*$"}
_VOLUME = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65536}, _GIBIBYTES]}


class Ebs(Model):
    """EBS volumes of each instance.

    Attributes:
        size: GiB a volume.
        type: volume type.
        iops: for types that take it.
        throughput: MiB a second, for gp3.
        count: volumes an instance.
    """

    size: Annotated[
        int,
        BeforeValidator(_gibibytes),
        Field(ge=1, le=65536),
        WithJsonSchema(_VOLUME),
    ]
    type: Literal["gp2", "gp3", "io1", "st1", "sc1", "standard"] = "gp3"
    iops: Annotated[int, Field(ge=100)] | None = None
    throughput: Annotated[int, Field(ge=125, le=1000)] | None = None
    count: Annotated[int, Field(ge=1, le=25)] = 1

    @model_validator(mode="after")
    def _fits_the_type(self) -> Ebs:
        if self.type == "io1" and self.iops is None:
            raise Refusal("volumes of type io1 need `iops`", at=["type"])
        if self.iops is not None and self.type not in {"gp3", "io1"}:
            raise Refusal(f"`iops` goes with gp3 and io1, not with {self.type}", at=["iops"])
        if self.throughput is not None and self.type != "gp3":
            raise Refusal(f"`throughput` goes with gp3, not with {self.type}", at=["throughput"])
        return self


EbsOrSize = Annotated[Ebs, BeforeValidator(_ebs), Form((_VOLUME,))]


class Group(Model):
    """An instance group.

    Attributes:
        type: instance types, in the order in which they are tried.
        count: number of instances.
        market: on_demand or spot.
        bid: dollars an hour; None with spot is up to the on-demand price.
        ebs: volumes; None is EMR's own choice.
    """

    type: InstanceTypes
    count: Annotated[int, Field(ge=1, le=4000)] = 1
    market: Market = "on_demand"
    bid: Bid | None = None
    ebs: EbsOrSize | None = None

    @model_validator(mode="after")
    def _bid_is_for_spot(self) -> Group:
        if self.bid is not None and self.market != "spot":
            raise Refusal("a bid goes with `market: spot`", at=["bid"])
        return self


class FleetType(Model):
    """One instance type of a fleet.

    Attributes:
        type: the instance type.
        weight: capacity units that one instance counts.
        bid: dollars an hour; None is up to the on-demand price.
        ebs: volumes; None is EMR's own choice.
    """

    type: Word
    weight: Annotated[int, Field(ge=1, le=999)] = 1
    bid: Bid | None = None
    ebs: EbsOrSize | None = None


def _fleet_types(value: object) -> object:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return [{"type": item} if isinstance(item, str) else item for item in value]
    return value


class Fleet(Model):
    """An instance fleet.

    Attributes:
        types: instance types, up to 30.
        on_demand: target capacity on demand.
        spot: target capacity on spot.
        allocation: spot allocation strategy, in EMR's words.
        spot_timeout: seconds to wait for spot capacity; EMR takes 5 minutes to a day.
        on_timeout: what then: take on-demand capacity, or end the cluster.
    """

    types: Annotated[
        list[FleetType], BeforeValidator(_fleet_types), Field(min_length=1, max_length=30), Form((TEXT,), items=(TEXT,))
    ]
    on_demand: Annotated[int, Field(ge=0)] = 0
    spot: Annotated[int, Field(ge=0)] = 0
    allocation: (
        Literal[
            "price-capacity-optimized",
            "capacity-optimized",
            "lowest-price",
            "diversified",
            "capacity-optimized-prioritized",
        ]
        | None
    ) = None
    spot_timeout: Seconds = 600
    on_timeout: Literal["switch_to_on_demand", "terminate_cluster"] = "switch_to_on_demand"

    @model_validator(mode="after")
    def _wants_something(self) -> Fleet:
        if not self.on_demand and not self.spot:
            raise Refusal("a fleet needs a target: `on_demand` or `spot`, or both")
        if not 300 <= self.spot_timeout <= 86_400:
            raise Refusal("EMR waits 5 minutes to 24 hours for spot capacity", at=["spot_timeout"])
        if self.spot and len(self.types) > 5 and self.allocation is None:
            raise Refusal(
                "EMR takes more than 5 types only with an allocation strategy",
                "such as `allocation: price-capacity-optimized`",
                ["types"],
            )
        return self


def _master(value: object) -> object:
    """A master is one instance on demand where no target says otherwise."""
    if isinstance(value, dict) and not {"on_demand", "spot"} & set(value):
        return {**value, "on_demand": 1}
    return value


class Fleets(Model):
    """The instance fleets of a cluster.

    Attributes:
        master: one instance, on demand unless `spot: 1` is said; or 3 on demand.
        core: instances with HDFS.
        task: instances without.
    """

    master: Annotated[Fleet, BeforeValidator(_master)]
    core: Fleet | None = None
    task: Fleet | None = None

    @model_validator(mode="after")
    def _one_master(self) -> Fleets:
        targets = self.master.on_demand, self.master.spot
        if targets not in {(1, 0), (0, 1), (3, 0)}:
            message = "a master fleet is 1 instance, on demand or on spot, or 3 on demand"
            raise Refusal(message, at=["master", "spot" if self.master.spot else "on_demand"])
        return self
