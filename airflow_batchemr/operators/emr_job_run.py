"""Spark without a cluster of one's own: on EMR Serverless or EMR on EKS."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr.aws.emr.diagnosis import probable_cause
from airflow_batchemr.aws.emr.job_run_submissions import JobRunSubmissions, job_run_target
from airflow_batchemr.aws.emr.options import job_run_options, spark_options
from airflow_batchemr.aws.emr.preflight import check_release
from airflow_batchemr.aws.emr.submissions import StoppedError
from airflow_batchemr.aws.options import job_options
from airflow_batchemr.connections import as_airflow_error
from airflow_batchemr.engine.waiters import attach, still_ours
from airflow_batchemr.ledger import Marker
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.operators.options import check_when_parsed, unresolved
from airflow_batchemr.triggers.emr_job_run import JobRunTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_batchemr.aws.emr.job_run_submissions import RunMove
    from airflow_batchemr.aws.emr.job_runs import JobRunTarget
    from airflow_batchemr.ledger import LedgerState

#: Seconds that a killed task takes at most to end what it started.
KILL_TIMEOUT = 20.0
#: Seconds between two looks for the logs of a run that has failed, and how many looks there are.
LOG_PAUSE, LOG_LOOKS = 10.0, 4


class EmrJobRunOperator(LedgerOperator):
    """Runs one `spark:` block on EMR Serverless or EMR on EKS, done once for a run key.

    Args:
        spark: the words of `spark:`.
        on: `{emr_serverless: {application, role}}` or `{emr_eks: {virtual_cluster, role, release}}`, both with a
            `log_uri` where the cause of a failure is to be found.
        env: variables for driver and executors.
        deadline: duration within which the run has to finish, from its first submission, such as 6h (a number is
            seconds); then it is cancelled and the task fails.
        **kwargs: of `LedgerOperator` and of Airflow's BaseOperator.
    """

    template_fields: Sequence[str] = (*LedgerOperator.template_fields, "spark", "on", "env")
    template_fields_renderers = {"spark": "json", "on": "json", "env": "json"}  # noqa: RUF012 - Airflow's own form

    def __init__(
        self,
        *,
        spark: dict[str, Any],
        on: dict[str, Any],
        env: dict[str, str] | None = None,
        deadline: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_when_parsed(spark_options, spark)
        check_when_parsed(job_run_options, on)
        self.spark = spark
        self.on = on
        with as_airflow_error():
            self.deadline = job_options(deadline=deadline).deadline
            self.env = env if unresolved(env) else job_options(env=env).env
        self._killed = threading.Event()

    def work(
        self, context: Context, state: LedgerState, rerun_token: str | None, event: Mapping[str, Any] | None
    ) -> Any:
        """Start the run, or find the one that was started; wait until it has ended."""
        place = job_run_target(job_run_options(self.on))
        request = self._request(place)
        request(0)  # what the service has no counterpart of is told before anything is claimed
        status = (event or {}).get("status")
        if status == "deadline":
            self._attempts(place).stop_all(None, "the deadline is over", by="deadline")
            raise AirflowFailException("Not done in time: the job run has been cancelled")
        if event is None and not state.open_submissions:
            self._check_release(place)
        self.engine = submissions = self._attempts(place)
        try:
            move = submissions.run(state, rerun_token, event.get("before") if event else None, request)
        except StoppedError:
            raise AirflowException("The task was killed; the job run that it had started has been cancelled") from None
        if move.action == "wait":
            self._wait(context, move)
        if move.action == "fail":
            raise AirflowException(self._report(place, move))
        xcom = {"run_key": self.identity.run_key, "job": self.identity.job, "ledger": self.ledger.uri}
        return self.mark(Marker(submission=move.number, size=1, rerun_token=move.state.rerun_token, xcom=xcom))

    def _attempts(self, place: JobRunTarget) -> JobRunSubmissions:
        return JobRunSubmissions(self.clients, self.ledger, self.identity, place, stopping=self._killed.is_set)

    def _check_release(self, place: JobRunTarget) -> None:
        """Whether the release has the versions that `requires` wants; raises `InvalidRequest`."""
        if requires := spark_options(self.spark).requires:
            check_release(self.clients, place.release_label(self.clients), [], requires)

    def _request(self, place: JobRunTarget) -> Any:
        spark = spark_options(self.spark)

        def request(number: int) -> dict[str, Any]:
            environment = {**self.identity.environment(number), **(self.env or {})}
            name, tags = self.identity.submission_name(number), self.identity.tags(number)
            return place.request(spark, name, tags, environment, self.deadline)

        return request

    def _wait(self, context: Any, move: RunMove) -> None:
        self.log.info("Waiting for job run %s (attempt %s)", move.run_id, move.number)
        attach(self.ledger, self.identity, [move.number])
        ends = []
        if self.deadline is not None:
            first = min((one.claimed_at for one in move.state.current if one.claimed_at), default=None)
            ends.append((first.timestamp() if first else time.time()) + self.deadline)
        if self.execution_timeout is not None:  # Airflow does not enforce it while a task is deferred
            started = getattr(context["ti"], "start_date", None)
            ends.append((started.timestamp() if started else time.time()) + self.execution_timeout.total_seconds())
        self.defer(
            trigger=JobRunTrigger(
                on=self.on,
                run_id=move.run_id,
                identity=self.identity.values(),
                submissions=[move.number],
                before=sorted(move.before),
                aws_conn_id=self.aws_conn_id,
                region=self.region,
                deadline=min(ends) if ends else None,
            ),
            method_name="resume",
        )

    def _report(self, place: JobRunTarget, move: RunMove) -> str:
        """Why it failed, out of the driver's logs where there is a log URI."""
        logs = place.logs(self.clients, move.run_id)
        for _ in range(LOG_LOOKS if place.log_uri else 0):
            if logs:
                break
            time.sleep(LOG_PAUSE)
            logs = place.logs(self.clients, move.run_id)
        cause = probable_cause(logs)
        said = f"{move.run.state}: {move.run.reason}" if move.run else "AWS does not know it"
        lines = [f"Job run {move.run_id} failed: {cause or said}"]
        if cause is not None:
            lines += [f"  log: {cause.log}", f"AWS says: {said}"]
        elif not place.log_uri:
            lines.append("There is no log URI: give `log_uri:` in `on:`, and the cause can be found in the logs")
        return "\n".join(lines)

    def on_kill(self) -> None:
        """Cancel the run: the task was cleared, marked or killed while it worked."""
        self._killed.set()
        if not hasattr(self, "identity"):
            return
        # In a thread: the signal may have interrupted a call that holds locks, and Airflow does not wait long.
        thread = threading.Thread(target=self._stop_ours, name="batchemr on_kill", daemon=True)
        thread.start()
        thread.join(KILL_TIMEOUT)

    def _stop_ours(self) -> None:
        ours = still_ours(self.ledger, self.identity, self.ledger.read().open_submissions)
        by = f"try {self.identity.try_number}"
        place = job_run_target(job_run_options(self.on))
        self._attempts(place).stop_all([submission.number for submission in ours], "the task was killed", by=by)
