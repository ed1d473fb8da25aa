"""A job on a cluster of its own: it starts with the job's steps, and ends when they are done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.advance import Advance, Failed
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.kept_alive import kept_cluster
from airflow_batchemr.aws.emr.preflight import check_release
from airflow_batchemr.aws.emr.python_env import ROOT, docker_configurations
from airflow_batchemr.aws.emr.request import STEPS_AT_CREATION, Variant, run_job_flow, variants
from airflow_batchemr.aws.emr.start_failures import start_failure
from airflow_batchemr.aws.emr.steps import Step
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.python_env import Environment
    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.aws.emr.submission_view import Look, Open
    from airflow_batchemr.aws.emr.submissions import EmrSubmissions
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger
    from airflow_batchemr.pipeline_file.models import Emr
    from airflow_batchemr.pipeline_file.models.spark import OnFailure


@dataclass(frozen=True)
class ClusterWords:
    """A cluster to start: the block, and what is generated for it."""

    emr: Emr
    needs: Needs = field(default_factory=Needs)
    """What the steps need that are to run on it."""
    pythons: Mapping[str, Environment] = field(default_factory=dict)
    """What each of their `python_env` comes to."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def scripts(self) -> list[Environment]:
        """Python environments that bootstrap actions make."""
        return [one for one in self.pythons.values() if one.script is not None]

    @property
    def step_default(self) -> OnFailure:
        """What EMR does when a step of the job fails, where neither step nor job say so."""
        if self.emr.step_concurrency > 1:
            return "continue"  # EMR takes nothing else then
        return "cancel_and_wait" if self.emr.keep_alive else "terminate_cluster"

    def request(
        self,
        identity: JobIdentity,
        number: int,
        steps: Sequence[Mapping[str, Any]],
        *,
        stays: bool,
        variant: Variant,
        folder: str = "s3://",
    ) -> dict[str, Any]:
        """The RunJobFlow of an attempt; raises `InvalidRequest`."""
        bootstrap = [
            {"Name": one.name, "ScriptBootstrapAction": {"Path": folder + one.name, "Args": [ROOT]}}
            for one in self.scripts
        ]
        return run_job_flow(
            self.emr,
            name=identity.submission_name(number),
            tags={**self.tags, **identity.tags(number)},
            steps=steps,
            stays=stays or self.emr.keep_alive is not None,
            variant=variant,
            bootstrap=bootstrap,
            configurations=docker_configurations(self.needs.docker_image),
            needed=self.needs.applications,
        )

    def prepare(self, clients: Clients, ledger: JobLedger, request: Mapping[str, Any]) -> None:
        """Look whether EMR has what the request asks for, and put the scripts where the cluster finds them.

        Raises:
            InvalidRequest: names what EMR lacks.
        """
        applications = [str(one["Name"]) for one in request.get("Applications", [])]
        check_release(clients, str(request["ReleaseLabel"]), applications, {**self.emr.requires, **self.needs.requires})
        for one in self.scripts:
            if one.script is not None:
                ledger.put_document(one.name, one.script)

    def kept(self, clients: Clients, ledger: JobLedger, identity: JobIdentity) -> str | None:
        """The cluster that an earlier attempt has started by these words and kept alive, where it still takes steps."""
        if self.emr.keep_alive is None:
            return None
        folder = ledger.document_uri("")

        def request(variant: Variant) -> dict[str, Any]:
            return self.request(identity, 0, (), stays=True, variant=variant, folder=folder)

        return kept_cluster(clients, ledger, variants(self.emr), request)


def next_variant(words: ClusterWords, last: Failed | None) -> int | None:
    """Which way to start the cluster: the first, or after a failure that another may mend, the next; None: no more."""
    if last is None:
        return 0
    intent = last.opened.submission.intent if last.opened.submission else None
    used = intent.details.get("variant") if intent else None
    number = int(used) + 1 if isinstance(used, int) else len(variants(words.emr))
    return number if number < len(variants(words.emr)) else None


def failed_start_elsewhere(failed: Failed) -> bool:
    """Whether a cluster never ran a step, for a reason that another subnet or type may mend."""
    brief = failed.look.brief
    if failed.opened.kind != "emr" or brief is None:
        return False
    if any(Step.of(said).state not in {"CANCELLED", "PENDING"} for said in failed.look.steps.values()):
        return False
    why = start_failure(brief)
    return why is not None and why.elsewhere


class OwnCluster(Advance):
    """See the module.

    Args:
        words: of the cluster.
        clients: AWS.
        identity: whose work it is.
        attempts: of the job.
        **kwargs: of `Advance`.
    """

    def __init__(
        self,
        words: ClusterWords,
        clients: Clients,
        identity: JobIdentity,
        submissions: EmrSubmissions,
        **kwargs: Any,
    ) -> None:
        super().__init__(submissions, ordered=words.emr.step_concurrency == 1, **kwargs)
        self._clients = clients
        self._identity = identity
        self._words = words

    def retried_at_once(self, failed: Failed) -> bool:
        """Where AWS had no room, the next subnet or instance type of the list is tried."""
        return failed_start_elsewhere(failed) and next_variant(self._words, failed) is not None

    def begin(self, number: int, left: list[PlannedStep], rerun_token: str | None, last: Failed | None) -> Open | None:
        """Start a cluster with the first 256 steps; it ends by itself after them, unless there are more.

        They go to the cluster of an earlier attempt where `keep_alive` has kept that.
        """
        kept = self._words.kept(self._clients, self._ledger, self._identity) if number > 1 and last is None else None
        if kept is not None:
            return self._add(number, kept, left, rerun_token)
        position = next_variant(self._words, last) or 0
        first, stays = left[:STEPS_AT_CREATION], len(left) > STEPS_AT_CREATION
        name = self._identity.submission_name(number)
        configs = [step.config(name, self._default(more=stays)) for step in first]
        variant = variants(self._words.emr)[position]
        folder = self._ledger.document_uri("")
        request = self._words.request(self._identity, number, configs, stays=stays, variant=variant, folder=folder)
        self._words.prepare(self._clients, self._ledger, request)
        details = {"variant": position, "keep_alive": self._words.emr.keep_alive}
        return self._attempts.start_cluster(number, request, first, rerun_token, details=details)

    def _add(self, number: int, cluster_id: str, left: list[PlannedStep], rerun_token: str | None) -> Open | None:
        """Add steps to a cluster that has been kept; None where it has just ended: then there will be another one."""
        name = self._identity.submission_name(number)
        batch = left[:STEPS_AT_CREATION]
        configs = [step.config(name, self._words.step_default) for step in batch]
        try:
            return self._attempts.start_steps(number, cluster_id, configs, batch, rerun_token)
        except InvalidRequest:
            said = clusters.describe(self._clients, cluster_id)
            if said is not None and Cluster.of(said).alive:
                raise
            return None

    def go_on(
        self, cluster: tuple[Open, Look], number: int, left: list[PlannedStep], rerun_token: str | None
    ) -> Open | None:
        """Add the next 256 steps to the cluster, where it is still there."""
        opened, look = cluster
        brief = look.brief
        if opened.kind != "emr" or opened.cluster_id is None or brief is None or not brief.alive:
            return None
        name = self._identity.submission_name(number)
        batch = left[:STEPS_AT_CREATION]
        configs = [step.config(name, self._default(more=True)) for step in batch]
        return self._attempts.start_steps(number, opened.cluster_id, configs, batch, rerun_token)

    def _default(self, *, more: bool) -> OnFailure:
        return self._words.step_default if not more or self._words.emr.step_concurrency > 1 else "terminate_cluster"

    def close(self, opened: Open, look: Look) -> None:
        """End the cluster where it does not end by itself, unless it is kept alive on purpose."""
        brief = look.brief
        if opened.kind != "emr" or opened.cluster_id is None or look.cluster is None or brief is None:
            return
        if not brief.alive or self._words.emr.keep_alive is not None:
            return
        stays = bool(look.cluster.get("TerminationProtected")) or not look.cluster.get("AutoTerminate")
        all_done = bool(opened.titles) and len(look.succeeded) == len(opened.titles)
        if stays or not all_done:
            clusters.terminate(self._clients, [opened.cluster_id])
