"""Stopping attempts of any kind, by what the ledger alone says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.aws.batch.submissions import BatchSubmissions
from airflow_batchemr.aws.emr.job_run_submissions import stop_job_run
from airflow_batchemr.aws.emr.submissions import EmrSubmissions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, Submission


def stop_submissions(
    clients: Clients,
    ledger: JobLedger,
    identity: JobIdentity,
    state: LedgerState,
    submissions: Sequence[Submission],
    *,
    reason: str,
    by: str,
) -> None:
    """Leave word that open attempts are to end, then end their jobs, steps, clusters and job runs.

    Args:
        clients: AWS.
        ledger: the job's.
        identity: whose work it is.
        state: the ledger as just read.
        attempts: those of it that are to end.
        reason: for people.
        by: who wants it.

    Raises:
        AwsError, LedgerError: a call failed.
    """
    batch = [one for one in submissions if one.intent is None or one.intent.kind == "batch"]
    if batch:
        BatchSubmissions(clients, ledger, identity).stop(batch, reason, by=by)
    emr = EmrSubmissions(clients, ledger, identity)
    for submission in reversed(
        [one for one in submissions if one not in batch]
    ):  # steps before the cluster that they run on
        if submission.intent is not None and submission.intent.kind in {"emr_serverless", "emr_eks"}:
            stop_job_run(clients, ledger, identity, submission, reason, by=by)
        else:
            opened = emr.adopt(submission, state)
            if opened is not None:
                emr.stop(opened, reason, by=by)
