"""`explicit_success`: a program has to write an object to succeed; exit code 0 is not enough."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from airflow_batchemr.ledger import JobLedger

#: Variable with the URI of the object. For an array it is a folder, to which the program appends its index.
SUCCESS_URI = "BATCHEMR_SUCCESS_URI"
#: `Failure.cause` of a program that exited with 0 and did not write its object.
UNCONFIRMED = "no explicit success"


def folder(number: int) -> str:
    """Folder of the objects in the ledger; a submission has its own."""
    return f"explicit/{number:04d}/"


def environment(ledger: JobLedger, number: int, index: int | None = 0) -> dict[str, str]:
    """The variable for the program of a submission; `index` None: it runs once per index of an array."""
    uri = ledger.document_uri(folder(number))
    return {SUCCESS_URI: uri if index is None else f"{uri}{index}"}


def written(ledger: JobLedger, folder: str) -> IndexSet:
    """The indices, or numbers of steps, whose objects are in a folder of the ledger: one LIST per 1,000."""
    names = (name.removeprefix(folder) for name in ledger.documents(folder))
    return IndexSet.of(int(name) for name in names if re.fullmatch("[0-9]{1,6}", name))


def reason(ledger: JobLedger, number: int, index: int) -> str:
    """Why a program that exited with 0 has failed."""
    return f"exit 0, but no object at {SUCCESS_URI} ({ledger.document_uri(folder(number))}{index})"
