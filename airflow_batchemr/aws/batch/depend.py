"""Index by index after another job: index i starts when index i of the other one is done (AWS's N_TO_N)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.core.arrays import split

if TYPE_CHECKING:
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger import LedgerState

#: Seconds after which to look again whether the other job has submitted what is waited for.
LOOK_AGAIN = 10.0


def parts_after(other: LedgerState, todo: IndexSet) -> list[tuple[IndexSet, str | None]]:
    """What can be submitted now of a job that follows another one index by index.

    AWS's N_TO_N joins children by their place in the array, so that both arrays must run the same indices: what the
    other one has done needs no dependency, what one of its running jobs runs is submitted as the same set, and the rest
    waits until the other one has submitted or done it.

    Args:
        other: the other job's ledger.
        todo: what is left of this job.

    Returns:
        Sets for one SubmitJob each, and the job that each depends on.
    """
    free = todo if other.marker is not None else todo & other.done
    parts: list[tuple[IndexSet, str | None]] = [(part, None) for part in split(free)] if free else []
    left = todo - free
    for submission in other.open_submissions:
        for job in submission.handle.jobs if submission.handle is not None else ():
            if job.indices and job.indices <= left:
                parts.append((job.indices, job.job_id))
                left -= job.indices
    return parts
