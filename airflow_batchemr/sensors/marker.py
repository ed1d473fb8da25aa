"""Sensor that waits for a job of another pipeline."""

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
    """Waits, without occupying a worker slot, until a job has succeeded for a run key.

    The sensor checks the job's marker in the ledger, so the other pipeline may run in another Airflow installation.

    Args:
        pipeline: Dag id of the other pipeline.
        job: Job of that pipeline. Defaults to the name of the pipeline, for pipelines with a single job.
        run_key: Run key to wait for. Defaults to the run key of this run.
        state: State URI of the other pipeline. Defaults to `[batchemr] state` in Airflow's configuration.
        timeout: Maximum number of seconds to wait. Defaults to no limit.
        aws_conn_id: Airflow connection.
        region: AWS region. Defaults to that of the connection.
        region_name: The amazon provider's name for `region`.
        **kwargs: Arguments of Airflow's BaseOperator.
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
        """Return the URI of the marker if it exists, or defer until it does."""
        run = context["dag_run"]
        wanted = self.run_key or key_of(run.logical_date, getattr(run, "partition_key", None), run.run_id)
        job = self.job or self.pipeline
        with as_airflow_error():
            ledger = Ledger(connection_clients(self.aws_conn_id, self.region).s3, configured_state(self.state))
            job_ledger = ledger.job(self.pipeline, wanted, job)
            try:
                if job_ledger.read().marker is not None:
                    return job_ledger.marker_uri
            except LedgerError as error:
                if not error.retryable:
                    raise
                self.log.warning("Cannot read the marker; will retry: %s", error)
        self.log.info("Waiting for %s", job_ledger.marker_uri)
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
        """Return the URI of the marker.

        Raises:
            AirflowException: The marker did not appear within the timeout.
            AirflowFailException: AWS permanently denied access to the ledger.
        """
        if event["status"] == "marked":
            return str(event["marker"])
        if event["status"] == "denied":
            raise AirflowFailException(event["message"])
        raise AirflowException(f"{self.pipeline}.{self.job or self.pipeline} did not succeed within {self.timeout} s")
