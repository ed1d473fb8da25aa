"""Whether something on AWS is the work of a submission, by its name and tags on AWS.

Whoever can write to the state bucket can write records, so an id in a record proves nothing. What this package starts
has a name that follows from state URI, Dag, run key, job and submission, and tags with these values. Neither is read
from the ledger.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.core.foreign_text import clean_line
from airflow_batchemr.core.tags import SHORT_NAME, tag_value
from airflow_batchemr.ledger.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger

#: What the names of several Batch jobs of one submission end with.
_PART = re.compile(r"-p\d{4,}\Z", re.ASCII)


class ForeignWorkError(LedgerError):
    """A record of the ledger names work on AWS that is not the work of its submission. It is neither used nor ended."""

    def __init__(self, record: str, remote_id: str, problem: str) -> None:
        super().__init__(
            f"{record} names {clean_line(remote_id)}, which is not the work of this submission: {problem}. It was "
            "neither ended nor counted. Find out who changed the record, or the tags. If the work is somebody else's, "
            f"remove the record (`aws s3 rm {record}`), and the next try searches for its own work by name. If it is "
            "the task's own work, restore its tags"
        )


def refuse(ledger: JobLedger, number: int, problems: Mapping[str, str | None]) -> None:
    """Raise `ForeignWorkError` for the first id that is not the work of a submission, for which there is a reason."""
    for remote_id, problem in problems.items():
        if problem is not None:
            raise ForeignWorkError(ledger.handle_uri(number), remote_id, problem)


def difference(
    identity: JobIdentity, number: int, name: str, tags: Mapping[str, str], *, earlier: bool = False
) -> str | None:
    """Compare name and tags on AWS with those of a submission. The only place where this is decided.

    Tags are compared as this version writes them: an earlier one kept letters outside ASCII.

    Args:
        identity: of the job.
        number: of the submission.
        name: of the Batch job, cluster or job run on AWS.
        tags: of the same.
        earlier: whether an earlier submission of the job may have started it: a cluster that was kept alive.

    Returns:
        What is expected and what was found; None if it is the submission's work.
    """
    whole = _PART.sub("", name)
    given = whole.rpartition("-a")[2]
    if earlier and given.isdecimal() and given.isascii() and len(given) <= len(f"{number:04d}"):
        number = min(number, int(given))
    expected, wanted = identity.submission_name(number), identity.tags(number)
    if whole not in {expected, expected[-SHORT_NAME:]}:
        return f"its name is {clean_line(name)!r}, expected {expected!r}"
    for key, value in wanted.items():
        if tag_value(tags.get(key, "")) != value:
            found = f"its tag {key} is {clean_line(tags[key])!r}" if key in tags else f"it has no tag {key}"
            return f"its name is {name!r}, but {found}, expected {value!r}"
    return None


def step_difference(identity: JobIdentity, number: int, name: str) -> str | None:
    """As `difference`, for a step, which has no tags: its name ends with that of the submission."""
    expected = f"[{identity.submission_name(number)}-s"
    if re.search(rf"{re.escape(expected)}\d{{4,}}\]\Z", name, re.ASCII):
        return None
    return f"its name is {clean_line(name)!r}, expected one that ends with {expected}…]"
