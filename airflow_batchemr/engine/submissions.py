"""The life cycle of one submission after its claim: adopt, conclude, stop."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.errors import AwsError
from airflow_batchemr.ledger import LedgerError, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from airflow_batchemr.engine.backend import Found, Observation, RemoteWork
    from airflow_batchemr.engine.policy import Policy
    from airflow_batchemr.ledger import Handle, JobLedger, LedgerState, Submission


def find_and_end_duplicates(remote: RemoteWork, submission: Submission) -> Found | None:
    """Search by name for a submission without a handle, and terminate its twins."""
    found = remote.find(submission)
    for twin in found.twins if found is not None else ():
        remote.terminate(replace(submission, handle=twin), "another one has the same name")
    return found


def adopt(
    ledger: JobLedger,
    remote: RemoteWork,
    submission: Submission,
    state: LedgerState,
    policy: Policy,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Submission:
    """Find what an open submission started on AWS, and record its handle.

    Before it is abandoned, and so submitted again, two searches have to find nothing.

    Returns:
        The submission with its handle, which is marked as abandoned if nothing reached AWS; without a handle while its
        owner may still make the call, or while the work may not be visible yet.
    """
    if submission.handle is not None:
        return submission
    given_up = state.lease_ended(submission, policy.abandon_after)
    # Without an intent there is only a stop request, written before the claim itself
    found = find_and_end_duplicates(remote, submission) if submission.intent is not None else None
    if given_up and submission.intent is not None and (found is None or not found.complete):
        sleep(policy.search_pause)
        found = find_and_end_duplicates(remote, submission)
    if found is not None and (found.complete or given_up):
        return replace(submission, handle=ledger.record_handle(submission.number, found.handle))
    if not given_up:
        return submission
    return replace(submission, handle=ledger.abandon(submission, submission.kind or "batch"))


def conclude(ledger: JobLedger, remote: RemoteWork, submission: Submission, observation: Observation) -> Submission:
    """Record how a submission ended; it is returned unchanged while something that belongs to it still runs."""
    ending = remote.result(submission, observation)
    if ending is None:
        return submission
    for name, body in ending.documents.items():
        ledger.put_document(name, body)
    result = ending.result.model_copy(update={"owner": submission.owner})
    return replace(submission, result=ledger.record_result(submission.number, result))


def lost(submission: Submission, missing: Collection[str]) -> bool:
    """Whether one of the AWS ids of a submission is known to have been invisible for the whole grace period."""
    return submission.handle is not None and not remote_ids(submission.handle).isdisjoint(missing)


def describe(submission: Submission, state: str = "") -> str:
    """What a submission runs and under which AWS ids, and why its stop takes long, for logs.

    Args:
        submission: to describe.
        state: AWS's own state, see `Observation`.
    """
    handle = submission.handle
    if handle is None:
        return "AWS does not show it yet"
    ids = [*(job.job_id for job in handle.jobs), *handle.step_ids.values()]
    listed = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
    if handle.cluster_id is not None:
        text = f"steps {listed} on cluster {handle.cluster_id}" if ids else f"cluster {handle.cluster_id}"
    else:
        text = f"indices {submission.indices} in Batch job {listed}" if handle.kind == "batch" else f"job run {listed}"
    return text if submission.stop is None else f"{text}. {_stopping(submission, submission.stop, state)}"


def _stopping(submission: Submission, stop: StopRequest, state: str) -> str:
    text = f"It is being stopped: {stop.reason}"
    requests: list[Any] = [one.request for one in submission.intent.requests] if submission.intent is not None else []
    others = [str(one["jobId"]) for request in requests for one in request.get("dependsOn", ()) if "jobId" in one]
    if not others or "PENDING" not in state:
        return text
    return (
        f"{text}. AWS Batch cancels a job in PENDING only once the jobs that it depends on have ended: "
        f"{', '.join(dict.fromkeys(others))}"
    )


def remote_ids(handle: Handle) -> set[str]:
    """The AWS ids of everything that a handle lists."""
    clusters = {handle.cluster_id} if handle.cluster_id else set()
    return {job.job_id for job in handle.jobs} | clusters | set(handle.step_ids.values())


def stop(ledger: JobLedger, remote: RemoteWork, submissions: Sequence[Submission], reason: str, *, by: str) -> None:
    """Record a stop request for submissions in the ledger, then terminate their work and what their programs started.

    Raises:
        AwsError, LedgerError: a call failed; everything else has been terminated.
    """
    parents, failure = terminate(ledger, remote, submissions, reason, by=by)
    if parents:
        remote.terminate_started(parents)
    if failure is not None:
        raise failure


def terminate(
    ledger: JobLedger, remote: RemoteWork, submissions: Sequence[Submission], reason: str, *, by: str
) -> tuple[list[Any], AwsError | LedgerError | None]:
    """As `stop`, without what the programs started.

    Returns:
        What `RemoteWork.terminate_started` takes, and the first failure.
    """
    failures: list[AwsError | LedgerError] = []
    handles = {submission.number: submission.handle for submission in submissions}
    for number, handle in handles.items():
        try:
            ledger.request_stop(number, StopRequest(reason=reason, by=by))
            if handle is None:  # its owner looks for stop requests only after it has recorded the handle
                handles[number] = ledger.handle(number)
        except LedgerError as error:  # terminate the work nevertheless: its status reason names us
            failures.append(error)
    parents = []
    known = [replace(one, handle=handles[one.number]) for one in submissions]
    for submission in reversed(known):  # steps before the cluster that they run on
        try:
            parent = remote.terminate(submission, reason)
        except (AwsError, LedgerError) as error:  # terminate the others nevertheless
            failures.append(error)
            continue
        if parent is not None:
            parents.append(parent)
    return parents, failures[0] if failures else None
