"""A submission on EMR, as described by its intent and by AWS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.steps import Step
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger.records import Failure

if TYPE_CHECKING:
    from airflow_batchemr.ledger import Submission
    from airflow_batchemr.ledger.records import Intent


@dataclass(frozen=True)
class SubmissionView:
    """What AWS shows of a submission's cluster and steps."""

    cluster: dict[str, Any] | None
    """DescribeCluster's answer; None if EMR reports that there is no such cluster."""
    step_ids: dict[int, str] = field(default_factory=dict)
    """Ids of the submission's steps by number, as far as they are known."""
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Entries of ListSteps by number."""

    @property
    def brief(self) -> Cluster | None:
        """The cluster's state and its reason."""
        return None if self.cluster is None else Cluster.of(self.cluster)

    @property
    def stays(self) -> bool:
        """Whether the cluster waits for more steps when its steps have ended."""
        cluster = self.cluster or {}
        return bool(cluster.get("TerminationProtected")) or not cluster.get("AutoTerminate")

    @property
    def succeeded(self) -> IndexSet:
        """Numbers of the steps that have completed."""
        return IndexSet.of(number for number, entry in self.steps.items() if Step.of(entry).state == "COMPLETED")

    @property
    def unseen(self) -> IndexSet:
        """Numbers of the steps that EMR does not show although it has given them ids."""
        return IndexSet.of(number for number in self.step_ids if number not in self.steps)

    @property
    def ended(self) -> IndexSet:
        """Numbers of the steps that have ended, in whatever way."""
        return IndexSet.of(number for number, entry in self.steps.items() if Step.of(entry).ended)


def titles_of(intent: Intent) -> dict[int, str]:
    """Names of an intent's steps on EMR by number: the n-th StepConfig is the n-th of its indices."""
    request = intent.requests[0]
    configs: Any = request.request.get("Steps") or []
    if not configs:
        return {}
    return {number: str(config["Name"]) for number, config in zip(request.indices, configs, strict=True)}


def digests_of(submission: Submission) -> dict[int, str]:
    """Digests of a submission's steps by number; see `PlannedStep.digest`."""
    known: Any = (submission.intent.details.get("steps") if submission.intent else None) or {}
    return {int(number): str(step["digest"]) for number, step in known.items()}


def failures_of(cluster_id: str | None, view: SubmissionView) -> list[Failure]:
    """Which steps failed, with EMR's reasons; if none did, how the cluster ended."""
    failures = []
    for number, entry in view.steps.items():
        step = Step.of(entry)
        if step.state in {"FAILED", "INTERRUPTED"}:
            failures.append(Failure(index=number, reason=step.reason or step.state, job_id=step.step_id, cause="step"))
    if failures:
        return failures
    brief = view.brief
    if brief is not None and (brief.alive or brief.ready) and view.unseen:
        gone = [(number, view.step_ids[number]) for number in view.unseen]
        reason = "EMR no longer shows it"
        return [Failure(index=n, reason=f"step {id_}: {reason}", job_id=id_, cause="lost") for n, id_ in gone]
    reason = f"cluster {cluster_id}: {brief.why if brief else 'EMR no longer shows it'}"
    return [Failure(reason=reason, job_id=cluster_id, cause="cluster" if brief else "lost")]
