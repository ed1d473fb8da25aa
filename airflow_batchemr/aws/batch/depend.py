"""Following another job index by index: index i starts when index i of the other job is done (AWS's N_TO_N)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.core.arrays import split

if TYPE_CHECKING:
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger import LedgerState

#: Seconds between two checks whether the other job has submitted the indices that this one waits for.
LOOK_AGAIN = 10.0


def parts_after(other: LedgerState, todo: IndexSet) -> list[tuple[IndexSet, str | None]]:
    """What can be submitted now of a job that follows another one index by index.

    AWS's N_TO_N joins children by their position in the array, so both arrays must run the same indices. Indices that
    the other job has finished need no dependency; the set of a running job is submitted as the same set; the rest waits
    until the other job has submitted or finished it.

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
