"""Stopping attempts of any kind, by what the ledger alone says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.aws.batch.attempts import BatchAttempts
from airflow_batchemr.aws.emr.attempts import EmrAttempts
from airflow_batchemr.aws.emr.job_run_attempts import stop_job_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.identity import RunIdentity
    from airflow_batchemr.ledger import Attempt, JobLedger, LedgerState


def stop_attempts(
    clients: Clients,
    ledger: JobLedger,
    identity: RunIdentity,
    state: LedgerState,
    attempts: Sequence[Attempt],
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
    batch = [one for one in attempts if one.intent is None or one.intent.kind == "batch"]
    if batch:
        BatchAttempts(clients, ledger, identity).stop(batch, reason, by=by)
    emr = EmrAttempts(clients, ledger, identity)
    for attempt in reversed([one for one in attempts if one not in batch]):  # steps before the cluster that they run on
        if attempt.intent is not None and attempt.intent.kind in {"emr_serverless", "emr_eks"}:
            stop_job_run(clients, ledger, identity, attempt, reason, by=by)
        else:
            opened = emr.adopt(attempt, state)
            if opened is not None:
                emr.stop(opened, reason, by=by)
