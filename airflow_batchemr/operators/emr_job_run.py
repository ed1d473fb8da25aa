"""Operator for Spark job runs on EMR Serverless and EMR on EKS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.diagnosis import probable_cause
from airflow_batchemr.aws.emr.job_run import JobRunBackend, job_run_target
from airflow_batchemr.aws.emr.options import job_run_options, spark_options
from airflow_batchemr.aws.explicit_success import UNCONFIRMED
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.operators.options import check_when_parsed, job_option
from airflow_batchemr.triggers.emr_job_run import JobRunTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_batchemr.aws.emr.job_run_targets import JobRunTarget
    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.ledger import LedgerState

#: Seconds between two searches for the logs of a failed run, and maximum number of searches.
LOG_PAUSE, LOG_LOOKS = 10.0, 4


class EmrJobRunOperator(LedgerOperator):
    """Runs one `spark:` block on EMR Serverless or EMR on EKS, once per run key.

    Args:
        spark: the options of `spark:`.
        on: `{emr_serverless: {application, role}}` or `{emr_eks: {virtual_cluster, role, release}}`, both with a
            `log_uri`, where the cause of a failure can be found.
        env: variables for driver and executors.
        explicit_success: whether the program has to write an object to `BATCHEMR_SUCCESS_URI` to succeed.
        **kwargs: of `LedgerOperator`.
    """

    template_fields: Sequence[str] = (*LedgerOperator.template_fields, "spark", "on", "env", "explicit_success")
    job_option_names: Sequence[str] = (*LedgerOperator.job_option_names, "env", "explicit_success")
    template_fields_renderers = {"spark": "json", "on": "json", "env": "json"}  # noqa: RUF012 - Airflow's own form

    def __init__(
        self,
        *,
        spark: dict[str, Any],
        on: dict[str, Any],
        env: dict[str, str] | None = None,
        explicit_success: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_when_parsed(spark_options, spark)
        check_when_parsed(job_run_options, on)
        self.spark = spark
        self.on = on
        self.env: Any
        self.convert("env", env, job_option("env", env))
        self.explicit_success = job_option("explicit_success", explicit_success)

    def backend(self, state: LedgerState, rerun_token: str | None) -> JobRunBackend:  # noqa: ARG002 - of the base class
        """Return the backend of a job run on the target of `on`."""
        return JobRunBackend.of(
            job_run_options(self.on),
            spark_options(self.spark),
            env=self.env,
            deadline=self.deadline,
            explicit_success=self.explicit_success,
            clients=self.clients,
            ledger=self.ledger,
            identity=self.identity,
        )

    def trigger(self, outcome: Outcome, common: dict[str, Any]) -> JobRunTrigger:
        """Return a trigger that waits until the job run ends."""
        ids = [job.job_id for one in outcome.waits if one.handle for job in one.handle.jobs]
        return JobRunTrigger(on=self.on, run_id=ids[-1] if ids else None, **common)

    def finish(self, outcome: Outcome) -> Any:
        """Write the marker and return the XCom."""
        return self.mark(outcome, 1)

    def report(self, context: Context, outcome: Outcome) -> str:  # noqa: ARG002 - for other kinds
        """Return the probable cause from the driver's logs, if there is a log URI."""
        target = job_run_target(job_run_options(self.on))
        lines = []
        for failure in outcome.failures:
            if failure.job_id is None:
                lines.append(failure.reason)
                continue
            if failure.cause == UNCONFIRMED:  # its logs are those of a success
                lines.append(f"Job run {failure.job_id} failed: {failure.reason}")
                continue
            lines += self._report(target, failure.job_id, failure.reason)
        return "\n".join(lines)

    def _report(self, target: JobRunTarget, run_id: str, reason: str) -> list[str]:
        logs = target.logs(self.clients, run_id)
        for _ in range(LOG_LOOKS if target.log_uri else 0):
            if logs:
                break
            time.sleep(LOG_PAUSE)
            logs = target.logs(self.clients, run_id)
        cause = probable_cause(logs)
        lines = [f"Job run {run_id} failed: {cause or reason}"]
        if cause is not None:
            lines += [f"  log: {cause.log}", f"AWS reports: {reason}"]
        elif not target.log_uri:
            lines.append("There is no log URI: set `log_uri:` in `on:`, and the cause can be found in the logs")
        return lines
