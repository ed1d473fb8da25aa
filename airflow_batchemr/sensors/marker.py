"""Waiting for a job of another pipeline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr.connections import as_airflow_error, configured_state, connection_clients
from airflow_batchemr.core.run_key import run_key as key_of
from airflow_batchemr.ledger import Ledger, LedgerError
from airflow_batchemr.triggers.marker import S3MarkerTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context


class S3MarkerSensor(BaseOperator):
    """Waits, without holding a worker, for the marker that a job has succeeded for a run key.

    It looks into the ledger and needs no Airflow database: the other pipeline may run in another Airflow.

    Args:
        pipeline: dag id of the other pipeline.
        job: the job in it; for a pipeline of one job its name is the pipeline's.
        run_key: the run; this run's own key if not given.
        state: state URI of the other pipeline; `[batchemr] state` of Airflow's configuration if not given.
        timeout: seconds to wait at most; no end if not given.
        aws_conn_id: Airflow connection.
        region: AWS region; the connection's if not given.
        region_name: the amazon provider's name for `region`.
        **kwargs: of Airflow's BaseOperator.
    """

    template_fields: Sequence[str] = ("pipeline", "job", "run_key", "state", "aws_conn_id", "region")
    ui_color = "#e6f1f2"

    def __init__(
        self,
        *,
        pipeline: str,
        job: str | None = None,
        run_key: str | None = None,
        state: str | None = None,
        timeout: float | None = None,
        aws_conn_id: str | None = "aws_default",
        region: str | None = None,
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.job = job
        self.run_key = run_key
        self.state = state
        self.timeout = timeout
        self.aws_conn_id = aws_conn_id
        self.region = region or region_name

    def execute(self, context: Context) -> Any:
        """Return the marker's URI where it stands, else wait for it."""
        run = context["dag_run"]
        wanted = self.run_key or key_of(run.logical_date, getattr(run, "partition_key", None), run.run_id)
        job = self.job or self.pipeline
        with as_airflow_error():
            ledger = Ledger(connection_clients(self.aws_conn_id, self.region).s3, configured_state(self.state))
            theirs = ledger.job(self.pipeline, wanted, job)
            try:
                if theirs.read().marker is not None:
                    return theirs.marker_uri
            except LedgerError as error:
                if not error.retryable:
                    raise
                self.log.warning("The marker cannot be looked at now: %s", error)
        self.log.info("Waiting for %s", theirs.marker_uri)
        now = time.time()
        self.defer(
            trigger=S3MarkerTrigger(
                state=ledger.uri,
                dag_id=self.pipeline,
                run_key=wanted,
                job=job,
                aws_conn_id=self.aws_conn_id,
                region=self.region,
                deadline=None if self.timeout is None else now + self.timeout,
                deferred_at=now,
            ),
            method_name="resume",
        )
        return None  # not reached: defer raises

    def resume(self, context: Context, event: Mapping[str, Any]) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the marker's URI.

        Raises:
            AirflowException: it did not come in time.
        """
        if event["status"] == "marked":
            return str(event["marker"])
        if event["status"] == "denied":
            raise AirflowFailException(event["message"])
        raise AirflowException(f"No marker of {self.pipeline}.{self.job or self.pipeline} after {self.timeout} s")
