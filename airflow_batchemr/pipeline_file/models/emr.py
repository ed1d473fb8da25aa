"""The `emr` block and the entries of `clusters`: an EMR cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import (
    Form,
    Model,
    Names,
    Raw,
    S3Uri,
    Seconds,
    Tags,
    Templated,
    TextMap,
    Texts,
    Word,
    as_aws,
    check_aws,
    is_template,
    shown,
    text,
)
from airflow_batchemr.pipeline_file.models.configurations import CONFIGURATION, as_configurations
from airflow_batchemr.pipeline_file.models.instances import Bid, EbsOrSize, Fleets, Group, InstanceTypes, Market

if TYPE_CHECKING:
    from pydantic import ValidationInfo
    from pydantic.fields import FieldInfo


def _script(value: object) -> str:
    if not isinstance(value, str) or not re.match(_SCRIPT, value):
        expected = "the S3 URI of a script, or file:/… for one that is on the machines"
        raise Refusal(f"expected {expected}, not {shown(value)}")
    return value


#: EMR accepts scripts on S3 and scripts of the image: `file:/usr/share/aws/emr/…`.
_SCRIPT = r"(s3[an]?://|file:/|\{\{)"
_PATH = {"type": "string", "pattern": f"^{_SCRIPT}"}


class Bootstrap(Model):
    """A bootstrap action."""

    path: Annotated[str, BeforeValidator(_script), WithJsonSchema(_PATH)] = Field(
        description="S3 URI of the script, or `file:/…` for a script that is on the machines"
    )
    args: Texts = Field(default_factory=list, description="Arguments of the script")
    name: Annotated[Word, Field(max_length=256)] | None = Field(
        None, description="Name in the EMR console, up to 256 characters. Default: the file name of the script"
    )


def _bootstrap(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    return [{"path": item} if isinstance(item, str) else item for item in items]


class ManagedScaling(Model):
    """EMR managed scaling, in instances or capacity units of fleets, without the master."""

    minimum: Annotated[int, Field(ge=1)] = Field(
        description="Minimum number of core and task units (EMR `MinimumCapacityUnits`)"
    )
    maximum: Annotated[int, Field(ge=1)] = Field(
        description="Maximum number of core and task units (EMR `MaximumCapacityUnits`)"
    )
    maximum_on_demand: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description=(
            "Maximum number of on-demand units; units above it are spot (EMR "
            "`MaximumOnDemandCapacityUnits`). Default: `maximum`"
        ),
    )
    maximum_core: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description=(
            "Maximum number of core units; units above it are task units (EMR `MaximumCoreCapacityUnits`). "
            "Default: `maximum`"
        ),
    )

    @model_validator(mode="after")
    def _in_order(self) -> ManagedScaling:
        if self.minimum > self.maximum:
            raise Refusal(f"`minimum` ({self.minimum}) is greater than `maximum` ({self.maximum})", at=["minimum"])
        for key in ("maximum_on_demand", "maximum_core"):
            if (getattr(self, key) or 0) > self.maximum:
                message = f"`{key}` ({getattr(self, key)}) is greater than `maximum` ({self.maximum})"
                raise Refusal(message, at=[key])
        return self


#: A label has three numbers (EMR, RunJobFlow).
_RELEASE = r"emr-\d+\.\d+\.\d+(-latest)?"


def _release(value: object) -> str:
    label = text(value)
    if not re.fullmatch(_RELEASE, label):
        fixed = re.fullmatch(r"(?:emr[-_ ]?)?(\d+\.\d+)(\.\d+)?", label, re.IGNORECASE)
        raise Refusal(
            f"expected a release label such as emr-7.5.0, not {shown(value)}",
            f"did you mean `emr-{fixed[1]}{fixed[2] or '.0'}`?" if fixed else None,
        )
    return label


def _idle_timeout(value: int) -> int:
    if not 60 <= value <= 604_800:
        raise Refusal(f"must be between 60 seconds and 7 days, not {value} seconds")
    return value


def _known_configurations(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if value:
        check_aws("emr", "RunJobFlow.Configurations", value)
    return value


def _overrides(value: dict[str, Any], info: ValidationInfo) -> Any:
    """Reject what identifies a cluster and its steps: another job's cluster would be adopted and terminated."""
    instead = {
        "Name": "for a name in the AWS console, set `tags: {Name: …}`",
        "Steps": "set `steps:` or `spark:` in the job",
        "Tags": "set `tags:`",
    }
    for key, hint in instead.items():
        if key in value:
            raise Refusal(f"`{key}` cannot be overridden: batchemr uses it to find the cluster again", hint, [key])
    return as_aws("emr", "RunJobFlow", value, info)


_IDLE = Annotated[Seconds, AfterValidator(_idle_timeout)]


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


_EXISTING = ("cluster", "cluster_id", "cluster_name")
_SHAPE = ("type", "instances", "market", "bid", "ebs", "master", "core", "task", "fleets")


class Emr(Model):
    """A new cluster, or a reference to another one: `cluster` (of `clusters`), `cluster_id` or `cluster_name`."""

    type: InstanceTypes | None = Field(
        None,
        description=(
            "EC2 instance type of the master and the core instances, such as m5.xlarge. With a list, the "
            "next type is tried if EMR cannot provide the previous one. Required unless `master` or `fleets` "
            "is set"
        ),
    )
    instances: Templated[Annotated[int, Field(ge=1, le=4000)]] | None = Field(
        None, description="Total number of instances, 1 to 4,000, including one master. Default: 1"
    )
    market: Market | None = Field(
        None,
        description=("Purchasing option of the core instances; the master is always on demand. Default: `on_demand`"),
    )
    bid: Bid | None = Field(
        None,
        description=(
            "Maximum price of the core instances in US dollars per hour with up to 3 decimals, for `market: spot`. "
            "Default: the on-demand price"
        ),
    )
    ebs: EbsOrSize | None = Field(
        None, description="EBS volumes of each instance: a size in GiB, or a mapping. Default: chosen by EMR"
    )
    master: Group | None = Field(None, description="Instance group of the master (long form)")
    core: Group | None = Field(None, description="Instance group of the core instances (long form)")
    task: Group | None = Field(None, description="Instance group of the task instances (long form); requires `core`")
    fleets: Fleets | None = Field(None, description="Instance fleets, instead of instance groups")
    release: (
        Templated[
            Annotated[
                str,
                BeforeValidator(_release),
                WithJsonSchema({"type": "string", "pattern": rf"^{_RELEASE}$"}),
            ]
        ]
        | None
    ) = Field(None, description="EMR release label. Default: `emr-7.5.0`")
    applications: Texts | None = Field(
        None,
        description=(
            "Applications to install; Hadoop is added if steps copy data. Default: Hadoop, Spark, and Hive if a step "
            "uses it"
        ),
    )
    configurations: Annotated[
        list[dict[str, Any]],
        BeforeValidator(as_configurations),
        AfterValidator(_known_configurations),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "array", "items": CONFIGURATION},
                    {"type": "object", "additionalProperties": {"type": "object"}},
                ]
            }
        ),
    ] = Field(
        default_factory=list,
        description="EMR configuration classifications, as `{spark-defaults: {key: value}}` or as EMR's list",
    )
    bootstrap: Annotated[
        list[Bootstrap], BeforeValidator(_bootstrap), Field(max_length=16), Form((_PATH,), single=True, items=(_PATH,))
    ] = Field(
        default_factory=list,
        description="Up to 16 bootstrap actions, in order; each is a script's S3 URI, `file:/…` or a mapping",
    )
    log_uri: S3Uri | None = Field(
        None, description="S3 URI for the cluster's logs. Without it, failed steps cannot be explained"
    )
    service_role: Word | None = Field(None, description="IAM role of the EMR service. Default: `EMR_DefaultRole`")
    instance_role: Word | None = Field(
        None, description=("Instance profile of the EC2 instances (EMR `JobFlowRole`). Default: `EMR_EC2_DefaultRole`")
    )
    subnets: Texts | None = Field(
        None,
        description=(
            "Subnet ids. Instance groups use one and try the next if EMR has no capacity; fleets choose "
            "among all. Default: chosen by EMR"
        ),
    )
    security_groups: Annotated[
        dict[Literal["master", "core", "service", "additional_master", "additional_core"], Texts], Field()
    ] = Field(
        default_factory=dict,
        description=(
            "Security groups: ids under `master`, `core` and `service`, lists of ids under "
            "`additional_master` and `additional_core`. Default: managed by EMR"
        ),
    )
    security_configuration: Word | None = Field(None, description="Name of an EMR security configuration")
    key_pair: Word | None = Field(None, description="Name of an EC2 key pair for SSH access")
    custom_ami: Word | None = Field(None, description="Id of a custom AMI")
    tags: Tags = Field(
        default_factory=dict,
        description="Tags of the cluster, in addition to those that identify the run; at most 50 in all",
    )
    managed_scaling: ManagedScaling | None = Field(None, description="Limits of EMR managed scaling")
    termination_protection: bool = Field(
        False, description="Enable termination protection; it is removed before Airflow terminates the cluster"
    )
    visible: bool = Field(
        True, description="Make the cluster visible to all IAM users of the account (EMR `VisibleToAllUsers`)"
    )
    step_concurrency: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Maximum number of steps that run at the same time, 1 to 256 (EMR `StepConcurrencyLevel`)"
    )
    keep_alive: _IDLE | None = Field(
        None,
        description=(
            "Time that the cluster stays up after its work has finished or failed, 60 s to 7 days; a retry "
            "reuses it. Default: the cluster is terminated immediately"
        ),
    )
    idle_timeout: _IDLE | None = Field(
        None,
        description=(
            "Time after which an idle cluster terminates itself, 60 s to 7 days (EMR auto-termination "
            "policy, since emr-5.30 and emr-6.1). Default: 24 hours for a cluster that only runs its own "
            "steps, 4 hours otherwise"
        ),
    )
    requires: TextMap = Field(
        default_factory=dict,
        description=(
            "Versions (or version prefixes) that the release must have, by application, such as `{spark: '3.5'}`"
        ),
    )
    overrides: Annotated[Raw, AfterValidator(_overrides), Names("^(?!(Name|Steps|Tags)$)")] = Field(
        default_factory=dict,
        description="Parameters that are merged into the RunJobFlow request, except `Name`, `Steps` and `Tags`",
    )
    cluster: Word | None = Field(None, description="Use a cluster of the pipeline's `clusters`")
    cluster_id: Word | None = Field(None, description="Use an existing cluster with this id (`j-…`)")
    cluster_name: Word | None = Field(
        None, description="Use an existing cluster with this name; not for jobs with `batch`"
    )

    @property
    def existing(self) -> bool:
        """Whether the block refers to a cluster that is defined or created elsewhere."""
        return self.cluster is not None or self.cluster_id is not None or self.cluster_name is not None

    @model_validator(mode="after")
    def _one_form(self) -> Emr:
        for role, groups in self.security_groups.items():
            if len(groups) > 1 and not role.startswith("additional_"):
                hint = f"list the others under `additional_{role}`" if role != "service" else None
                raise Refusal(f"EMR accepts one `{role}` security group", hint, ["security_groups", role])
        existing = [key for key in _EXISTING if getattr(self, key) is not None]
        shape = [key for key in _SHAPE if getattr(self, key) is not None]
        if len(existing) > 1:
            raise Refusal(f"expected one of {', '.join(_EXISTING)}, not {' and '.join(existing)}", at=[existing[1]])
        if existing:
            fields = type(self).model_fields
            allowed = {*_EXISTING, "requires"}
            others = [key for key in fields if key not in allowed and getattr(self, key) != _default(fields[key])]
            if others:
                raise Refusal(
                    f"`{others[0]}` only applies to new clusters and cannot be combined with `{existing[0]}`",
                    at=[others[0]],
                )
            if self.cluster_id is not None and not re.match(r"j-[A-Z0-9]{1,30}\Z|.*\{\{", self.cluster_id):
                raise Refusal(
                    f"expected a cluster id such as j-3H6EATEXAMPLE, not {self.cluster_id}", at=["cluster_id"]
                )
            return self
        self._one_shape(shape)
        return self

    def _one_shape(self, shape: list[str]) -> None:
        groups = [key for key in ("master", "core", "task") if key in shape]
        simple = [key for key in ("type", "instances", "market", "bid", "ebs") if key in shape]
        if self.fleets and (groups or simple):
            raise Refusal(
                f"`fleets` and `{(groups + simple)[0]}` cannot be combined",
                at=["fleets"],
            )
        if groups and simple:
            raise Refusal(
                f"`{simple[0]}` (short form) and `{groups[0]}` (long form) cannot be combined", at=[simple[0]]
            )
        if groups and not self.master:
            raise Refusal("a cluster requires a `master` group")
        if self.task and not self.core:
            raise Refusal("a `task` group requires a `core` group, because task instances do not run HDFS", at=["task"])
        if self.fleets and self.fleets.task and not self.fleets.core:
            message = "a `task` fleet requires a `core` fleet, because task instances do not run HDFS"
            raise Refusal(message, at=["fleets", "task"])
        if self.master and self.master.count not in (1, 3) and not is_template(self.master.count):
            raise Refusal(f"a cluster has 1 or 3 masters, not {self.master.count}", at=["master", "count"])
        if self.master and self.master.count == 3 and self.master.market == "spot":
            raise Refusal("a cluster with 3 masters requires on-demand masters", at=["master", "market"])
        if self.bid is not None and self.market != "spot":
            raise Refusal("`bid` requires `market: spot`", at=["bid"])
        self._with_core()
        if not shape and not self.overrides.get("Instances"):
            raise Refusal(
                "the cluster has no instances: set `type` and `instances`, or `master` and `core`, or `fleets`",
                "to use an existing cluster, set `cluster`, `cluster_id` or `cluster_name`",
            )
        if simple and self.type is None:
            raise Refusal(f"`{simple[0]}` requires `type`, such as m5.xlarge", at=[simple[0]])

    @property
    def several_masters(self) -> bool:
        """Whether the cluster has 3 masters: EMR protects it from termination and keeps it alive after its steps."""
        return 3 in (self.master and self.master.count, self.fleets and self.fleets.master.on_demand)

    def _with_core(self) -> None:
        """Check options that need core instances, which raw overrides may define, too."""
        has_core = self.core or (self.fleets and self.fleets.core) or self.instances not in (None, 1)
        if has_core or not (self.type or self.master or self.fleets):
            return
        if self.managed_scaling:
            raise Refusal(
                "`managed_scaling` requires core instances to scale",
                "add `core`, or more than one of `instances`",
                ["managed_scaling"],
            )
        if self.several_masters:
            at = ["fleets", "master", "on_demand"] if self.fleets else ["master", "count"]
            raise Refusal("a cluster with 3 masters requires a `core` group or fleet", at=at)
