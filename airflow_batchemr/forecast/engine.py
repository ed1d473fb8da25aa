"""One pass of the engine in which nothing is started, stopped or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.loop import Engine
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.ledger import Handle, HandleJob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.engine.backend import (
        Backend,
        Ending,
        Found,
        NewSubmission,
        Observation,
        RemoteWork,
        SubmissionPlan,
    )
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.engine.policy import Policy
    from airflow_batchemr.ledger import JobLedger, LedgerState, Request, Submission

#: Placeholder id of work that a forecast has not started.
NOT_STARTED = "(not started)"
_CALLS = {"batch": "SubmitJob", "emr": "RunJobFlow", "steps": "AddJobFlowSteps"}


@dataclass(frozen=True)
class Claim:
    """A submission that the engine would claim."""

    number: int
    new: NewSubmission

    @property
    def indices(self) -> IndexSet:
        """Units that it would run."""
        return IndexSet.union(request.indices for request in self.new.requests)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls that the engine would make, as `{call, request}`; empty if the work already runs."""
        if self.new.handle is not None:
            return []
        call = _CALLS.get(self.new.kind, "StartJobRun")
        return [{"call": call, "request": dict(request.request)} for request in self.new.requests]


def forecast(
    backend: Backend,
    remote: RemoteWork,
    ledger: JobLedger,
    identity: JobIdentity,
    *,
    state: LedgerState,
    token: str | None,
    policy: Policy = DEFAULT,
) -> tuple[Outcome, list[Claim]]:
    """Run the engine until it would wait, succeed or fail.

    Args:
        backend: Backend of the job; `start` is not called.
        remote: Remote work; only `find`, `observe` and `result` are called.
        ledger: Job ledger of a `ForecastLedger`.
        identity: Identity of the job.
        state: State of the ledger, just read.
        token: Rerun token for claims.
        policy: Grace periods and limits of the tasks.

    Returns:
        The outcome as if every call had succeeded, and the claims in order.

    Raises:
        Refused: as `Engine.run`.
        AwsError, LedgerError: A call failed.
    """
    recorder = Recorder(backend)
    engine = Engine(recorder, Observer(remote), ledger, identity, policy, sleep=lambda _: None)
    return engine.run(state, token), recorder.claims


class Recorder:
    """A backend that records new submissions and does not start them.

    Args:
        backend: what there is to do.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.claims: list[Claim] = []

    def units(self, state: LedgerState) -> IndexSet:
        """As in the backend."""
        return self._backend.units(state)

    def done(self, state: LedgerState) -> IndexSet:
        """As in the backend."""
        return self._backend.done(state)

    def retryable_units(self, state: LedgerState, failed: IndexSet) -> IndexSet:
        """As in the backend."""
        return self._backend.retryable_units(state, failed)

    def plans(
        self, state: LedgerState, left: IndexSet, *, failed: IndexSet, busy: Sequence[Submission]
    ) -> list[SubmissionPlan]:
        """As in the backend."""
        return self._backend.plans(state, left, failed=failed, busy=busy)

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission | None:
        """As in the backend; records the submission."""
        new = self._backend.new_submission(plan, state)
        if new is not None:
            self.claims.append(Claim(plan.number, new))
        return new

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:  # noqa: ARG002 - of the protocol
        """Return a handle with placeholder ids."""
        kind = self.claims[-1].new.kind
        if kind in {"emr", "steps"}:
            return Handle(kind=kind, cluster_id=str(request.request.get("JobFlowId", NOT_STARTED)))
        return Handle(kind=kind, jobs=[HandleJob(job_id=NOT_STARTED, name=request.name, indices=request.indices)])

    def stays(self, submission: Submission) -> bool:
        """As in the backend."""
        return self._backend.stays(submission)


class Observer:
    """Remote work that is only read.

    Args:
        remote: the submissions.
    """

    def __init__(self, remote: RemoteWork) -> None:
        self._remote = remote

    def find(self, submission: Submission) -> Found | None:
        """Find the submission by its name."""
        return self._remote.find(submission)

    def observe(self, submission: Submission) -> Observation:
        """Observe the submission by its ids."""
        return self._remote.observe(submission)

    def result(self, submission: Submission, observation: Observation) -> Ending | None:
        """Return the result of the submission."""
        return self._remote.result(submission, observation)

    def close(self, submission: Submission, observation: Observation) -> None:
        """Do nothing."""

    def terminate(self, submission: Submission, reason: str) -> None:
        """Do nothing."""

    def terminate_started(self, parents: Sequence[Any]) -> None:
        """Do nothing."""
