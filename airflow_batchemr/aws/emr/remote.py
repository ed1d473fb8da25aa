"""Submissions on EMR clusters: a cluster with its first steps, a cluster for other jobs, or steps on any cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.request import plain
from airflow_batchemr.aws.emr.submission_view import SubmissionView, digests_of, failures_of, titles_of
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import Ending, Found, Observation
from airflow_batchemr.ledger import Handle, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.clusters import Cluster
    from airflow_batchemr.ledger import Submission
    from airflow_batchemr.ledger.records import Intent, Outcome

#: Reasons for the end of a cluster that has done its work for other jobs.
_SERVED = frozenset({"USER_REQUEST", "ALL_STEPS_COMPLETED", ""})


class EmrRemote:
    """See `engine.backend.RemoteWork`.

    Args:
        clients: AWS.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def find(self, submission: Submission) -> Found | None:
        """ListClusters, or ListSteps of the cluster, by name."""
        intent = submission.intent
        if intent is None:
            return None
        if intent.kind == "emr" and "cluster_id" in intent.details:  # taken over, not started
            return Found(Handle(kind="emr", cluster_id=str(intent.details["cluster_id"])))
        if intent.kind == "emr":
            return self._find_cluster(intent)
        cluster_id = str(intent.details["cluster_id"])
        known = steps.find(self._clients, cluster_id, titles_of(intent))
        return Found(Handle(kind="steps", cluster_id=cluster_id, step_ids=known)) if known else None

    def _find_cluster(self, intent: Intent) -> Found | None:
        found = clusters.find(self._clients, intent.requests[0].name, intent.written_at)
        if not found:
            return None
        # There should not be two with one name; if there are, the second one must not keep costing money
        oldest, *others = found
        clusters.terminate(self._clients, [one.cluster_id for one in others if one.alive])
        return Found(Handle(kind="emr", cluster_id=oldest.cluster_id))

    def observe(self, submission: Submission) -> Observation:
        """DescribeCluster, and one ListSteps per ten steps."""
        handle, intent = submission.handle, submission.intent
        assert handle is not None  # noqa: S101 - the engine has adopted it
        cluster_id = str(handle.cluster_id)
        cluster = clusters.describe(self._clients, cluster_id)
        if cluster is None:
            return Observation("not_visible", answer=SubmissionView(None, dict(handle.step_ids)))
        titles = titles_of(intent) if intent is not None else {}
        ids = dict(handle.step_ids)
        if len(ids) < len(titles):
            ids |= steps.find(self._clients, cluster_id, titles)
        entries = steps.states(self._clients, cluster_id, list(ids.values()))
        view = SubmissionView(cluster, ids, {n: entries[id_] for n, id_ in sorted(ids.items()) if id_ in entries})
        return _observation(submission, view, titles)

    def result(self, submission: Submission, observation: Observation) -> Ending | None:
        """Which steps completed; for a cluster that other jobs use, whether it has been up."""
        view: SubmissionView = observation.answer
        intent = submission.intent
        assert intent is not None  # noqa: S101 - what is open has been read whole
        if not titles_of(intent):
            return Ending(_cluster_result(submission, view))
        complete = view.succeeded & intent.indices == intent.indices
        outcome: Outcome = "succeeded"
        if not complete:
            outcome = (
                "lost"
                if observation.status == "not_visible"
                else "stopped"
                if submission.stop is not None
                else "failed"
            )
        counted = view.succeeded & intent.indices if complete or intent.details.get("resume", True) else IndexSet()
        digests = digests_of(submission)
        details = {
            **_facts(submission, view),
            "digests": {str(number): digests[number] for number in counted if number in digests},
        }
        if outcome == "stopped":
            details["causes"] = {}  # steps that had not completed may run again at once
        return Ending(
            Result(
                kind=intent.kind,
                outcome=outcome,
                indices=intent.indices,
                succeeded=counted,
                rerun_token=submission.rerun_token,
                failures=[] if complete else failures_of(_cluster_id(submission), view),
                details=details,
                steps=[plain(entry) for entry in view.steps.values()],
            )
        )

    def close(self, submission: Submission, observation: Observation) -> None:
        """Terminate the cluster of an ended submission if it does not end by itself and is not kept alive."""
        view: SubmissionView = observation.answer
        brief, intent = view.brief, submission.intent
        owned = intent is not None and intent.kind == "emr" and bool(titles_of(intent))
        if observation.status != "ended" or not owned or brief is None or not brief.alive:
            return
        assert intent is not None  # noqa: S101 - see `owned`
        if intent.details.get("keep_alive") is not None and submission.stop is None:
            return
        if view.stays or view.succeeded & intent.indices != intent.indices:
            clusters.terminate(self._clients, [brief.cluster_id])

    def terminate(self, submission: Submission, reason: str) -> None:  # noqa: ARG002 - EMR records no reason
        """Terminate a submission's own cluster; on another cluster, cancel the steps."""
        intent, handle = submission.intent, submission.handle
        if handle is None and intent is not None:
            found = self.find(submission)
            handle = found.handle if found is not None else None
        if handle is None or handle.cluster_id is None:
            return
        if handle.kind == "emr":
            clusters.terminate(self._clients, [handle.cluster_id])
            return
        ids = handle.step_ids or (
            steps.find(self._clients, handle.cluster_id, titles_of(intent)) if intent is not None else {}
        )
        if ids:
            steps.cancel(self._clients, handle.cluster_id, list(ids.values()))

    def terminate_started(self, parents: Sequence[Any]) -> None:
        """Nothing to do: steps start no work that outlives the cluster."""


def _observation(submission: Submission, view: SubmissionView, titles: dict[int, str]) -> Observation:
    brief, intent = view.brief, submission.intent
    state = brief.why if brief is not None else ""
    if brief is not None and titles and _steps_hidden(brief, view, titles):
        return Observation("not_visible", answer=view, state=state)
    if brief is None or not brief.alive:
        return Observation("ended", answer=view, state=state)
    if not titles:  # it serves other jobs
        return Observation("running", idle=brief.up, answer=view, state=state)
    if len(view.ended) < len(titles):
        return Observation("running", answer=view, state=state)
    owned = intent is not None and intent.kind == "emr"
    if owned and view.stays and len(view.succeeded) == len(titles):
        return Observation("running", idle=True, answer=view, state=state)
    return Observation("ended", answer=view, state=state)


def _steps_hidden(brief: Cluster, view: SubmissionView, titles: dict[int, str]) -> bool:
    """Whether EMR does not show steps that it has accepted, so that it is unknown how they ended."""
    if brief.alive:
        return bool(view.unseen)
    return brief.ready and len(view.steps) < len(titles)


def _cluster_id(submission: Submission) -> str | None:
    return submission.handle.cluster_id if submission.handle is not None else None


def _facts(submission: Submission, view: SubmissionView) -> dict[str, Any]:
    """The details of a result about its cluster."""
    details = submission.intent.details if submission.intent is not None else {}
    return {
        "cluster_id": _cluster_id(submission),
        "cluster": plain(view.cluster or {}),
        "variant": details.get("variant"),
    }


def _cluster_result(submission: Submission, view: SubmissionView) -> Result:
    """The result of a cluster for other jobs: a success if it has been up and was ended on request or when idle."""
    brief = view.brief
    served = brief is not None and (brief.alive or (brief.ready and brief.code in _SERVED))
    outcome: Outcome = "succeeded" if served else "failed" if brief is not None else "lost"
    if submission.stop is not None and not served:
        outcome = "stopped"
    one = IndexSet.of([0])
    details = _facts(submission, view)
    if outcome == "stopped":
        details["causes"] = {}
    return Result(
        kind="emr",
        outcome=outcome,
        indices=one,
        succeeded=one if outcome == "succeeded" else IndexSet(),
        rerun_token=submission.rerun_token,
        failures=[] if outcome == "succeeded" else failures_of(_cluster_id(submission), view),
        details=details,
    )
