"""Sensor that waits for a job of another pipeline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_batchemr.connections import as_airflow_error, configured_state, connection_clients
from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.run_key import run_key as key_of
from airflow_batchemr.ledger import LedgerError
from airflow_batchemr.operators.aws_operator import AwsOperator
from airflow_batchemr.operators.options import check_state, check_text, duration
from airflow_batchemr.triggers.marker import S3MarkerTrigger

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

_POLLS = "leave it out: the triggerer polls; see `marker_poll_shortest` and `marker_poll_longest` in `[batchemr]`"
_FAILS = "leave it out: use a trigger rule such as all_done in the tasks after the sensor"


class S3MarkerSensor(AwsOperator):
    """Waits, without occupying a worker slot, until a job has succeeded for a run key.

    The sensor checks the job's marker in the ledger, so the other pipeline may run in another Airflow installation.

    A passed timeout fails the task without retries, unless `retries` is set.

    Args:
        pipeline: Dag id of the other pipeline.
        job: Job of that pipeline. Defaults to the name of the pipeline, for pipelines with a single job.
        run_key: Run key to wait for. Defaults to the run key of this run.
        state: State URI of the other pipeline. Defaults to `[batchemr] state` in Airflow's configuration.
        timeout: Maximum time to wait, such as 2h, a number of seconds, or a timedelta. Defaults to no limit. The
            `execution_timeout` of the task also applies.
        **kwargs: Arguments of `AwsOperator` and of Airflow's BaseOperator.
    """

    template_fields: Sequence[str] = ("pipeline", "job", "run_key", "state", "timeout", "aws_conn_id", "region")
    ui_color = "#e6f1f2"
    replaced: Mapping[str, str] = {
        **AwsOperator.replaced,
        "bucket_key": "give pipeline=, job= and run_key=",
        "bucket_name": "give state=",
        "exponential_backoff": _POLLS,
        "external_dag_id": "give pipeline=",
        "external_task_id": "give job=",
        "max_wait": _POLLS,
        "mode": "leave it out: the sensor always waits in the triggerer",
        "never_fail": _FAILS,
        "poke_interval": _POLLS,
        "silent_fail": _FAILS,
        "soft_fail": _FAILS,
    }

    def __init__(
        self,
        *,
        pipeline: str,
        job: str | None = None,
        run_key: str | None = None,
        state: str | None = None,
        timeout: str | float | dt.timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_state(state)
        check_text(pipeline=pipeline, job=job, run_key=run_key)
        self.pipeline = pipeline
        self.job = job
        self.run_key = run_key
        self.state = state
        self.timeout = duration("timeout", timeout)

    def execute(self, context: Context) -> Any:
        """Return the URI of the marker if it exists, or defer until it does."""
        self.timeout = duration("timeout", self.timeout)  # another task may have provided it
        check_text(pipeline=self.pipeline, job=self.job, run_key=self.run_key, state=self.state)
        run = context["dag_run"]
        wanted = self.run_key or key_of(run.logical_date, getattr(run, "partition_key", None), run.run_id)
        job = self.job or self.pipeline
        with as_airflow_error():
            ledger = connection_clients(self.aws_conn_id, self.region).ledger(configured_state(self.state))
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
                deadline=self._due(context, now),
                deferred_at=now,
            ),
            method_name="resume",
        )
        return None  # not reached: defer raises

    def _due(self, context: Context, now: float) -> float | None:
        """Return the time to give up, in seconds since the epoch."""
        due = [] if self.timeout is None else [now + self.timeout]
        if self.execution_timeout is not None:  # Airflow does not enforce it while a task is deferred
            started = getattr(context["ti"], "start_date", None)
            due.append((started.timestamp() if started else now) + self.execution_timeout.total_seconds())
        return min(due, default=None)

    def resume(self, context: Context, event: Mapping[str, Any]) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the URI of the marker.

        Raises:
            AirflowException: The marker did not appear in time, and `retries` is set.
            AirflowFailException: The marker did not appear in time, or AWS permanently denied access to the ledger.
        """
        if event["status"] == "marked":
            return str(event["marker"])
        if event["status"] == "denied":
            raise AirflowFailException(clean(event["message"]))
        limits = [] if self.timeout is None else [f"{self.timeout} s"]
        if self.execution_timeout is not None:
            limits.append(f"the execution_timeout of {self.execution_timeout}")
        waited = f"{self.pipeline}.{self.job or self.pipeline} did not succeed within {' or '.join(limits)}"
        raise self.program_failure(clean(waited))
