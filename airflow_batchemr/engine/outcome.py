"""The outcome of one pass of the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.core.errors import Refused
    from airflow_batchemr.engine.backend import Observation
    from airflow_batchemr.ledger import Failure, LedgerState, Submission


@dataclass(frozen=True)
class Outcome:
    """What the task does now: wait for open submissions, succeed, or fail."""

    action: Literal["wait", "succeed", "fail"]
    state: LedgerState
    """The ledger, with everything that this pass found and did."""
    prior_submissions: frozenset[int]
    """Numbers of the submissions that ended before this try began: their failures do not count."""
    waits: list[Submission] = field(default_factory=list)
    """The open submissions. Also after success: those that stay open for other jobs, such as a shared cluster."""
    observations: Mapping[int, Observation] = field(default_factory=dict)
    """The last observation of each open submission, by number."""
    wake_after: float | None = None
    """Seconds until the next pass even if nothing ends: AWS accepted no call, or another try holds a claim."""
    failed: IndexSet = field(default_factory=IndexSet)
    failures: list[Failure] = field(default_factory=list)
    blocked: Refused | None = None
    """Why nothing more can be submitted; the job waits for what still runs before it fails."""

    @property
    def failed_submissions(self) -> list[Submission]:
        """The submissions of this try that did not succeed."""
        return [
            one
            for one in self.state.current
            if one.result is not None
            and one.number not in self.prior_submissions
            and one.result.outcome not in {"succeeded", "stopped", "abandoned"}
        ]

    @property
    def lost(self) -> bool:
        """Whether something is lost: it may have succeeded, so it never runs again without a user's decision."""
        return any(one.result is not None and one.result.outcome == "lost" for one in self.failed_submissions)
