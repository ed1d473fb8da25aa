"""The result of a submission that AWS refused."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import Failure, Result

if TYPE_CHECKING:
    from airflow_batchemr.ledger import Submission

#: `Failure.cause` of what AWS refused, and `StopRequest.by` if AWS had accepted a part, which is then stopped.
REFUSED = "refused"
#: Failures that a result lists one by one; it records the cause of all of them.
MAX_FAILURES = 1_000


def refused_result(submission: Submission, reason: str, ended: Result | None = None) -> Result:
    """The result of a submission of which AWS refused a part: every index that has not succeeded has failed.

    Args:
        submission: with its intent.
        reason: what AWS answered.
        ended: how the part ended that AWS had accepted; None: it accepted nothing.
    """
    intent = submission.intent
    indices = intent.indices if intent is not None else IndexSet()
    succeeded = ended.succeeded if ended is not None else IndexSet()
    causes = ended.causes if ended is not None else {}
    left = indices - succeeded - IndexSet.union(causes.values())
    causes = {**causes, REFUSED: left}
    failures = [*(ended.failures if ended is not None else ())]
    failures += [Failure(index=index, reason=reason, cause=REFUSED) for index in islice(left, MAX_FAILURES)]
    details = dict(ended.details) if ended is not None else {}
    return Result(
        kind=intent.kind if intent is not None else "batch",
        outcome="failed",
        indices=indices,
        succeeded=succeeded,
        rerun_token=submission.rerun_token,
        owner=submission.owner,
        failures=failures,
        details={**details, "causes": {cause: members.text() for cause, members in causes.items()}},
    )
