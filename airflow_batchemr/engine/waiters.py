"""Which try waits for which attempt: documents beside the job's records, that tell a person's word from a crash.

`attached/0001/0002-3`: try 2, which Airflow allows no more than 3 retries, has waited for attempt 1.
`left/<wait>`: the trigger of a wait has fired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, Submission

_ATTACHED, _LEFT = "attached", "left"


def attach(ledger: JobLedger, identity: JobIdentity, numbers: Iterable[int]) -> None:
    """Leave word that this try waits for these attempts. One PUT an attempt."""
    for number in numbers:
        ledger.put_document(f"{_ATTACHED}/{number:04d}/{identity.try_number:04d}-{identity.max_tries}", b"")


def _tries(ledger: JobLedger, number: int) -> set[tuple[int, int]]:
    """Which tries have waited for an attempt: their number and `max_tries`."""
    names = (name.rsplit("/", 1)[1].split("-") for name in ledger.documents(f"{_ATTACHED}/{number:04d}/"))
    return {(int(try_number), int(max_tries)) for try_number, max_tries in names}


def cleared(ledger: JobLedger, identity: JobIdentity, numbers: Iterable[int]) -> list[int]:
    """Which of these attempts were last waited for before a person cleared the task. One LIST an attempt.

    As a rule the trigger of the try that was cleared has stopped them; but one that is cleared before its trigger has
    started, about a second after its deferral, has no trigger that could.
    """
    ours = identity.try_number, identity.max_tries
    found = []
    for number in numbers:
        tries = {one for one in _tries(ledger, number) if one[0] <= identity.try_number}
        if tries and ours not in tries and max(tries)[1] != identity.max_tries:
            found.append(number)
    return found


def cleared_since(ledger: JobLedger, identity: JobIdentity, numbers: Iterable[int]) -> bool:
    """Whether a try after a clear waits for one of these attempts, which ours has waited for. One LIST an attempt."""
    return any(
        try_number > identity.try_number and max_tries != identity.max_tries
        for number in numbers
        for try_number, max_tries in _tries(ledger, number)
    )


def still_ours(ledger: JobLedger, identity: JobIdentity, submissions: Iterable[Submission]) -> list[Submission]:
    """Which of these attempts no later try has claimed or waits for. One LIST an attempt.

    A worker that Airflow had given up, and whose task another one goes on with, may be killed long after.
    """
    return [submission for submission in submissions if not _taken_over(ledger, identity, submission)]


def _taken_over(ledger: JobLedger, identity: JobIdentity, submission: Submission) -> bool:
    if submission.intent is not None and submission.intent.try_number > identity.try_number:
        return True
    return any(try_number > identity.try_number for try_number, _ in _tries(ledger, submission.number))


def leave(ledger: JobLedger, wait: str) -> None:
    """Leave word that a wait is over by itself. One PUT."""
    ledger.put_document(f"{_LEFT}/{wait}", b"")


def has_left(ledger: JobLedger, wait: str) -> bool:
    """Whether a wait was over by itself. One GET."""
    return ledger.get_document(f"{_LEFT}/{wait}") is not None
