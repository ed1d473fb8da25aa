"""Instance groups and instance fleets of an EMR cluster."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.core import units
from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import (
    Form,
    Model,
    Pattern,
    Seconds,
    Templated,
    Word,
    is_template,
    shown,
    text,
)

Market = Literal["on_demand", "spot"]
_TYPE_PATTERN = r"[a-z][a-z0-9-]*\.[a-z0-9-]+"


def _bid(value: object) -> str:
    """Check a price in US dollars per hour (EMR `BidPrice`)."""
    price = text(value)
    if not re.fullmatch(r"\d+(\.\d+)?", price) or float(price) <= 0:
        raise Refusal(
            f"expected a price in dollars per hour such as 0.07, not {shown(value)}",
            "to pay up to the on-demand price, remove `bid`",
        )
    if len(price.partition(".")[2]) > 3:  # as EMR answers in mrjob's tests
        raise Refusal(
            f"EMR accepts at most 3 digits after the decimal point of a price, not {price}",
            f"round it, such as to {math.ceil(float(price) * 1000) / 1000:g}",
        )
    return price


def _types(value: object) -> list[str]:
    types = [text(item) for item in value] if isinstance(value, list) else [text(value)]
    for position, name in enumerate(types):
        if not re.fullmatch(_TYPE_PATTERN, name):
            raise Refusal(
                f"expected an instance type such as m5.xlarge, not {name}",
                None,
                [position] if isinstance(value, list) else [],
            )
    if not types:
        raise Refusal("expected an instance type such as m5.xlarge, not an empty list")
    return types


def _ebs(value: object) -> object:
    return value if isinstance(value, dict | Ebs) else {"size": value}


def _gibibytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise Refusal(f"expected a size such as 100GiB, not {shown(value)}")
    size = units.bytes_(value)
    if size % 1024**3:
        raise Refusal(f"EBS requires whole GiB, not {value}")
    return size // 1024**3


#: A price in dollars per hour, as text.
Bid = Annotated[
    str, BeforeValidator(_bid), WithJsonSchema({"type": ["string", "number"], "pattern": r"^\d+(\.\d{1,3})?$"})
]
_TYPE = {"type": "string", "pattern": rf"^{_TYPE_PATTERN}$"}
#: One or more instance types; the next is tried if EMR cannot provide the previous one.
InstanceTypes = Annotated[
    list[str],
    BeforeValidator(_types),
    WithJsonSchema({"anyOf": [_TYPE, {"type": "array", "items": _TYPE, "minItems": 1}]}),
]


_GIBIBYTES = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[gGtT]([iI]?[bB]?)\s*$"}
_VOLUME = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65536}, _GIBIBYTES]}


#: Sizes in GiB by volume type (EC2, CreateVolume).
_SIZES = {
    "gp2": (1, 16_384),
    "gp3": (1, 65_536),
    "io1": (4, 16_384),
    "st1": (125, 16_384),
    "sc1": (125, 16_384),
    "standard": (1, 1024),
}
#: Smallest and largest IOPS, and IOPS per GiB (EC2, CreateVolume; EBS User Guide, "EBS volume types").
_IOPS = {"gp3": (3000, 80_000, 500), "io1": (100, 64_000, 50)}


class Ebs(Model):
    """EBS volumes of each instance."""

    size: Annotated[
        int,
        BeforeValidator(_gibibytes),
        Field(ge=1, le=65536),
        WithJsonSchema(_VOLUME),
    ] = Field(description="Size of a volume, 1 to 65,536 GiB; less for other types than gp3")
    type: Literal["gp2", "gp3", "io1", "st1", "sc1", "standard"] = Field("gp3", description="EBS volume type")
    iops: Annotated[int, Field(ge=100)] | None = Field(
        None,
        description="IOPS; 3,000 to 80,000 for gp3 and 100 to 64,000 for io1. Default: that of the volume type",
    )
    throughput: Annotated[int, Field(ge=125, le=1000)] | None = Field(
        None,
        description="Throughput in MiB/s, 125 to 1,000, at most a quarter of the IOPS; for gp3. Default: that of the "
        "volume type",
    )
    count: Annotated[int, Field(ge=1, le=25)] = Field(1, description="Number of volumes per instance, 1 to 25")

    @model_validator(mode="after")
    def _fits_the_type(self) -> Ebs:
        smallest, largest = _SIZES[self.type]
        if not smallest <= self.size <= largest:
            message = f"a volume of type {self.type} has {smallest:,} to {largest:,} GiB, not {self.size:,}"
            raise Refusal(message, at=["size"])
        if self.type == "io1" and self.iops is None:
            raise Refusal("volumes of type io1 require `iops`", at=["type"])
        if self.iops is not None and self.type not in {"gp3", "io1"}:
            raise Refusal(f"`iops` is only supported for gp3 and io1, not for {self.type}", at=["iops"])
        if self.throughput is not None and self.type != "gp3":
            raise Refusal(f"`throughput` is only supported for gp3, not for {self.type}", at=["throughput"])
        if self.iops is not None:
            least, most, per_gibibyte = _IOPS[self.type]
            most = max(least, min(most, per_gibibyte * self.size))
            if not least <= self.iops <= most:
                size = f"{self.size:,} GiB of type {self.type}"
                message = f"a volume of {size} has {least:,} to {most:,} IOPS, not {self.iops:,}"
                raise Refusal(message, at=["iops"])
        iops = self.iops or _IOPS["gp3"][0]
        if self.throughput is not None and self.throughput * 4 > iops:
            message = f"a gp3 volume with {iops:,} IOPS has at most {iops // 4:,} MiB/s, not {self.throughput:,}"
            raise Refusal(message, f"set `iops` to at least {self.throughput * 4}", at=["throughput"])
        return self


EbsOrSize = Annotated[Ebs, BeforeValidator(_ebs), Form((_VOLUME,))]


class Group(Model):
    """An instance group."""

    type: InstanceTypes = Field(
        description=("EC2 instance type. With a list, the next type is tried if EMR cannot provide the previous one")
    )
    count: Templated[Annotated[int, Field(ge=1, le=4000)]] = Field(
        1, description="Number of instances, 1 to 4,000; a master group has 1 or 3"
    )
    market: Market = Field("on_demand", description="Purchasing option")
    bid: Bid | None = Field(
        None,
        description="Maximum price in US dollars per hour with up to 3 decimals, for `market: spot`. Default: the "
        "on-demand price",
    )
    ebs: EbsOrSize | None = Field(
        None, description="EBS volumes of each instance: a size in GiB, or a mapping. Default: chosen by EMR"
    )

    @model_validator(mode="after")
    def _bid_is_for_spot(self) -> Group:
        if self.bid is not None and self.market != "spot":
            raise Refusal("`bid` requires `market: spot`", at=["bid"])
        return self


#: A template is accepted in a fleet, too.
_FLEET_TYPE = {"type": "string", "pattern": rf"^{_TYPE_PATTERN}$|\{{[{{%]"}


class FleetType(Model):
    """An instance type of a fleet."""

    type: Annotated[Word, Pattern(_TYPE_PATTERN, "an instance type such as m5.xlarge")] = Field(
        description="EC2 instance type"
    )
    weight: Annotated[int, Field(ge=1, le=999)] = Field(
        1, description="Capacity units that one instance provides, 1 to 999 (EMR `WeightedCapacity`)"
    )
    bid: Bid | None = Field(
        None, description="Maximum spot price in US dollars per hour, up to 3 decimals. Default: the on-demand price"
    )
    ebs: EbsOrSize | None = Field(
        None, description="EBS volumes of each instance: a size in GiB, or a mapping. Default: chosen by EMR"
    )


def _fleet_types(value: object) -> object:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return [{"type": item} if isinstance(item, str) else item for item in value]
    return value


class Fleet(Model):
    """An instance fleet."""

    types: Annotated[
        list[FleetType],
        BeforeValidator(_fleet_types),
        Field(min_length=1, max_length=30),
        Form((_FLEET_TYPE,), items=(_FLEET_TYPE,)),
    ] = Field(description="Up to 30 instance types: names or mappings. More than 5 require `allocation`")
    on_demand: Templated[Annotated[int, Field(ge=0)]] = Field(
        0, description="Target on-demand capacity in units. Default for a master fleet without a target: 1"
    )
    spot: Templated[Annotated[int, Field(ge=0)]] = Field(0, description="Target spot capacity in units")
    allocation: (
        Literal[
            "price-capacity-optimized",
            "capacity-optimized",
            "lowest-price",
            "diversified",
            "capacity-optimized-prioritized",
        ]
        | None
    ) = Field(None, description="Spot allocation strategy. Default: chosen by EMR")
    spot_timeout: Seconds = Field(600, description="Time to wait for spot capacity, 5 minutes to 24 hours")
    on_timeout: Literal["switch_to_on_demand", "terminate_cluster"] = Field(
        "switch_to_on_demand",
        description="What to do if the spot capacity is not available in time (EMR `TimeoutAction`)",
    )

    @model_validator(mode="after")
    def _wants_something(self) -> Fleet:
        if not self.on_demand and not self.spot:
            raise Refusal("a fleet requires a target capacity: `on_demand`, `spot` or both")
        names = [one.type for one in self.types]
        for position, name in enumerate(names):
            if name in names[:position]:  # as EMR answers in mrjob's tests
                raise Refusal(f"the fleet names {name} twice", "EMR accepts each type once", ["types", position])
        if not 300 <= self.spot_timeout <= 86_400:
            raise Refusal("must be between 5 minutes and 24 hours", at=["spot_timeout"])
        if self.spot and len(self.types) > 5 and self.allocation is None:
            raise Refusal(
                "more than 5 instance types require an allocation strategy",
                "set for example `allocation: price-capacity-optimized`",
                ["types"],
            )
        return self


def _master(value: object) -> object:
    """The default target of a master fleet is one on-demand instance."""
    if isinstance(value, dict) and not {"on_demand", "spot"} & set(value):
        return {**value, "on_demand": 1}
    return value


class Fleets(Model):
    """The instance fleets of a cluster."""

    master: Annotated[Fleet, BeforeValidator(_master)] = Field(
        description=(
            "The master: 1 on-demand or spot instance, or 3 on-demand instances. Default target: 1 on-demand instance"
        )
    )
    core: Fleet | None = Field(None, description="Core instances, which run HDFS")
    task: Fleet | None = Field(None, description="Task instances, which do not run HDFS; requires `core`")

    @model_validator(mode="after")
    def _one_master(self) -> Fleets:
        targets = self.master.on_demand, self.master.spot
        if targets not in {(1, 0), (0, 1), (3, 0)} and not any(map(is_template, targets)):
            message = "a master fleet has 1 on-demand or spot instance, or 3 on-demand instances"
            raise Refusal(message, at=["master", "spot" if self.master.spot else "on_demand"])
        return self
