"""Calls about steps: add, find again, list, cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.clusters import CLOCK_SKEW, emr_call, entries
from airflow_batchemr.aws.errors import InvalidRequest, NotFound, Throttled, member, unexpected
from airflow_batchemr.aws.retry import call_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow_batchemr.aws.clients import Clients

#: AWS: step ids per ListSteps.
LIST_CHUNK = 10
#: EMR's message for a cluster that has the maximum of 256 pending or running steps.
_FULL = "Maximum number of active steps"
#: `Failure.cause` of a step that somebody has cancelled, or EMR because a step before it failed.
CANCELLED = "cancelled"
#: Final states.
ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"})


@dataclass(frozen=True)
class Step:
    """A step as AWS describes it."""

    step_id: str
    name: str
    state: str
    reason: str = ""
    """Reason and message of FailureDetails if there are any, else the message of StateChangeReason."""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Step:
        """Read an entry of ListSteps or DescribeStep's `Step`; raises `UnexpectedAnswer`.

        Without its state it would count as running.
        """
        id_ = member(entry, "Id", "elasticmapreduce:ListSteps")
        status = member(entry, "Status", "elasticmapreduce:ListSteps")
        details, change = status.get("FailureDetails", {}), status.get("StateChangeReason", {})
        parts = [details.get("Reason"), details.get("Message")] if details else [change.get("Message")]
        reason = ": ".join(str(part).strip() for part in parts if part)
        return cls(id_, entry.get("Name", ""), member(status, "State", "elasticmapreduce:ListSteps"), reason)

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED


def add(clients: Clients, request: Mapping[str, Any], sleep: Callable[[float], object]) -> list[str]:
    """Call AddJobFlowSteps; returns the step ids in the order of the request's `Steps`.

    Raises:
        Refused: the call was not carried out.
        Throttled: the call was not carried out; also if the cluster has 256 pending or running steps.
        Unknown: it may have been carried out: search for the steps by their names. Also if an id is missing.
    """
    client = clients.once("emr")
    try:
        answer = call_once(
            lambda: client.add_job_flow_steps(**request),
            "elasticmapreduce:AddJobFlowSteps",
            sleep=sleep,
        )
    except InvalidRequest as error:
        if _FULL in str(error):
            raise Throttled(f"{error}. A later try can add them when some of these steps have ended") from error
        raise
    ids = [str(step_id) for step_id in member(answer, "StepIds", "elasticmapreduce:AddJobFlowSteps")]
    if len(ids) != len(request["Steps"]):
        problem = f"{len(ids)} ids for {len(request['Steps'])} steps"
        raise unexpected("elasticmapreduce:AddJobFlowSteps", problem, answer)
    return ids


def listed(clients: Clients, cluster_id: str, states: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The steps of a cluster in some states (empty: in any), newest first, 50 per page."""
    given = {"StepStates": list(states)} if states else {}
    return entries(clients, "ListSteps", "Steps", ClusterId=cluster_id, **given)


def find(clients: Clients, cluster_id: str, titles: Mapping[int, str], since: datetime | None = None) -> dict[int, str]:
    """Ids of the oldest steps that `find_all` finds: number -> step id."""
    return {number: found[0].step_id for number, found in find_all(clients, cluster_id, titles, since).items()}


def find_all(
    clients: Clients, cluster_id: str, titles: Mapping[int, str], since: datetime | None = None
) -> dict[int, list[Step]]:
    """The steps with the given names by number, oldest first; missing ones are left out.

    Steps that were added before `since` (ten minutes of clock skew allowed) are somebody else's.
    """
    by_title = {title: number for number, title in titles.items()}
    found: dict[int, list[Step]] = {}
    for entry in reversed(list(listed(clients, cluster_id))):
        step = Step.of(entry)
        added = entry["Status"].get("Timeline", {}).get("CreationDateTime")
        if since is not None and added is not None and added < since - CLOCK_SKEW:
            continue
        if step.name in by_title:
            found.setdefault(by_title[step.name], []).append(step)
    return found


def states(clients: Clients, cluster_id: str, step_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Entries of ListSteps by step id, 10 per call; steps that EMR does not show are left out."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(step_ids), LIST_CHUNK):
        chunk = list(step_ids[start : start + LIST_CHUNK])
        try:
            answer = emr_call(clients, "ListSteps", ClusterId=cluster_id, StepIds=chunk)
        except NotFound:  # one unknown id fails the whole call
            entries_ = list(listed(clients, cluster_id))
            return {step.step_id: entry for entry in entries_ if (step := Step.of(entry)).step_id in step_ids}
        found.update({Step.of(one).step_id: one for one in member(answer, "Steps", "elasticmapreduce:ListSteps")})
    return found


def to_be_cancelled(clients: Clients, cluster_id: str, step_ids: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Entries of ListSteps for these steps; if there are many, for all that have not ended: one call per 50."""
    try:
        if len(step_ids) <= LIST_CHUNK:
            return list(states(clients, cluster_id, step_ids).values())
        return list(listed(clients, cluster_id, ("PENDING", "CANCEL_PENDING", "RUNNING")))
    except NotFound:  # the cluster is not shown yet
        return []


def cancel(clients: Clients, cluster_id: str, step_ids: Sequence[str]) -> None:
    """CancelSteps, of at most 256 steps: pending ones and, from emr-5.28, running ones; ended ones are no error."""
    if step_ids:
        option = "SEND_INTERRUPT"
        emr_call(clients, "CancelSteps", ClusterId=cluster_id, StepIds=list(step_ids), StepCancellationOption=option)
