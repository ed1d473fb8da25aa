"""Submissions on EMR clusters: a cluster with its first steps, a cluster for other jobs, or steps on any cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.request import plain
from airflow_batchemr.aws.emr.steps import CANCELLED, Step
from airflow_batchemr.aws.explicit_success import UNCONFIRMED, folder, reason, written
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import Ending, Found, Observation
from airflow_batchemr.engine.ownership import difference, refuse, step_difference
from airflow_batchemr.ledger import Failure, Handle, Result

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.backend import Status
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, Submission
    from airflow_batchemr.ledger.records import Intent, Outcome

#: Reasons for the end of a cluster that has done its work for other jobs.
_SERVED = frozenset({"USER_REQUEST", "ALL_STEPS_COMPLETED", ""})


@dataclass(frozen=True)
class SubmissionView:
    """What AWS shows of a submission's cluster and steps."""

    cluster: dict[str, Any] | None
    """DescribeCluster's answer; None if EMR reports that there is no such cluster."""
    step_ids: dict[int, str] = field(default_factory=dict)
    """Ids of the submission's steps by number, as far as they are known."""
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Entries of ListSteps by number."""
    unconfirmed: IndexSet = field(default_factory=IndexSet)
    """Numbers of the steps with `explicit_success` that have not written their objects."""

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
        """Numbers of the steps that have completed and written their objects."""
        return self.completed - self.unconfirmed

    @property
    def completed(self) -> IndexSet:
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


class RemoteOnEmr(ABC):
    """What submissions on clusters and job runs have in common; see `engine.backend.RemoteWork`."""

    def __init__(self, clients: Clients, ledger: JobLedger, identity: JobIdentity) -> None:
        self._clients = clients
        self._ledger = ledger
        self._identity = identity
        self._ours: set[str] = set()
        """Ids whose names and tags have been found to be those of their submission."""

    @abstractmethod
    def find(self, submission: Submission) -> Found | None:
        """Search for a submission by name."""

    def handles_of(self, submission: Submission) -> list[Handle]:
        """The recorded handle, else everything that a search by name finds."""
        if submission.handle is not None or submission.intent is None:
            return [] if submission.handle is None else [submission.handle]
        found = self.find(submission)
        return [] if found is None else [found.handle, *found.twins]

    def terminate_started(self, parents: Sequence[Any]) -> None:  # noqa: B027 - for Batch jobs
        """Nothing to do: steps and job runs start no work that outlives them."""


def ending(
    submission: Submission,
    succeeded: IndexSet,
    *,
    lost: bool,
    failures: list[Failure],
    details: dict[str, Any],
    entries: Sequence[dict[str, Any]] = (),
) -> Ending:
    """How a submission ended; if units did not succeed, `lost` means that AWS does not show how they ended."""
    intent = submission.intent
    assert intent is not None  # noqa: S101 - what is open has been read whole
    outcome: Outcome = "lost" if lost else "stopped" if submission.stop is not None else "failed"
    if succeeded == intent.indices:
        outcome, failures = "succeeded", []
    if outcome == "stopped":
        details = {**details, "causes": {}}  # units that had not completed may run again at once
    result = Result(
        kind=intent.kind,
        outcome=outcome,
        indices=intent.indices,
        succeeded=succeeded,
        rerun_token=submission.rerun_token,
        failures=failures,
        details=details,
        steps=[plain(entry) for entry in entries],
    )
    return Ending(result)


class EmrRemote(RemoteOnEmr):
    """See `engine.backend.RemoteWork`."""

    def find(self, submission: Submission) -> Found | None:
        """ListClusters and DescribeCluster, or ListSteps of the cluster, by name."""
        intent = submission.intent
        if intent is None:
            return None
        if "cluster_id" not in intent.details:
            return self._find_cluster(submission, intent)
        cluster_id = str(intent.details["cluster_id"])
        if intent.kind == "emr":  # taken over, not started
            return Found(Handle(kind="emr", cluster_id=cluster_id))
        known = steps.find_all(
            self._clients, cluster_id, self._own_titles(submission.number, intent), intent.written_at
        )
        if not known:
            return None
        oldest = {number: found[0].step_id for number, found in known.items()}
        self._ours.update(step.step_id for found in known.values() for step in found)
        others = [(number, step) for number, found in known.items() for step in found[1:] if not step.ended]
        twins = [Handle(kind="steps", cluster_id=cluster_id, step_ids={n: step.step_id}) for n, step in others]
        return Found(Handle(kind="steps", cluster_id=cluster_id, step_ids=oldest), twins=twins)

    def _find_cluster(self, submission: Submission, intent: Intent) -> Found | None:
        name = self._identity.submission_name(submission.number)  # that of the record may be somebody else's
        found = clusters.find(self._clients, name, intent.written_at)
        found = [one for one in found if self._problem(submission, one.cluster_id) is None]
        if not found:
            return None
        oldest, *others = found
        twins = [Handle(kind="emr", cluster_id=one.cluster_id) for one in others if one.alive]
        return Found(Handle(kind="emr", cluster_id=oldest.cluster_id), twins=twins)

    def observe(self, submission: Submission) -> Observation:
        """DescribeCluster, one ListSteps per ten steps, and with `explicit_success` one LIST of their objects."""
        handle, intent = submission.handle, submission.intent
        assert handle is not None  # noqa: S101 - the engine has adopted it
        cluster_id, ids = str(handle.cluster_id), dict(handle.step_ids)
        cluster = clusters.describe(self._clients, cluster_id)
        if cluster is None:
            return Observation("not_visible", answer=SubmissionView(None, ids))
        if handle.kind == "emr" or (intent is not None and intent.kind == "emr"):
            refuse(self._ledger, submission.number, {cluster_id: self._difference(submission, cluster)})
        titles = _titles_of(intent) if intent is not None else {}
        if len(ids) < len(titles):
            ids |= steps.find(self._clients, cluster_id, titles, intent.written_at if intent is not None else None)
        entries = steps.states(self._clients, cluster_id, list(ids.values()))
        names = {id_: Step.of(entry).name for id_, entry in entries.items()}
        problems = {id_: step_difference(self._identity, submission.number, name) for id_, name in names.items()}
        refuse(self._ledger, submission.number, problems)
        self._ours.update(entries)
        view = SubmissionView(cluster, ids, {n: entries[id_] for n, id_ in sorted(ids.items()) if id_ in entries})
        view = self._confirmed(submission, view)
        brief = Cluster.of(cluster)
        # Steps that EMR has accepted and does not show: it is unknown how they ended
        hidden = bool(view.unseen) if brief.alive else brief.ready and len(view.steps) < len(titles)
        status: Status = "running"
        idle = False
        if titles and hidden:
            status = "not_visible"
        elif not brief.alive:
            status = "ended"
        elif not titles:  # it serves other jobs
            idle = brief.up
        elif len(view.ended) >= len(titles):
            own = intent is not None and intent.kind == "emr"
            idle = own and view.stays and len(view.succeeded) == len(titles)
            status = "running" if idle else "ended"
        return Observation(status, idle=idle, answer=view, state=brief.why)

    def _confirmed(self, submission: Submission, view: SubmissionView) -> SubmissionView:
        details = submission.intent.details if submission.intent is not None else {}
        explicit = IndexSet.parse(str(details["explicit"])) & view.completed if "explicit" in details else None
        if not explicit:
            return view
        return replace(view, unconfirmed=explicit - written(self._ledger, folder(submission.number)))

    def result(self, submission: Submission, observation: Observation) -> Ending | None:
        """Which steps completed; for a cluster that other jobs use, whether it has been up."""
        view: SubmissionView = observation.answer
        brief, intent, handle = view.brief, submission.intent, submission.handle
        assert intent is not None  # noqa: S101 - what is open has been read whole
        cluster_id = handle.cluster_id if handle is not None else None
        failures = [
            Failure(
                index=number,
                reason=reason(self._ledger, submission.number, number),
                exit_code=0,
                job_id=view.step_ids.get(number),
                cause=UNCONFIRMED,
            )
            for number in view.unconfirmed
        ] + _failures_of(cluster_id, view)
        variant = intent.details.get("variant")
        details = {"cluster_id": cluster_id, "cluster": plain(view.cluster or {}), "variant": variant}
        if not _titles_of(intent):
            # A success if it has been up and was ended on request or when idle
            served = brief is not None and (brief.alive or (brief.ready and brief.code in _SERVED))
            lost = brief is None and submission.stop is None
            succeeded = intent.indices if served else IndexSet()
            return ending(submission, succeeded, lost=lost, failures=failures, details=details)
        succeeded = view.succeeded & intent.indices
        if succeeded != intent.indices and not intent.details.get("resume", True):
            succeeded = IndexSet()
        digests = _digests_of(intent)
        details["digests"] = {str(number): digests[number] for number in succeeded if number in digests}
        lost = observation.status == "not_visible"
        return ending(
            submission, succeeded, lost=lost, failures=failures, details=details, entries=list(view.steps.values())
        )

    def close(self, submission: Submission, observation: Observation) -> None:
        """Terminate the cluster of an ended submission if it does not end by itself and is not kept alive."""
        view: SubmissionView = observation.answer
        brief, intent = view.brief, submission.intent
        if intent is None or intent.kind != "emr" or not _titles_of(intent):
            return
        if observation.status != "ended" or brief is None or not brief.alive:
            return
        kept = intent.details.get("keep_alive") is not None and submission.stop is None
        if not kept and (view.stays or view.succeeded & intent.indices != intent.indices):
            self._end(submission, [brief.cluster_id])

    def terminate(self, submission: Submission, reason: str) -> None:  # noqa: ARG002 - EMR records no reason
        """Terminate a submission's own cluster; on another cluster, cancel the steps.

        DescribeCluster or ListSteps is called for what has not been observed.
        """
        intent, handles = submission.intent, self.handles_of(submission)
        ids = [one.cluster_id for one in handles if one.cluster_id is not None]
        if not ids:
            return
        if handles[0].kind == "emr":
            self._end(submission, ids)
            return
        step_ids = [id_ for one in handles for id_ in one.step_ids.values()]
        if not step_ids and intent is not None:
            step_ids = list(
                steps.find(
                    self._clients, ids[0], self._own_titles(submission.number, intent), intent.written_at
                ).values()
            )
            self._ours.update(step_ids)
        self._cancel(submission, ids[0], step_ids)

    def _difference(self, submission: Submission, cluster: dict[str, Any]) -> str | None:
        brief, tags = Cluster.of(cluster), clusters.tags_of(cluster)
        problem = difference(self._identity, submission.number, brief.name, tags, earlier=True)
        if problem is None:
            self._ours.add(brief.cluster_id)
        return problem

    def _problem(self, submission: Submission, cluster_id: str) -> str | None:
        """Why a cluster is not the submission's: DescribeCluster, if it has not been compared before.

        None also if EMR does not show it.
        """
        described = None if cluster_id in self._ours else clusters.describe(self._clients, cluster_id)
        return None if described is None else self._difference(submission, described)

    def _end(self, submission: Submission, cluster_ids: Sequence[str]) -> None:
        problems = {id_: self._problem(submission, id_) for id_ in cluster_ids}
        clusters.terminate(self._clients, [id_ for id_ in cluster_ids if id_ in self._ours])
        for id_, problem in problems.items():
            if problem is None and id_ not in self._ours:
                clusters.terminate_unseen(self._clients, id_)
        refuse(self._ledger, submission.number, problems)

    def _own_titles(self, number: int, intent: Intent) -> dict[int, str]:
        """Names of an intent's steps on EMR, without those that only a changed record can contain."""
        titles = _titles_of(intent).items()
        return {n: title for n, title in titles if step_difference(self._identity, number, title) is None}

    def _cancel(self, submission: Submission, cluster_id: str, step_ids: Sequence[str]) -> None:
        unknown = [id_ for id_ in step_ids if id_ not in self._ours]
        found = map(Step.of, steps.to_be_cancelled(self._clients, cluster_id, unknown))
        names = {step.step_id: step.name for step in found if step.step_id in unknown}
        problems = {id_: step_difference(self._identity, submission.number, name) for id_, name in names.items()}
        steps.cancel(self._clients, cluster_id, [id_ for id_ in step_ids if problems.get(id_) is None])
        refuse(self._ledger, submission.number, problems)


def _titles_of(intent: Intent) -> dict[int, str]:
    """Names of an intent's steps on EMR by number: the n-th StepConfig is the n-th of its indices."""
    configs: Any = intent.first.get("Steps") or []
    if not configs:
        return {}
    indices = intent.requests[0].indices
    return {number: str(config["Name"]) for number, config in zip(indices, configs, strict=True)}


def _digests_of(intent: Intent) -> dict[int, str]:
    known: Any = intent.details.get("steps") or {}
    return {int(number): str(step.get("digest", "")) for number, step in known.items()}


def _failures_of(cluster_id: str | None, view: SubmissionView) -> list[Failure]:
    """Which steps failed, with EMR's reasons; if none did, which were cancelled, or how the cluster ended."""
    if (failures := _steps_in(view, {"FAILED", "INTERRUPTED"}, "step")) or view.unconfirmed:
        return failures
    brief = view.brief
    if brief is not None and (brief.alive or brief.ready) and view.unseen:
        gone = [(number, view.step_ids[number]) for number in view.unseen]
        reason = "EMR no longer shows it"
        return [Failure(index=n, reason=f"step {id_}: {reason}", job_id=id_, cause="lost") for n, id_ in gone]
    # EMR also cancels the steps of a cluster that ends: then the end of the cluster is the cause
    by_itself = brief is not None and (brief.alive or brief.code == "ALL_STEPS_COMPLETED")
    if by_itself and (failures := _steps_in(view, {"CANCELLED"}, CANCELLED)):
        return failures
    reason = f"cluster {cluster_id}: {brief.why if brief else 'EMR no longer shows it'}"
    return [Failure(reason=reason, job_id=cluster_id, cause="cluster" if brief else "lost")]


def _steps_in(view: SubmissionView, states: Collection[str], cause: str) -> list[Failure]:
    steps = {number: Step.of(entry) for number, entry in view.steps.items()}
    return [
        Failure(index=number, reason=step.reason or step.state, job_id=step.step_id, cause=cause)
        for number, step in steps.items()
        if step.state in states
    ]
