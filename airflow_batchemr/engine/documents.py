"""Names of the documents stored next to the records of a job's submissions."""

from __future__ import annotations


def children_document(number: int) -> str:
    """Name of the document with AWS Batch's description of each child of a submission's arrays."""
    return f"children/{number:04d}.json"


def report_document(number: int) -> str:
    """Name of the document with the failure report of a submission on EMR, whose logs may be deleted later."""
    return f"report/{number:04d}.txt"
