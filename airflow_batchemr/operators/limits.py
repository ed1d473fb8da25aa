"""What forbids a task to start more work: a newer run of the pipeline has stopped it, or its deadline has passed.

Both outlive a crash: the next try reads them from the ledger. A clear is a user's decision to run the rest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.engine.waiters import cleared_since

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, StopRequest, Submission

#: `StopRequest.by` of a newer run of the pipeline (`overlap: terminate`). This and a passed deadline end the task;
#: after other stops, the rest runs again.
NEWER_RUN = "newer run"
#: `StopRequest.by` of a task whose time is over.
DEADLINE = "deadline"


@dataclass(frozen=True)
class End:
    """Why a task ends although work is left."""

    message: str
    """For the user."""
    reason: str
    """Reason of the stop, for AWS and the ledger."""
    by: str
    """`StopRequest.by` of the stop."""
    retryable: bool = False
    """Whether a retry has time of its own."""


@dataclass(frozen=True)
class Limits:
    """The limits of one job of a run."""

    ledger: JobLedger
    identity: JobIdentity
    deadline: int | None
    """Seconds from the first submission."""
    execution_timeout: timedelta | None
    """Airflow's limit of a try, which Airflow does not enforce while a task is deferred."""
    run_began: datetime | None
    """Start of the run. Airflow changes it when a user clears a finished run."""
    try_began: datetime | None
    """Start of the try."""

    def end(self, event: Mapping[str, Any] | None, state: LedgerState) -> End | None:
        """Return why nothing more may start; None if it may.

        Args:
            event: Payload of the trigger after a deferral; None at the start of a try.
            state: State of the ledger.
        """
        request = self._lasting_stop(self._may_be_stopped(event, state))
        if request is not None and request.by == NEWER_RUN:
            return End(f"Stopped: {request.reason}. Clear the task to run what is left", request.reason, NEWER_RUN)
        due = self.due(state)
        # A worker whose clock is behind that of the triggerer reads the stop before the deadline
        passed = request is not None or (due is not None and time.time() >= due)
        return self.at_deadline() if passed else None

    def at_deadline(self) -> End:
        """Return the end of a task whose deadline has passed."""
        limits = [f"deadline of {self.deadline} s from the first submission"] if self.deadline is not None else []
        if self.execution_timeout is not None:
            limits.append(f"execution_timeout of {self.execution_timeout}")
        message = (
            f"The {' or '.join(limits)} has passed: stopped the remaining work. What has finished will not run again; "
            "clear the task to run the rest"
        )
        return End(message, "the deadline has passed", DEADLINE, retryable=self.deadline is None)

    def due(self, state: LedgerState) -> float | None:
        """Return the deadline of the work, in seconds since the epoch; None if there is none."""
        found = []
        if self.deadline is not None:
            # A clear restarts the deadline; otherwise, the remaining work would be stopped as soon as it starts
            over = self._cleared(one.number for one in state.current)
            claimed = [one.claimed_at for one in state.current if one.claimed_at and one.number not in over]
            found.append((min(claimed).timestamp() if claimed else time.time()) + self.deadline)
        if self.execution_timeout is not None:
            began = self.try_began.timestamp() if self.try_began else time.time()
            found.append(began + self.execution_timeout.total_seconds())
        return min(found, default=None)

    def _may_be_stopped(self, event: Mapping[str, Any] | None, state: LedgerState) -> list[Submission]:
        """Return the submissions that may have been stopped since the last pass: open ones, and those just ended."""
        if event is None:  # an earlier try may have recorded the end of any of them, and then crashed
            known = [] if self.identity.try_number > 1 else state.numbers
        elif "submissions" in event:
            known = [number for number in state.numbers if number not in event["submissions"]]
        else:
            known = event.get("prior_submissions") or []
        return [one for one in state.current if one.open or one.number not in known]

    def _lasting_stop(self, submissions: Iterable[Submission]) -> StopRequest | None:
        """Return a stop request that ends the task, unless the user has cleared the task or the run since.

        A deadline ends a try when it passes; this is about the try after it, if the worker was lost. After an
        `execution_timeout`, a retry has time of its own.
        """
        retried = self.deadline is not None and self.identity.try_number > 1
        lasting = {NEWER_RUN, DEADLINE} if retried else {NEWER_RUN}
        for submission in submissions:
            request = submission.stop
            if request is None or request.by not in lasting:
                continue
            if self.run_began is not None and request.written_at < self.run_began:
                continue
            in_this_try = self.try_began is not None and request.written_at >= self.try_began
            if in_this_try or not self._cleared([submission.number]):
                return request
        return None

    def _cleared(self, numbers: Iterable[int]) -> frozenset[int]:
        """Return the submissions that a try waited for before a user cleared the task. One LIST per submission."""
        if self.identity.try_number == 1:  # there was nothing to clear
            return frozenset()
        first = replace(self.identity, try_number=0)  # as seen from before all tries; a clear changes `max_tries`
        return frozenset(number for number in numbers if cleared_since(self.ledger, first, [number]))
