"""One attempt on EMR as it stands, and what AWS says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.steps import Step
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger.records import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_batchemr.ledger import Submission
    from airflow_batchemr.ledger.records import Intent, Kind


@dataclass
class Open:
    """An attempt that may still do something on AWS."""

    number: int
    kind: Kind
    """`emr`: a cluster that we have started, with its first steps; `steps`: steps on a cluster that was there."""
    cluster_id: str | None
    """None while it is not known what reached AWS."""
    titles: dict[int, str] = field(default_factory=dict)
    """Names of its steps on EMR by the number of the step in the job."""
    step_ids: dict[int, str] = field(default_factory=dict)
    submission: Submission | None = None
    """As the ledger has it; None for one that has just been started."""


@dataclass(frozen=True)
class Look:
    """What AWS says of an attempt."""

    cluster: dict[str, Any] | None
    """DescribeCluster's answer; None: AWS does not know the cluster."""
    steps: dict[int, dict[str, Any]]
    """Entries of ListSteps by the number of the step in the job."""

    @property
    def brief(self) -> Cluster | None:
        """The cluster in a few words."""
        return None if self.cluster is None else Cluster.of(self.cluster)

    def step(self, number: int) -> Step | None:
        """A step in a few words."""
        said = self.steps.get(number)
        return None if said is None else Step.of(said)

    @property
    def succeeded(self) -> IndexSet:
        """Numbers of the steps that have completed."""
        return IndexSet.of(n for n, said in self.steps.items() if Step.of(said).state == "COMPLETED")


def titles_of(intent: Intent) -> dict[int, str]:
    """Names of an intent's steps by their number: the n-th StepConfig is the n-th of its indices."""
    request = intent.requests[0]
    configs: Any = request.request.get("Steps") or []
    if not configs:
        return {}
    return {number: str(config["Name"]) for number, config in zip(request.indices, configs, strict=True)}


def digests_of(opened: Open) -> dict[int, str]:
    """Digests of an attempt's steps by number; see `PlannedStep.digest`."""
    intent = opened.submission.intent if opened.submission else None
    known: Any = (intent.details.get("steps") if intent else None) or {}
    return {int(number): str(step["digest"]) for number, step in known.items()}


def failures_of(opened: Open, look: Look) -> list[Failure]:
    """Which steps failed, in EMR's words; where none did, how the cluster ended."""
    made = []
    for number, said in look.steps.items():
        step = Step.of(said)
        if step.state in {"FAILED", "INTERRUPTED"}:
            made.append(Failure(index=number, reason=step.reason or step.state, job_id=step.step_id, cause="step"))
    if not made:
        brief = look.brief
        why = f"cluster {opened.cluster_id}: {brief.why if brief else 'AWS does not know it'}"
        made.append(Failure(reason=why, job_id=opened.cluster_id, cause="cluster" if brief else "lost"))
    return made


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """What AWS said, as JSON: times become ISO texts."""
    made: dict[str, Any] = json.loads(json.dumps(value, default=lambda item: item.isoformat()))
    return made


def numbers_of(opened: Iterable[Open]) -> IndexSet:
    """All steps of some attempts."""
    return IndexSet.of(number for one in opened for number in one.titles)
