"""The `emr:` block and the entries of `clusters:`: an EMR cluster in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import (
    TEXT,
    Form,
    Model,
    Raw,
    S3Uri,
    Seconds,
    TextMap,
    Texts,
    Word,
    shown,
    text,
)
from airflow_batchemr.pipeline_file.models.instances import Bid, EbsOrSize, Fleets, Group, InstanceTypes, Market

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class Bootstrap(Model):
    """A bootstrap action.

    Attributes:
        path: S3 URI of the script.
        args: its arguments.
        name: as EMR shows it; None is the script's file name.
    """

    path: S3Uri
    args: Texts = Field(default_factory=list)
    name: Word | None = None


def _bootstrap(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    return [{"path": item} if isinstance(item, str) else item for item in items]


class ManagedScaling(Model):
    """EMR's managed scaling, in units (instances, or capacity units of fleets); the master does not count.

    Attributes:
        minimum: core and task instances together.
        maximum: core and task instances together.
        maximum_on_demand: above it, spot.
        maximum_core: above it, task instances.
    """

    minimum: Annotated[int, Field(ge=1)]
    maximum: Annotated[int, Field(ge=1)]
    maximum_on_demand: Annotated[int, Field(ge=0)] | None = None
    maximum_core: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> ManagedScaling:
        if self.minimum > self.maximum:
            raise Refusal(f"`minimum` ({self.minimum}) is above `maximum` ({self.maximum})", at=["minimum"])
        for word in ("maximum_on_demand", "maximum_core"):
            if (getattr(self, word) or 0) > self.maximum:
                raise Refusal(f"`{word}` ({getattr(self, word)}) is above `maximum` ({self.maximum})", at=[word])
        return self


def _release(value: object) -> str:
    label = text(value)
    if not re.fullmatch(r"emr-\d+\.\d+(\.\d+)?(-latest)?", label):
        fixed = re.fullmatch(r"(?:emr[-_ ]?)?(\d+\.\d+\.\d+)", label, re.IGNORECASE)
        raise Refusal(
            f"expected a release label like emr-7.5.0, not {shown(value)}",
            f"did you mean `emr-{fixed[1]}`?" if fixed else None,
        )
    return label


def _idle_timeout(value: int) -> int:
    if not 60 <= value <= 604_800:
        raise Refusal(f"EMR takes an idle timeout of 60 seconds to 7 days, not {value} seconds")
    return value


def _configurations(value: object) -> object:
    """`{classification: {key: value}}` as EMR's own list; nested lists are EMR's own form."""
    if not isinstance(value, dict):
        return value
    made = []
    for name, properties in value.items():
        if not isinstance(properties, dict):
            raise Refusal(
                f"expected the classification's properties as a mapping, not {shown(properties)}", None, [name]
            )
        made.append({"Classification": name, "Properties": {text(key): text(item) for key, item in properties.items()}})
    return made


_IDLE = Annotated[Seconds, AfterValidator(_idle_timeout)]


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


_EXISTING = ("cluster", "cluster_id", "cluster_name")
_SHAPE = ("type", "instances", "market", "bid", "ebs", "master", "core", "task", "fleets")


class Emr(Model):
    """A cluster of a job's own, or an existing one: `cluster` (of `clusters`), `cluster_id` or `cluster_name`.

    Attributes:
        type: instance types for master and core, in the order in which they are tried.
        instances: number of instances in all; one of them is the master.
        market: of the core instances of `type` and `instances`; the master stays on demand.
        bid: dollars an hour for them; None with spot is up to the on-demand price.
        ebs: volumes of the instances of `type`.
        master: the master's group.
        core: the core group.
        task: the task group.
        fleets: instance fleets, in place of groups.
        release: EMR release label; None is the package's default.
        applications: such as Spark, Hadoop, Hive; None is Spark.
        configurations: EMR's list of classifications, or `{spark-defaults: {key: value}}`.
        bootstrap: bootstrap actions, in order.
        log_uri: where EMR puts its logs.
        service_role: IAM role of EMR.
        instance_role: instance profile of the machines.
        subnets: in the order in which they are tried (one a cluster; fleets choose among all).
        security_groups: `master`, `core`, `service`, and lists under `additional_master`, `additional_core`.
        security_configuration: its name.
        key_pair: EC2 key pair.
        custom_ami: image of the machines.
        tags: tags of the cluster, beside the run's identity.
        managed_scaling: limits for EMR's managed scaling.
        termination_protection: has to be lifted before the cluster can be ended.
        visible: to all IAM users of the account.
        step_concurrency: steps at once.
        keep_alive: seconds that the cluster stays when its work is done.
        idle_timeout: seconds after which an idle cluster ends itself.
        requires: versions that the release must have, such as `{spark: "3.5"}`.
        overrides: merged deeply into the RunJobFlow request as they are.
        cluster: a cluster of this pipeline's `clusters`.
        cluster_id: an existing cluster, `j-…`.
        cluster_name: an existing cluster's name.
    """

    type: InstanceTypes | None = None
    instances: Annotated[int, Field(ge=1, le=4000)] | None = None
    market: Market | None = None
    bid: Bid | None = None
    ebs: EbsOrSize | None = None
    master: Group | None = None
    core: Group | None = None
    task: Group | None = None
    fleets: Fleets | None = None
    release: (
        Annotated[
            str,
            BeforeValidator(_release),
            WithJsonSchema({"type": "string", "pattern": r"^emr-\d+\.\d+(\.\d+)?(-latest)?$"}),
        ]
        | None
    ) = None
    applications: Texts | None = None
    configurations: Annotated[
        list[dict[str, Any]],
        BeforeValidator(_configurations),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "array", "items": {"type": "object"}},
                    {"type": "object", "additionalProperties": {"type": "object"}},
                ]
            }
        ),
    ] = Field(default_factory=list)
    bootstrap: Annotated[list[Bootstrap], BeforeValidator(_bootstrap), Form((TEXT,), single=True, items=(TEXT,))] = (
        Field(default_factory=list)
    )
    log_uri: S3Uri | None = None
    service_role: Word | None = None
    instance_role: Word | None = None
    subnets: Texts | None = None
    security_groups: Annotated[
        dict[Literal["master", "core", "service", "additional_master", "additional_core"], Texts], Field()
    ] = Field(default_factory=dict)
    security_configuration: Word | None = None
    key_pair: Word | None = None
    custom_ami: Word | None = None
    tags: TextMap = Field(default_factory=dict)
    managed_scaling: ManagedScaling | None = None
    termination_protection: bool = False
    visible: bool = True
    step_concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    keep_alive: _IDLE | None = None
    idle_timeout: _IDLE | None = None
    requires: TextMap = Field(default_factory=dict)
    overrides: Raw = Field(default_factory=dict)
    cluster: Word | None = None
    cluster_id: Word | None = None
    cluster_name: Word | None = None

    @property
    def existing(self) -> bool:
        """Whether the cluster is not this block's own."""
        return self.cluster is not None or self.cluster_id is not None or self.cluster_name is not None

    @model_validator(mode="after")
    def _one_form(self) -> Emr:
        existing = [word for word in _EXISTING if getattr(self, word) is not None]
        shape = [word for word in _SHAPE if getattr(self, word) is not None]
        if len(existing) > 1:
            raise Refusal(f"expected one of {', '.join(_EXISTING)}, not {' and '.join(existing)}", at=[existing[1]])
        if existing:
            fields = type(self).model_fields
            free = {*_EXISTING, "requires"}
            others = [word for word in fields if word not in free and getattr(self, word) != _default(fields[word])]
            if others:
                raise Refusal(
                    f"`{others[0]}` describes a new cluster, and `{existing[0]}` names one that is there",
                    at=[others[0]],
                )
            if self.cluster_id is not None and not re.fullmatch(r"j-[A-Z0-9]{1,30}|.*\{\{.*", self.cluster_id):
                raise Refusal(f"expected a cluster id like j-3H6EATEXAMPLE, not {self.cluster_id}", at=["cluster_id"])
            return self
        self._one_shape(shape)
        return self

    def _one_shape(self, shape: list[str]) -> None:
        groups = [word for word in ("master", "core", "task") if word in shape]
        simple = [word for word in ("type", "instances", "market", "bid", "ebs") if word in shape]
        if self.fleets and (groups or simple):
            raise Refusal(
                f"fleets and groups cannot be mixed: `fleets` and `{(groups + simple)[0]}`",
                at=["fleets"],
            )
        if groups and simple:
            raise Refusal(
                f"`{simple[0]}` is the short form, and `{groups[0]}` the long one: write one of them", at=[simple[0]]
            )
        if groups and not self.master:
            raise Refusal("a cluster needs a `master` group")
        if self.task and not self.core:
            raise Refusal("a `task` group needs a `core` group: task instances hold no HDFS", at=["task"])
        if self.fleets and self.fleets.task and not self.fleets.core:
            raise Refusal("a `task` fleet needs a `core` fleet: task instances hold no HDFS", at=["fleets", "task"])
        if self.master and self.master.count not in (1, 3):
            raise Refusal(f"EMR takes 1 master, or 3, not {self.master.count}", at=["master", "count"])
        if self.master and self.master.count == 3 and self.master.market == "spot":
            raise Refusal("EMR takes 3 masters on demand only", at=["master", "market"])
        if self.bid is not None and self.market != "spot":
            raise Refusal("a bid goes with `market: spot`", at=["bid"])
        if not shape and not self.overrides.get("Instances"):
            raise Refusal(
                "the cluster has no instances: write `type` and `instances`, or `master` and `core`, or `fleets`",
                "or name an existing one with cluster, cluster_id or cluster_name",
            )
        if simple and self.type is None:
            raise Refusal(f"`{simple[0]}` needs a `type` such as m5.xlarge", at=[simple[0]])
