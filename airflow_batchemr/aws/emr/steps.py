"""Calls about steps: add, find again, list, cancel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest, NotFound, Throttled
from airflow_batchemr.aws.retry import call_again, call_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients

#: AWS: step ids that one ListSteps takes.
LIST_CHUNK = 10
#: AWS: step ids that one CancelSteps takes.
CANCEL_CHUNK = 256
#: What EMR says of a cluster that has as many steps waiting or running as it takes.
_FULL = "Maximum number of active steps"
#: States from which nothing changes any more.
ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"})


@dataclass(frozen=True)
class Step:
    """What AWS says of a step."""

    step_id: str
    name: str
    state: str
    reason: str = ""
    """FailureDetails' words where there are any, else the reason of the state's change."""
    log_file: str = ""
    """FailureDetails.LogFile: URI of the log that EMR points to."""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Step:
        """Read it out of an entry of ListSteps or DescribeStep's `Step`."""
        status = said.get("Status", {})
        details, change = status.get("FailureDetails", {}), status.get("StateChangeReason", {})
        words = [details.get("Reason"), details.get("Message")] if details else [change.get("Message")]
        reason = ": ".join(str(word).strip() for word in words if word)
        return cls(said["Id"], said.get("Name", ""), status.get("State", ""), reason, details.get("LogFile", ""))

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in ENDED


def add(
    clients: Clients,
    cluster_id: str,
    configs: Sequence[Mapping[str, Any]],
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> list[str]:
    """AddJobFlowSteps; gives the step ids in the order of `configs`.

    Raises:
        Refused: surely not carried out.
        Throttled: the same; also where the cluster has 256 steps that wait or run, others' too.
        Unknown: perhaps carried out: look for the steps by their names.
    """
    client = clients.once("emr")
    try:
        answer = call_once(
            lambda: client.add_job_flow_steps(JobFlowId=cluster_id, Steps=list(configs)),
            "elasticmapreduce:AddJobFlowSteps",
            sleep=sleep,
        )
    except InvalidRequest as error:
        if _FULL in str(error):
            raise Throttled(f"{error}. A later try finds room when some of them have ended") from error
        raise
    return [str(step_id) for step_id in answer["StepIds"]]


def listed(clients: Clients, cluster_id: str, states: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """All steps of a cluster, newest first, 50 a page."""
    arguments: dict[str, Any] = {"ClusterId": cluster_id}
    if states:
        arguments["StepStates"] = list(states)
    while True:
        page = call_again(lambda: clients.emr.list_steps(**arguments), "elasticmapreduce:ListSteps")
        yield from page["Steps"]
        if not page.get("Marker"):
            return
        arguments["Marker"] = page["Marker"]


def find(clients: Clients, cluster_id: str, titles: Mapping[int, str]) -> dict[int, str]:
    """Ids of the steps with the given names: number -> step id; those that are not there are left out."""
    by_title = {title: number for number, title in titles.items()}
    return {by_title[step["Name"]]: step["Id"] for step in listed(clients, cluster_id) if step["Name"] in by_title}


def states(clients: Clients, cluster_id: str, step_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Entries of ListSteps by step id, 10 a call; steps that EMR does not show are left out."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(step_ids), LIST_CHUNK):
        chunk = list(step_ids[start : start + LIST_CHUNK])
        try:
            answer = call_again(
                lambda: clients.emr.list_steps(ClusterId=cluster_id, StepIds=chunk),  # noqa: B023 - called at once
                "elasticmapreduce:ListSteps",
            )
        except NotFound:  # one of them hides the others
            return {step["Id"]: step for step in listed(clients, cluster_id) if step["Id"] in step_ids}
        found.update({step["Id"]: step for step in answer["Steps"]})
    return found


def cancel(clients: Clients, cluster_id: str, step_ids: Iterable[str], *, kill: bool = False) -> list[str]:
    """CancelSteps, of pending steps and, from emr-5.28, of running ones.

    Args:
        clients: for the calls.
        cluster_id: the cluster.
        step_ids: the steps.
        kill: end the process at once instead of asking it to end (TERMINATE_PROCESS, not SEND_INTERRUPT).

    Returns:
        What EMR said of steps that it did not cancel, such as `s-…: FAILED: already completed`.
    """
    ids = list(step_ids)
    refused = []
    for start in range(0, len(ids), CANCEL_CHUNK):
        chunk = ids[start : start + CANCEL_CHUNK]
        answer = call_again(
            lambda: clients.emr.cancel_steps(
                ClusterId=cluster_id,
                StepIds=chunk,  # noqa: B023 - called at once
                StepCancellationOption="TERMINATE_PROCESS" if kill else "SEND_INTERRUPT",
            ),
            "elasticmapreduce:CancelSteps",
        )
        refused += [
            f"{one.get('StepId')}: {one.get('Reason', one['Status'])}"
            for one in answer.get("CancelStepsInfoList", [])
            if one.get("Status") == "FAILED"
        ]
    return refused
