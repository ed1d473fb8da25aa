"""Translate Sundial's Spark tasks: a new or existing cluster, one spark-submit, and copies before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.translation import duration, literal

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.sundial.models import (
        Configuration,
        EmrCommand,
        InstanceGroup,
        NewCluster,
        S3Copy,
        Task,
    )
    from airflow_batchemr.pipeline_file.importers.translation import ImportPosition

_DEPLOY_MODE = "spark.submit.deployMode"
#: Limits of `retries` and `retry_backoff` in a pipeline file.
MAX_RETRIES, MAX_FACTOR = 100, 10.0


def job(command: EmrCommand, task: Task, place: ImportPosition) -> dict[str, Any]:
    """Translate a Spark task."""
    job: dict[str, Any] = {"region": command.region}
    cluster = command.emr_cluster
    if cluster.existing_emr_cluster is not None:
        job["emr"] = {"cluster_id": cluster.existing_emr_cluster.cluster_id}
        job["on_failure"] = "continue"
    elif cluster.new_emr_cluster is not None:
        job["emr"] = _cluster(cluster.new_emr_cluster, place.at("emr", source=["emr_cluster", "new_emr_cluster"]))
        job["on_failure"] = "terminate_cluster"
    if command.load_data:
        job["load"] = _copies(command.load_data)
    # Keep the step's name, which is shown in the EMR console.
    job["steps"] = [{"name": literal(command.job_name), "spark": _spark(command, place.at("steps", 0, "spark"))}]
    if command.save_results:
        job["save"] = _copies(command.save_results)
    if task.max_runtime_seconds is not None:
        job["deadline"] = _deadline(task, place.at("deadline"))
    return job


def _spark(command: EmrCommand, place: ImportPosition) -> dict[str, Any]:
    conf: dict[str, str] = {}
    for position, item in enumerate(command.spark_conf):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            place.at("conf", source=["spark_conf", position]).note(
                f"{item!r} is not key=value, which spark-submit rejects; omitted", refused=True
            )
            continue
        conf[literal(key.strip())] = literal(value)
    result: dict[str, Any] = {"class": literal(command.class_), "jar": literal(command.s3_jar_path)}
    if conf:
        result["conf"] = conf
    if command.spark_packages:
        result["packages"] = [
            literal(f"{package.group_id}:{package.artifact_id}:{package.version}") for package in command.spark_packages
        ]
    if command.args:
        result["args"] = [literal(argument) for argument in command.args]
    # The default of spark-submit is client mode.
    result["deploy_mode"] = "cluster" if conf.get(_DEPLOY_MODE) == "cluster" else "client"
    if command.s3_log_details is not None:
        result["logs"] = {
            "group": literal(command.s3_log_details.log_group_name),
            "stream": literal(command.s3_log_details.log_stream_name),
        }
    return result


def _copies(copies: list[S3Copy]) -> list[dict[str, str]]:
    return [{"source": literal(copy.source), "destination": literal(copy.destination)} for copy in copies]


def _cluster(cluster: NewCluster, place: ImportPosition) -> dict[str, Any]:
    result: dict[str, Any] = {"release": cluster.release_label}
    if cluster.applications:
        result["applications"] = list(cluster.applications)
    result["log_uri"] = literal(cluster.s3_log_uri)
    result["master"] = _group(cluster.master_instance)
    if cluster.master_instance.instance_count != 1:
        result["master"]["count"] = 1
        place.at("master", "count", source=["master_instance", "instance_count"]).note(
            f"was {cluster.master_instance.instance_count}, which Sundial ignored: it always used 1 master"
        )
    for role, group in (("core", cluster.core_instance), ("task", cluster.task_instance)):
        if group is None:
            continue
        if group.instance_count:
            result[role] = _group(group)
        else:
            place.at(source=[f"{role}_instance", "instance_count"]).note(f"the {role} group had no instances; omitted")
    if cluster.ec2_subnet:
        result["subnets"] = cluster.ec2_subnet
    service, instances = cluster.emr_service_role, cluster.emr_job_flow_role
    result["service_role"] = (
        service.custom_emr_service_role.role_name
        if service.custom_emr_service_role is not None
        else service.default_emr_service_role
    )
    result["instance_role"] = (
        instances.custom_emr_job_flow_role.role_name
        if instances.custom_emr_job_flow_role is not None
        else instances.default_emr_job_flow_role
    )
    if not cluster.visible_to_all_users:
        result["visible"] = False
    if cluster.configurations:
        result["configurations"] = _configurations(cluster.configurations)
    if cluster.security_configuration:
        result["security_configuration"] = cluster.security_configuration
    result["tags"] = {"Name": literal(cluster.name)}
    place.at("tags", "Name", source=["name"]).note(
        "was the cluster's name. Clusters are now named after their run, so that they are found again after a crash; "
        "the old name is kept as a tag"
    )
    return result


def _group(group: InstanceGroup) -> dict[str, Any]:
    result: dict[str, Any] = {"type": group.emr_instance_type, "count": group.instance_count}
    if group.aws_market.spot is not None:
        result["market"] = "spot"
        result["bid"] = group.aws_market.spot.bid_price
    if group.ebs_volume_size is not None:
        result["ebs"] = {"size": group.ebs_volume_size, "type": "gp2"}
    return result


def _configurations(configurations: list[Configuration]) -> Any:
    """The short form if it is sufficient, else EMR's own format."""
    names = [item.classification for item in configurations]
    if all(names) and len(set(names)) == len(names) and not any(item.configurations for item in configurations):
        return {item.classification: dict(item.properties or {}) for item in configurations}
    return [_configuration(item) for item in configurations]


def _configuration(item: Configuration) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if item.classification is not None:
        result["Classification"] = item.classification
    if item.properties is not None:
        result["Properties"] = dict(item.properties)
    if item.configurations is not None:
        result["Configurations"] = [_configuration(inner) for inner in item.configurations]
    return result


def _deadline(task: Task, place: ImportPosition) -> str:
    """The limit of the whole job: the time limits of all attempts and the delays between them."""
    limit = task.max_runtime_seconds
    assert limit is not None  # noqa: S101 - checked by the caller
    if task.max_attempts == 1:
        return duration(limit)
    # The limits of `retries` and `retry_backoff`, without which the sum could overflow.
    retries, factor = min(task.max_attempts - 1, MAX_RETRIES), min(max(task.backoff_exponent, 1.0), MAX_FACTOR)
    delays = sum(task.backoff_base_seconds * factor**number for number in range(retries))
    place.note(
        f"Sundial limited each of the {task.max_attempts} attempts to {duration(limit)}; the deadline covers all "
        "attempts and the delays between them"
    )
    return duration(int(min(limit * task.max_attempts + delays, 315_360_000)))
