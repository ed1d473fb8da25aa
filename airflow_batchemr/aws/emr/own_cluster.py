"""A job on its own cluster, which starts with the job's first steps and ends when they are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.cluster_options import ClusterOptions
from airflow_batchemr.aws.emr.request import STEPS_AT_CREATION, plain
from airflow_batchemr.aws.emr.steps_backend import StepsBackend
from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import NewSubmission
from airflow_batchemr.ledger import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_steps import JobSteps
    from airflow_batchemr.core.errors import InvalidRequest
    from airflow_batchemr.engine.backend import SubmissionPlan
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, Submission
    from airflow_batchemr.pipeline_file.models import Emr


@dataclass(kw_only=True)
class OwnCluster(StepsBackend):
    """See the module."""

    options: ClusterOptions

    @classmethod
    def of(
        cls,
        cluster: Emr,
        steps: JobSteps,
        *,
        tags: Mapping[str, str],
        resume: bool,
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
        invalid: InvalidRequest | None = None,
    ) -> Self:
        """The backend of a job, whose options are checked as a whole; `invalid` as in `ClusterOptions`.

        Raises:
            InvalidRequest: names the option.
        """
        options = ClusterOptions(cluster, steps.needs, steps.pythons, tags, invalid)
        configs = [step.config("check", options.step_default) for step in steps.planned[:STEPS_AT_CREATION]]
        options.request(ledger, identity, 0, configs, stays=False)
        return cls(
            planned=steps.planned,
            resume=resume,
            concurrency=cluster.step_concurrency,
            execution_role=steps.execution_role,
            clients=clients,
            ledger=ledger,
            identity=identity,
            options=options,
        )

    def retryable_units(self, state: LedgerState, failed: IndexSet) -> IndexSet:
        """All steps, if AWS had no capacity for the cluster and there is another subnet or instance type to try."""
        return failed if self.options.next_variant(state) else IndexSet()

    def plans(
        self, state: LedgerState, left: IndexSet, *, failed: IndexSet, busy: Sequence[Submission]
    ) -> list[SubmissionPlan]:
        """The next steps, on a cluster of the next variant."""
        variant = self.options.next_variant(state) or 0
        plans = super().plans(state, left, failed=failed, busy=busy)
        return [type(plan)(plan.number, plan.indices, variant) for plan in plans]

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission:
        """A cluster with the steps, or only the steps if the job's cluster is running and waits for more."""
        batch = self.steps(plan.indices)
        left = self.units(state) - self.done(state) - plan.indices - state.running
        default = "terminate_cluster" if left and self.concurrency == 1 else self.options.step_default
        handles = [one.handle for one in state.open_submissions if one.handle and one.handle.kind == "emr"]
        if handles and handles[0].cluster_id is not None:
            return self.steps_on(plan.number, handles[0].cluster_id, batch, default)
        kept = self.options.kept_alive(self.clients, self.ledger, self.identity, plan)
        if kept is not None:
            return self.steps_on(plan.number, kept, batch, self.options.step_default)
        configs = self.configs(plan.number, batch, default)
        request = self.options.request(
            self.ledger, self.identity, plan.number, configs, stays=bool(left), variant=plan.variant
        )
        if self.execution_role:
            request["StepExecutionRoleArn"] = self.execution_role
            check_request("emr", "RunJobFlow", request)
        self.prepare(request)
        call = Request(name=request["Name"], indices=plan.indices, request=plain(request))
        details = {"variant": plan.variant, "keep_alive": self.options.emr.keep_alive, **self.recorded(batch)}
        return NewSubmission("emr", [call], details)

    def prepare(self, request: Mapping[str, Any]) -> None:
        """Check that EMR has what the request needs, and upload its scripts."""
        self.options.prepare(self.clients, self.ledger, request)
