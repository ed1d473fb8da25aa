"""Create the backend of an operator from its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch.options import array_options, batch_options
from airflow_batchemr.aws.emr.job_steps import job_steps
from airflow_batchemr.aws.emr.options import cluster_options, job_run_options, owner_tag, spark_options, step_options
from airflow_batchemr.dags import tasks
from airflow_batchemr.forecast.backends import (
    ForecastBatch,
    ForecastExistingCluster,
    ForecastJobRun,
    ForecastOwnCluster,
    ForecastSharedCluster,
)
from airflow_batchemr.pipeline_file.models import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_steps import JobSteps
    from airflow_batchemr.dags.rendered_policy import RenderedPolicy
    from airflow_batchemr.engine.backend import Backend
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger
    from airflow_batchemr.pipeline_file.models import Emr


@dataclass(frozen=True)
class Arguments:
    """Inputs for a backend.

    Attributes:
        kwargs: Arguments of the operator with rendered templates.
        clients: AWS clients.
        ledger: Ledger of the job.
        identity: Identity of the job.
        rerun_token: Rerun token for claims.
        folder: Base folder of relative paths.
        owner: Owner of the task in Airflow.
        online: Whether AWS may be called.
        size_rendered: Whether the size of the array is a template.
        policy: The policy for options that templates provide.
    """

    kwargs: Mapping[str, Any]
    clients: Clients
    ledger: JobLedger
    identity: JobIdentity
    rerun_token: str | None
    folder: Path
    owner: str
    online: bool
    size_rendered: bool
    policy: RenderedPolicy | None

    def cluster(self) -> Emr:
        """Return the options of a new cluster."""
        options = cluster_options(self.kwargs["cluster"], rendered=True)
        return options if self.policy is None else self.policy.cluster(options)

    def steps(self) -> JobSteps:
        """Return the steps of a job."""
        return job_steps(
            step_options(self.kwargs["steps"]),
            clients=self.clients if self.online else None,
            identity=self.identity,
            folder=self.folder,
            on_failure=self.kwargs.get("on_failure"),
            env=self.kwargs.get("env"),
            explicit_success=self.kwargs.get("explicit_success", False),
            execution_role=self.kwargs.get("execution_role"),
        )


def check_known(operator: str, kwargs: Mapping[str, Any]) -> None:
    """Check arguments of which some are templates that only Airflow can render.

    Raises:
        InvalidRequest: Another option is wrong.
    """
    if operator == tasks.BATCH_ARRAY:
        batch_options({name: kwargs[name] for name in Batch.model_fields if name in kwargs}, rendered="partly")
        array_options(kwargs.get("array"), rendered="partly")
    elif isinstance(kwargs.get("cluster"), dict):
        cluster_options(kwargs["cluster"], rendered="partly")


def _batch(given: Arguments) -> ForecastBatch:
    kwargs = given.kwargs
    options = batch_options({name: kwargs[name] for name in Batch.model_fields if name in kwargs}, rendered=True)
    array = array_options(kwargs.get("array"), rendered=True)
    if given.policy is not None:
        options, array = given.policy.batch(options, array)
    backend = ForecastBatch.of(
        options,
        array,
        clients=given.clients,
        ledger=given.ledger,
        identity=given.identity,
        rerun_token=given.rerun_token,
        index_of=kwargs.get("index_of"),
        cluster=kwargs.get("cluster"),
        explicit_success=kwargs.get("explicit_success", False),
        size_rendered=given.size_rendered,
    )
    backend.online = given.online
    return backend


def _own_cluster(given: Arguments) -> ForecastOwnCluster:
    backend = ForecastOwnCluster.of(
        given.cluster(),
        given.steps(),
        tags=owner_tag(given.owner),
        resume=given.kwargs.get("resume_steps", True),
        clients=given.clients,
        ledger=given.ledger,
        identity=given.identity,
    )
    backend.online = given.online
    return backend


def _existing_cluster(given: Arguments) -> ForecastExistingCluster:
    kwargs = given.kwargs
    backend = ForecastExistingCluster.of(
        given.steps(),
        cluster=kwargs.get("cluster"),
        cluster_id=kwargs.get("cluster_id"),
        cluster_name=kwargs.get("cluster_name"),
        resume=kwargs.get("resume_steps", True),
        clients=given.clients,
        ledger=given.ledger,
        identity=given.identity,
    )
    backend.online = given.online
    return backend


def _shared_cluster(given: Arguments) -> ForecastSharedCluster:
    kwargs = given.kwargs
    needs = dict(kwargs.get("needs") or {})
    if not given.online:  # as for the steps: their files may be in S3
        needs.pop("python_env", None)
    backend = ForecastSharedCluster.of(
        given.cluster(),
        needs,
        tags=owner_tag(given.owner),
        folder=given.folder,
        used_by=kwargs.get("used_by", ()),
        clients=given.clients,
        ledger=given.ledger,
        identity=given.identity,
    )
    backend.online = given.online
    return backend


def _job_run(given: Arguments) -> ForecastJobRun:
    kwargs = given.kwargs
    backend = ForecastJobRun.of(
        job_run_options(kwargs["on"]),
        spark_options(kwargs["spark"]),
        env=kwargs.get("env"),
        deadline=kwargs.get("deadline"),
        explicit_success=kwargs.get("explicit_success", False),
        clients=given.clients,
        ledger=given.ledger,
        identity=given.identity,
    )
    backend.online = given.online
    return backend


#: By dotted path of the operator class.
OPERATORS: dict[str, Callable[[Arguments], Backend]] = {
    tasks.BATCH_ARRAY: _batch,
    tasks.EPHEMERAL_EMR: _own_cluster,
    tasks.EMR_STEPS: _existing_cluster,
    tasks.CREATE_CLUSTER: _shared_cluster,
    tasks.EMR_JOB_RUN: _job_run,
}


def needs_data(kwargs: Mapping[str, Any]) -> bool:
    """Return whether the size of a job's array is derived from data."""
    return "size" not in array_options(kwargs.get("array"), rendered=True)
