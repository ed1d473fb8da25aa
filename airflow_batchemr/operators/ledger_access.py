"""Base of operators that access the ledger of a job: location of the ledger, and identity of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.connections import configured_state, connection_clients
from airflow_batchemr.core.run_key import run_key
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger.store import plain_uri
from airflow_batchemr.operators.aws_operator import AwsOperator
from airflow_batchemr.operators.converted_arguments import ConvertedArguments
from airflow_batchemr.operators.options import check_state, check_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import JobLedger


class LedgerAccess(AwsOperator, ConvertedArguments):
    """An operator that reads and writes the ledger of a job.

    Args:
        state: s3:// URI of the ledger; `[batchemr] state` of Airflow's configuration if not given.
        job: name in the ledger; the task's id if not given. A mapped task appends its map index.
        **kwargs: of `AwsOperator` and of Airflow's BaseOperator.
    """

    template_fields: Sequence[str] = ("state", "job", "aws_conn_id", "region")
    ui_color = "#f7e8d0"

    #: Set by `open_run`.
    identity: JobIdentity
    clients: Clients
    ledger: JobLedger

    def __init__(
        self,
        *,
        state: str | None = None,
        job: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_state(state)
        check_text(job=job)
        self.state = state
        self.job = job

    def open_run(self, context: Context) -> None:
        """Determine the identity, and create clients and ledger. Makes no AWS calls.

        Raises:
            LedgerError: No state URI is configured, or it is invalid.
            AirflowFailException: The output of another task is not text.
        """
        check_text(state=self.state, job=self.job, aws_conn_id=self.aws_conn_id, region=self.region)
        self.clients = connection_clients(self.aws_conn_id, self.region)
        state = configured_state(self.state)
        self.identity = self.identify(context, plain_uri(state))
        ledger = self.clients.ledger(state)
        self.ledger = ledger.job(self.identity.dag_id, self.identity.run_key, self.identity.job)

    def identify(self, context: Context, state_uri: str) -> JobIdentity:
        """Return the identity of this task instance's work."""
        ti, run = context["ti"], context["dag_run"]
        job = self.job or self.task_id
        began = getattr(run, "start_date", None)
        return JobIdentity(
            state=state_uri,
            dag_id=ti.dag_id,
            run_key=run_key(run.logical_date, getattr(run, "partition_key", None), run.run_id),
            job=job if ti.map_index is None or ti.map_index < 0 else f"{job}.{ti.map_index}",
            run_id=run.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
            max_tries=ti.max_tries or 0,
            run_began=began.isoformat() if began is not None else "",
        )

    def remote(self) -> AnyRemoteWork:
        """Return the submissions of this job on AWS."""
        return AnyRemoteWork(self.clients, self.ledger, self.identity)
