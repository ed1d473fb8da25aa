"""What the engine needs to know about a kind of work: two protocols and the few types that cross them.

`RemoteWork` finds, observes and ends submissions from their ledger records. It needs no options of the job, so that a
trigger, a newer run or `batchemr orphans` can use it. `Backend` knows the job: what there is to do and with which
requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger import Handle, LedgerState, Request, Result, Submission
    from airflow_batchemr.ledger.records import Kind

Status = Literal["running", "ended", "not_visible"]


@dataclass(frozen=True)
class Observation:
    """What AWS shows of a submission."""

    status: Status
    """`not_visible` only if the service itself reports that there is no such resource."""
    idle: bool = False
    """It runs but has nothing left to do: a cluster that is up, or whose steps have all succeeded."""
    answer: Any = None
    """What AWS answered, in the form that the kind of work uses."""
    state: str = ""
    """AWS's own state, such as RUNNABLE or WAITING, for display."""


@dataclass(frozen=True)
class Found:
    """What a search by name found of a submission without a handle."""

    handle: Handle
    complete: bool = True
    """Whether nothing of the submission is missing. Lists lag, so the rest may appear until the lease has ended."""
    twins: Sequence[Handle] = ()
    """Others that run under the same name, which must not keep costing money: whoever adopts `handle` ends them."""


@dataclass(frozen=True)
class Ending:
    """How a submission ended, and the documents to write before that is recorded."""

    result: Result
    documents: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class SubmissionPlan:
    """A submission to claim."""

    number: int
    indices: IndexSet
    """Indices of an array, or numbers of steps."""
    variant: int = 0
    """Position among the ways to run it: memory sizes, or subnets and instance types."""


@dataclass(frozen=True)
class NewSubmission:
    """The calls that a plan results in, and what the intent records in addition."""

    kind: Kind
    requests: Sequence[Request]
    details: Mapping[str, Any] = field(default_factory=dict)
    handle: Handle | None = None
    """Set for work that already runs, such as a cluster that an earlier submission kept alive: no call is made."""


class RemoteWork(Protocol):
    """Submissions on AWS. The methods raise `AwsError` and `LedgerError`."""

    def find(self, submission: Submission) -> Found | None:
        """Search by name for a submission whose handle was not recorded; None where AWS shows nothing of it.

        Only reads: forecasts, the history and `batchemr orphans` search, too.
        """

    def observe(self, submission: Submission) -> Observation:
        """Ask AWS about a submission that has a handle.

        Raises:
            ForeignWorkError: the handle names work that is not the submission's.
        """

    def result(self, submission: Submission, observation: Observation) -> Ending | None:
        """Return how a submission ended, or that it is lost where it is not visible. Writes nothing.

        Batch reads exit codes in `observe`. None: something that belongs to the submission still runs.
        """

    def close(self, submission: Submission, observation: Observation) -> None:
        """Terminate what an observed submission leaves running although nobody needs it any more.

        Such as the cluster of an ended submission that would wait for more steps.
        """

    def terminate(self, submission: Submission, reason: str) -> object | None:
        """End the work, by handle or by name; what has ended already is left alone.

        Returns:
            What `terminate_started` needs to end the work that the programs have started themselves.

        Raises:
            ForeignWorkError: the handle names work that is not the submission's; the rest has been terminated.
        """

    def terminate_started(self, parents: Sequence[Any]) -> None:
        """End work that terminated programs have started themselves; one search for all of them."""


class Work(Protocol):
    """What there is to do for a job. Pure: everything follows from the ledger's state.

    The engine has set `prior_submissions` in it.
    """

    def units(self, state: LedgerState) -> IndexSet:
        """All units of the job: indices of an array, numbers of steps, or 0 alone."""

    def done(self, state: LedgerState) -> IndexSet:
        """The units that need no more work according to the recorded results."""

    def retryable_units(self, state: LedgerState, failed: IndexSet) -> IndexSet:
        """The failed units that run again within the same try: with more memory, or in another subnet."""

    def plans(
        self, state: LedgerState, left: IndexSet, *, failed: IndexSet, busy: Sequence[Submission]
    ) -> list[SubmissionPlan]:
        """The submissions to claim now for units that are left; empty while that has to wait.

        Args:
            state: the ledger.
            left: units that are neither done, nor failed in this try, nor part of an open submission.
            failed: units that failed in this try.
            busy: open submissions that still have something to do.
        """


class Backend(Work, Protocol):
    """One job on one kind of AWS resource."""

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission | None:
        """Build and check the requests of a plan; None where they have to wait for another job.

        Raises:
            Refused: the request is invalid, or what it refers to does not exist.
        """

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:
        """Make the call of one request.

        Args:
            request: as recorded in the intent.
            sleep: waits between retries of a call that was certainly not carried out; raises to give up.

        Raises:
            AwsError: `Unknown` where the call may have been carried out.
        """

    def stays(self, submission: Submission) -> bool:
        """Whether an idle submission remains open when the job has succeeded, as a shared cluster does."""
