"""A cluster to start: the `emr:` block with everything that is generated for it, and its variants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.preflight import check_release
from airflow_batchemr.aws.emr.python_env import ROOT, docker_configurations
from airflow_batchemr.aws.emr.request import Variant, plain, run_job_flow_request, variants
from airflow_batchemr.aws.emr.start_failures import start_failure
from airflow_batchemr.aws.emr.steps import Step
from airflow_batchemr.engine.ownership import difference
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.python_env import Environment
    from airflow_batchemr.core.errors import InvalidRequest
    from airflow_batchemr.engine.backend import SubmissionPlan
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, Result
    from airflow_batchemr.pipeline_file.models import Emr
    from airflow_batchemr.pipeline_file.models.spark import OnFailure

#: Fields of RunJobFlow that differ between submissions with the same options.
_OF_THE_SUBMISSION = frozenset({"Name", "StepExecutionRoleArn", "Steps", "Tags"})


@dataclass(frozen=True)
class ClusterOptions:
    """A cluster to start, with what the steps on it need; `tags` are additional to those of block and submission.

    `invalid` is why no cluster can be started with the current options, while one with earlier ones runs.
    """

    emr: Emr
    needs: Needs = field(default_factory=Needs)
    pythons: Mapping[str, Environment] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    invalid: InvalidRequest | None = None

    @property
    def scripts(self) -> dict[str, bytes]:
        """The bootstrap actions that create Python environments, by name."""
        return {one.name: one.script for one in self.pythons.values() if one.script is not None}

    @property
    def step_default(self) -> OnFailure:
        """What EMR does when a step of the job fails, if neither step nor job specify it."""
        if self.emr.step_concurrency > 1:
            return "continue"  # EMR accepts only this
        return "cancel_and_wait" if self.emr.keep_alive else "terminate_cluster"

    @property
    def variants(self) -> list[Variant]:
        """The ways to start the cluster, in the order in which they are tried."""
        return variants(self.emr)

    def request(
        self,
        ledger: JobLedger,
        identity: JobIdentity,
        number: int = 0,
        steps: Sequence[Mapping[str, Any]] = (),
        *,
        stays: bool,
        variant: int = 0,
    ) -> dict[str, Any]:
        """The RunJobFlow of a submission, with the number of the variant.

        Raises:
            InvalidRequest: EMR would refuse it.
        """
        bootstrap = [
            {"Name": name, "ScriptBootstrapAction": {"Path": ledger.document_uri(name), "Args": [ROOT]}}
            for name in self.scripts
        ]
        return run_job_flow_request(
            self.emr,
            name=identity.submission_name(number),
            tags={**self.tags, **identity.tags(number)},
            steps=steps,
            stays=stays or self.emr.keep_alive is not None,
            variant=self.variants[variant],
            bootstrap=bootstrap,
            configurations=docker_configurations(self.needs.docker_image),
            needed=self.needs.applications,
        )

    def prepare(self, clients: Clients, ledger: JobLedger, request: Mapping[str, Any]) -> None:
        """Check that EMR has what the request needs, and upload the scripts that the cluster runs.

        Raises:
            InvalidRequest: names what EMR lacks, or the option that is invalid.
            DocumentDiffersError: somebody else has written one of the scripts.
        """
        if self.invalid is not None:
            raise self.invalid
        applications = [str(one["Name"]) for one in request.get("Applications", [])]
        check_release(clients, str(request["ReleaseLabel"]), applications, {**self.emr.requires, **self.needs.requires})
        ledger.put_documents(self.scripts)

    def kept_alive(
        self, clients: Clients, ledger: JobLedger, identity: JobIdentity, plan: SubmissionPlan
    ) -> str | None:
        """The cluster that `keep_alive` has left of an earlier submission, if it still accepts steps.

        Its options must be the current ones: changed options, like another variant, need a new cluster.
        """
        if self.emr.keep_alive is None or plan.number == 1 or plan.variant:
            return None
        for submission in reversed(ledger.history().submissions):
            intent, handle = submission.intent, submission.handle
            if intent is None or intent.kind != "emr" or "cluster_id" in intent.details:
                continue
            if submission.stop is not None or handle is None or handle.cluster_id is None or submission.open:
                continue
            variant = intent.details.get("variant")
            if not isinstance(variant, int) or variant >= len(self.variants):
                continue
            described = clusters.describe(clients, handle.cluster_id)
            if described is None or not (brief := Cluster.of(described)).alive:
                continue
            if difference(identity, submission.number, brief.name, clusters.tags_of(described)) is not None:
                continue
            request = self.request(ledger, identity, stays=True, variant=variant)
            if _of_cluster(intent.first) == _of_cluster(plain(request)):
                return handle.cluster_id
        return None

    def next_variant(self, state: LedgerState) -> int | None:
        """Which of `variants` to start: the first, or the next one after a failure that it may avoid.

        None: the last cluster of this try failed, and no other variant may avoid the failure.
        """
        results = [
            one.result for one in state.current if one.result is not None and one.number not in state.prior_submissions
        ]
        started = [one for one in results if one.kind == "emr" and one.outcome not in {"stopped", "abandoned"}]
        if not started or started[-1].outcome == "succeeded":
            return 0
        used = started[-1].details.get("variant")
        if not isinstance(used, int) or not _failed_to_start_here(started[-1]) or used + 1 >= len(self.variants):
            return None
        return used + 1


def _of_cluster(request: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in request.items() if field not in _OF_THE_SUBMISSION}


def _failed_to_start_here(result: Result) -> bool:
    """Whether a cluster never started, for a reason that another subnet or instance type may avoid."""
    cluster: Any = result.details.get("cluster")
    if result.kind != "emr" or not cluster:
        return False
    brief = Cluster.of(cluster)
    if brief.ready or any(Step.of(entry).state not in {"CANCELLED", "PENDING"} for entry in result.steps):
        return False
    failure = start_failure(brief)
    return failure is not None and failure.elsewhere
