"""Models of Sundial's process definitions, with the names and defaults of its API (svc-sundial)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import Model, shown


class SundialModel(Model):
    """A JSON object of Sundial; unknown fields are ignored, as in Sundial."""

    model_config = ConfigDict(extra="allow")


class Union(SundialModel):
    """An object with exactly one field, whose name is the type of its value."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Union:
        known = list(type(self).model_fields)
        present = [name for name in known if getattr(self, name) is not None]
        if len(present) != 1:
            found = " and ".join(present) or " and ".join(self.model_extra or {}) or "none"
            raise Refusal(f"expected exactly one of {', '.join(known)}, not {found}")
        return self

    @property
    def kind(self) -> str:
        """The name of the field."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


def _enum_value(value: object) -> object:
    """Unwrap `{"value": "EMR_DefaultRole"}`, which Sundial's API returns for an enum in a union."""
    return value["value"] if isinstance(value, dict) and list(value) == ["value"] else value


def _market(value: object) -> object:
    return {"on_demand": "on_demand"} if value == "on_demand" else value


def _price(value: object) -> str:
    """Format a price in dollars, without an exponent."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise Refusal(f"expected a price in dollars per hour such as 0.07, not {shown(value)}")
    return f"{number:.6f}".rstrip("0").rstrip(".")


Text = Annotated[str, Field(min_length=1)]
EnumText = Annotated[str, BeforeValidator(_enum_value)]
NotifyWhen = Literal["always", "on_failure", "on_state_change", "on_state_change_and_failures", "never"]


class EnvironmentVariable(SundialModel):
    """An environment variable of a task."""

    variable_name: Text
    value: str


class CronSchedule(SundialModel):
    """The fields of a Quartz expression, without seconds."""

    day_of_week: str
    month: str
    day_of_month: str
    hours: str
    minutes: str


class ContinuousSchedule(SundialModel):
    """Continuous runs, with a pause between them."""

    buffer_seconds: Annotated[int, Field(ge=0)] | None = None


class Schedule(Union):
    """When a process runs."""

    cron_schedule: CronSchedule | None = None
    continuous_schedule: ContinuousSchedule | None = None


class Email(SundialModel):
    """An email recipient; also an entry of the older `subscriptions`."""

    name: str
    email: Text
    notify_when: NotifyWhen = "on_state_change_and_failures"


class Pagerduty(SundialModel):
    """A PagerDuty service, notified after a number of consecutive failures."""

    service_key: Text
    num_consecutive_failures: Annotated[int, Field(ge=1)] = 1
    api_url: str = "https://events.pagerduty.com"


class Notification(Union):
    """A recipient of notifications."""

    email: Email | None = None
    pagerduty: Pagerduty | None = None


class Dependency(SundialModel):
    """An upstream task."""

    task_definition_name: Text
    success_required: bool = True


class BatchImageCommand(SundialModel):
    """A container on AWS Batch; memory is in MiB."""

    image: Text
    tag: Text = "latest"
    command: list[str]
    memory: Annotated[int, Field(ge=1)]
    vCpus: Annotated[int, Field(ge=1)]  # noqa: N815 - Sundial's name
    job_role_arn: Text | None = None
    environment_variables: list[EnvironmentVariable] = Field([])
    job_queue: Text | None = None


class DockerImageCommand(SundialModel):
    """A container on ECS, used before AWS Batch; 1,024 units of `cpu` are one vCPU."""

    image: Text
    tag: Text = "latest"
    command: list[str]
    memory: Annotated[int, Field(ge=1)] | None = None
    cpu: Annotated[int, Field(ge=1)] | None = None
    taskRoleArn: Text | None = None  # noqa: N815 - Sundial's name
    log_paths: list[str] = Field([])
    environment_variables: list[EnvironmentVariable] = Field([])


class ShellScriptCommand(SundialModel):
    """A bash script on the Sundial server."""

    script: Text
    environment_variables: list[EnvironmentVariable] | None = None


class Spot(SundialModel):
    """Spot instances, with a bid in dollars per hour."""

    bid_price: Annotated[str, BeforeValidator(_price)]


class Market(Union):
    """The purchasing option of an instance group."""

    on_demand: Annotated[Literal["on_demand"], BeforeValidator(_enum_value)] | None = None
    spot: Spot | None = None


class InstanceGroup(SundialModel):
    """An instance group of a new cluster; the EBS volume size is in GB."""

    emr_instance_type: Text
    instance_count: Annotated[int, Field(ge=0)]
    aws_market: Annotated[Market, BeforeValidator(_market)]
    ebs_volume_size: Annotated[int, Field(ge=1)] | None = None


class Role(SundialModel):
    """The name of an IAM role or instance profile."""

    role_name: Text


class ServiceRole(Union):
    """The service role of EMR."""

    default_emr_service_role: EnumText | None = None
    custom_emr_service_role: Role | None = None


class JobFlowRole(Union):
    """The instance profile of the cluster's instances."""

    default_emr_job_flow_role: EnumText | None = None
    custom_emr_job_flow_role: Role | None = None


class Configuration(SundialModel):
    """An EMR configuration classification."""

    classification: str | None = None
    configurations: list[Configuration] | None = None
    properties: dict[str, str] | None = None


class NewCluster(SundialModel):
    """A cluster that is created for the task."""

    name: Text
    release_label: Annotated[EnumText, Field(min_length=1)] = "emr-5.10.0"
    applications: list[str]
    s3_log_uri: Text
    master_instance: InstanceGroup
    core_instance: InstanceGroup | None = None
    task_instance: InstanceGroup | None = None
    ec2_subnet: Text | None = None
    emr_service_role: ServiceRole
    emr_job_flow_role: JobFlowRole
    visible_to_all_users: bool = False
    configurations: list[Configuration] | None = None
    security_configuration: Text | None = None


class ExistingCluster(SundialModel):
    """A running cluster."""

    cluster_id: Text


class Cluster(Union):
    """The cluster of a Spark task."""

    new_emr_cluster: NewCluster | None = None
    existing_emr_cluster: ExistingCluster | None = None


class Package(SundialModel):
    """A Maven package."""

    group_id: Text
    artifact_id: Text
    version: Text


class LogDetails(SundialModel):
    """The log stream in CloudWatch Logs that the Spark program writes to."""

    log_group_name: Text
    log_stream_name: Text


class S3Copy(SundialModel):
    """A copy by s3-dist-cp."""

    source: Text
    destination: Text


class EmrCommand(SundialModel):
    """A spark-submit on EMR, with copies before and after it."""

    emr_cluster: Cluster
    job_name: Text
    region: Text = "us-east-1"
    class_: Annotated[str, Field(alias="class", min_length=1)]
    s3_jar_path: Text
    spark_conf: list[str] = Field([])
    spark_packages: list[Package] = Field([])
    args: list[str] = Field([])
    s3_log_details: LogDetails | None = None
    load_data: list[S3Copy] | None = None
    save_results: list[S3Copy] | None = None


class Executable(Union):
    """What a task runs."""

    batch_image_command: BatchImageCommand | None = None
    emr_command: EmrCommand | None = None
    shell_script_command: ShellScriptCommand | None = None
    docker_image_command: DockerImageCommand | None = None


class Task(SundialModel):
    """A task of a process."""

    task_definition_name: Text
    dependencies: list[Dependency] = Field([])
    executable: Executable
    max_attempts: Annotated[int, Field(ge=1)]
    max_runtime_seconds: Annotated[int, Field(ge=1)] | None = None
    backoff_base_seconds: Annotated[int, Field(ge=0)]
    backoff_exponent: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 1.0
    require_explicit_success: bool = False


class Process(SundialModel):
    """A process definition: tasks with a common schedule."""

    process_definition_name: Text
    process_description: str | None = None
    paused: bool | None = None
    schedule: Schedule | None = None
    task_definitions: Annotated[list[Task], Field(min_length=1)]
    overlap_action: Literal["wait", "terminate"] = "wait"
    notifications: list[Notification] | None = None
    subscriptions: list[Email] | None = None


def unknown_fields(model: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], list[str]]]:
    """Find fields that Sundial does not have.

    Args:
        model: a model, or a value of one.
        path: its path.

    Returns:
        the path of each unknown field, and the known fields of its object.
    """
    found: list[tuple[tuple[str | int, ...], list[str]]] = []
    if isinstance(model, list):
        for position, item in enumerate(model):
            found += unknown_fields(item, (*path, position))
    elif isinstance(model, SundialModel):
        known = [info.alias or name for name, info in type(model).model_fields.items()]
        found += [((*path, name), known) for name in model.model_extra or {}]
        for name, info in type(model).model_fields.items():
            found += unknown_fields(getattr(model, name), (*path, info.alias or name))
    return found
