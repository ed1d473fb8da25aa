"""What jobs that run steps have in common: the calls that start a cluster or add steps to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws import explicit_success
from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.request import plain
from airflow_batchemr.aws.emr.step_work import StepWork
from airflow_batchemr.core.errors import AwsError, InvalidRequest, Throttled
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import NewSubmission
from airflow_batchemr.ledger import Handle, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_steps import PlannedStep
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, Submission
    from airflow_batchemr.pipeline_file.models.spark import OnFailure


@dataclass(kw_only=True)
class StepsBackend(StepWork):
    """What jobs that run steps have in common; see `engine.backend.Backend`."""

    clients: Clients
    ledger: JobLedger
    identity: JobIdentity
    execution_role: str | None = None
    """ARN of the IAM role of the steps."""

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:
        """RunJobFlow or AddJobFlowSteps."""
        return start_cluster_or_steps(self.clients, request, sleep)

    def stays(self, submission: Submission) -> bool:  # noqa: ARG002 - of the protocol
        """The job's own cluster ends with the job."""
        return False

    def steps_on(self, number: int, cluster_id: str, batch: Sequence[PlannedStep], default: OnFailure) -> NewSubmission:
        """Steps to add to a cluster."""
        name = self.identity.submission_name(number)
        role = {"ExecutionRoleArn": self.execution_role} if self.execution_role else {}
        request = {"JobFlowId": cluster_id, "Steps": self.configs(number, batch, default), **role}
        call = Request(name=name, indices=IndexSet.of(step.number for step in batch), request=plain(request))
        return NewSubmission("steps", [call], {"cluster_id": cluster_id, **self.recorded(batch)})

    def configs(self, number: int, batch: Sequence[PlannedStep], default: OnFailure) -> list[dict[str, Any]]:
        """The StepConfigs of a submission; raises `InvalidRequest` if a step must not be submitted."""
        for step in batch:
            if step.refusal is not None:
                raise InvalidRequest(f"steps[{step.number}].{step.refusal}")
        name = self.identity.submission_name(number)
        return [
            step.config(name, default, explicit_success.environment(self.ledger, number, step.number)) for step in batch
        ]

    def recorded(self, batch: Sequence[PlannedStep]) -> dict[str, Any]:
        """The details of an intent about its steps."""
        known = {str(step.number): {"name": step.name, "digest": step.digest} for step in batch}
        explicit = IndexSet.of(step.number for step in batch if step.explicit)
        return {"steps": known, "resume": self.resume, **({"explicit": explicit.text()} if explicit else {})}


def start_cluster_or_steps(clients: Clients, request: Request, sleep: Callable[[float], object]) -> Handle:
    """RunJobFlow or AddJobFlowSteps."""
    call: dict[str, Any] = dict(request.request)
    cluster_id = call.get("JobFlowId")
    if cluster_id is None:
        cluster_id = clusters.create(clients, call, sleep)
        titles = dict(zip(request.indices, (step["Name"] for step in call.get("Steps", ())), strict=False))
        return Handle(kind="emr", cluster_id=cluster_id, step_ids=_step_ids(clients, cluster_id, titles))
    try:
        ids = steps.add(clients, call, sleep)
    except InvalidRequest as error:
        if clusters.is_alive(clients, cluster_id):
            raise
        raise Throttled(f"{error}. The cluster {cluster_id} has ended, so the steps run on another one") from error
    return Handle(kind="steps", cluster_id=cluster_id, step_ids=dict(zip(request.indices, ids, strict=True)))


def _step_ids(clients: Clients, cluster_id: str, titles: dict[int, str]) -> dict[int, str]:
    """Ids of the steps of a new cluster; empty if EMR does not show them yet."""
    try:
        return steps.find(clients, cluster_id, titles) if titles else {}
    except AwsError:
        return {}
