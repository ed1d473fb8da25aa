"""A job's history for people, with what lies beside its records."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from airflow_batchemr.engine.history import index_history_of, job_history_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.engine.history import JobHistory
    from airflow_batchemr.ledger.job import JobLedger
    from airflow_batchemr.ledger.ledger import Ledger


def children_document(number: int) -> str:
    """Name of the document with what AWS Batch said of each child of an attempt's arrays."""
    return f"children/{number:04d}.json"


def report_document(number: int) -> str:
    """Name of the document with what a person is told of an attempt that failed on EMR: found in logs that may go."""
    return f"report/{number:04d}.txt"


def job_history(ledger: JobLedger, job: str, replay: Sequence[str] = ()) -> JobHistory:
    """Tell of a job with the causes of its failures: `JobLedger.history()`, and a GET for each failure on EMR.

    Args:
        ledger: of the job.
        job: its name.
        replay: the command that runs an index again, without ``--index``.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    state = ledger.history()
    reports = {}
    for submission in state.submissions:
        if submission.result is not None and submission.result.failures and submission.result.kind != "batch":
            body = ledger.get_document(report_document(submission.number))
            if body:
                reports[submission.number] = body.decode()
    return job_history_of(job, state, replay, reports)


def run_history(ledger: Ledger, dag_id: str, run_key: str) -> list[JobHistory]:
    """Tell of all jobs of a run, in the order in which they began; those that needed no attempt come last.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    told = [job_history_of(job, ledger.job(dag_id, run_key, job).history()) for job in ledger.jobs(dag_id, run_key)]
    return sorted(told, key=lambda story: story.began.timestamp() if story.began else math.inf)


def index_history(ledger: JobLedger, index: int) -> list[list[tuple[str, str]]]:
    """Tell of one index, attempt by attempt, as `index_story`: `JobLedger.history()`, and a GET an attempt that had it.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    state = ledger.history()
    children: dict[int, list[dict[str, Any]]] = {}
    for submission in state.submissions:
        if index in submission.indices and (body := ledger.get_document(children_document(submission.number))):
            children[submission.number] = json.loads(body)
    return index_history_of(state, children, index)
