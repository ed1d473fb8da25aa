"""Which try waits for which submission: documents next to the job's records that distinguish a clear from a crash.

`waiters/0001/5d41402a/0002-3`: try 2, which Airflow allows up to 3 retries, of the run with that digest waits for
submission 1. `fired/<wait>`: the trigger of a wait has fired.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, Submission

_WAITERS, _FIRED = "waiters", "fired"
_WAITER = re.compile(rf"{_WAITERS}/[0-9]+/([0-9a-f]{{8}})/([0-9]{{1,9}})-(-?[0-9]{{1,9}})")


def _digest(run_id: str) -> str:
    return hashlib.sha256(run_id.encode()).hexdigest()[:8]


def _folder(identity: JobIdentity, number: int) -> str:
    # A run that is deleted and triggered again for the same date restarts the numbering of its tries
    return f"{_WAITERS}/{number:04d}/{_digest(identity.run_id)}/"


def record_waiter(ledger: JobLedger, identity: JobIdentity, numbers: Iterable[int]) -> None:
    """Record that this try waits for these submissions, or has left them running. One PUT per submission."""
    for number in numbers:
        ledger.put_document(f"{_folder(identity, number)}{identity.try_number:04d}-{identity.max_tries}", b"")


def _tries(ledger: JobLedger, identity: JobIdentity, number: int) -> set[tuple[int, int]]:
    """Which tries of this run have waited for a submission: their number and `max_tries`."""
    found = map(_WAITER.fullmatch, ledger.documents(_folder(identity, number)))
    return {(int(waiter[2]), int(waiter[3])) for waiter in found if waiter}


def cleared(ledger: JobLedger, identity: JobIdentity, numbers: Iterable[int]) -> list[int]:
    """The submissions that a try waited for before a user cleared the task, and none since. One LIST per submission.

    Usually the trigger of the cleared try has stopped them. But a task that is cleared before its trigger has started,
    within about a second of its deferral, has no trigger that could.
    """
    ours = identity.try_number, identity.max_tries
    found = []
    for number in numbers:
        tries = {one for one in _tries(ledger, identity, number) if one[0] <= identity.try_number}
        if tries and ours not in tries and max(tries)[1] != identity.max_tries:
            found.append(number)
    return found


def cleared_since(ledger: JobLedger, identity: JobIdentity, numbers: Iterable[int]) -> bool:
    """Whether a try after a clear waits for a submission that this try waited for. One LIST per submission."""
    return any(
        try_number > identity.try_number and max_tries != identity.max_tries
        for number in numbers
        for try_number, max_tries in _tries(ledger, identity, number)
    )


def undecided(ledger: JobLedger, identity: JobIdentity, lost: Iterable[int]) -> set[int]:
    """The lost submissions that a try of this run waited for, without a clear since. One LIST per submission.

    The worker of that try may have died before it could report the loss.
    """
    if identity.try_number == 1:
        return set()
    waited = {number for number in lost if _tries(ledger, identity, number)}
    return waited - set(cleared(ledger, identity, waited))


def still_ours(
    ledger: JobLedger, identity: JobIdentity, submissions: Iterable[Submission], began: datetime | None = None
) -> list[Submission]:
    """The submissions that nobody else has claimed or waited for since this try began. One LIST per submission.

    Airflow may kill a worker long after another try, or a new run for the same date, has taken over its work.

    Args:
        ledger: of the job.
        identity: of the job and this try.
        submissions: to choose from.
        began: when this try began, by Airflow's clock; None: only the numbers of the tries count.
    """
    return [one for one in submissions if not _taken_over(ledger, identity, one, began)]


def _taken_over(ledger: JobLedger, identity: JobIdentity, submission: Submission, began: datetime | None) -> bool:
    def later(run: str, try_number: int, at: datetime | None) -> bool:
        if run == _digest(identity.run_id) and try_number <= identity.try_number:
            return False
        if at is None or began is None:
            return run == _digest(identity.run_id)
        return at >= began.replace(microsecond=0)  # S3's times are whole seconds

    intent = submission.intent
    if (
        intent is not None
        and intent.run_id is not None
        and later(_digest(intent.run_id), intent.try_number, submission.claimed_at)
    ):
        return True
    waiters = ledger.document_times(f"{_WAITERS}/{submission.number:04d}/")
    found = ((_WAITER.fullmatch(name), at) for name, at in waiters.items())
    return any(later(waiter[1], int(waiter[2]), at) for waiter, at in found if waiter)


def record_fired(ledger: JobLedger, wait: str) -> None:
    """Record that the trigger of a wait has fired. One PUT."""
    ledger.put_document(f"{_FIRED}/{wait}", b"")


def has_fired(ledger: JobLedger, wait: str) -> bool:
    """Whether the trigger of a wait has fired. One GET."""
    return ledger.get_document(f"{_FIRED}/{wait}") is not None
