"""Merging, splitting and comparing the handles of what the calls of one submission started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.ledger import Handle

if TYPE_CHECKING:
    from airflow_batchemr.engine.backend import NewSubmission
    from airflow_batchemr.ledger import Request


def merged(new: NewSubmission, handles: list[Handle]) -> Handle:
    """One handle for all calls of a submission; abandoned if none was made."""
    if not handles:
        return Handle(kind=new.kind, abandoned=True)
    jobs = [job for handle in handles for job in handle.jobs]
    return handles[-1].model_copy(update={"jobs": jobs})


def part_of(handle: Handle, request: Request) -> Handle | None:
    """The part of a handle that one request started."""
    if handle.cluster_id is not None:
        return handle
    jobs = [job for job in handle.jobs if job.name == request.name]
    return handle.model_copy(update={"jobs": jobs}) if jobs else None


def difference(mine: Handle, recorded: Handle) -> Handle | None:
    """What one handle lists and the other does not; None if there is no difference."""
    if mine.writer == recorded.writer or mine.abandoned:
        return None
    known = {job.job_id for job in recorded.jobs}
    jobs = [job for job in mine.jobs if job.job_id not in known]
    same_work = mine.cluster_id == recorded.cluster_id and (
        mine.kind == "emr" or not mine.step_ids or set(mine.step_ids.values()) == set(recorded.step_ids.values())
    )
    if not jobs and (mine.cluster_id is None or same_work):
        return None
    return mine.model_copy(update={"jobs": jobs})
