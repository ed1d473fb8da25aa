"""`overlap: terminate`: a new run stops the work of an earlier one."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.outage import FAILURES, passing
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.connections import as_airflow_error, configured_state, connection_clients
from airflow_batchemr.core.run_key import run_key
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.submissions import stop
from airflow_batchemr.operators.aws_operator import AwsOperator
from airflow_batchemr.operators.limits import NEWER_RUN
from airflow_batchemr.operators.options import check_state
from airflow_batchemr.operators.outages import next_look
from airflow_batchemr.triggers.timer import TimerTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import JobLedger, Ledger

#: Maximum number of newest runs in the ledger to check, because Airflow cannot list runs without a logical date.
LOOK_BACK = 50
#: Run keys derived from logical dates.
_DATED = re.compile(r"\d{4}-\d\d-\d\dT[\d.]+Z")


class StopEarlierRunsOperator(AwsOperator):
    """Stops the jobs of the previous run, whose tasks then fail.

    A task cannot change another run in Airflow. Therefore, it records stop requests for the open submissions and
    stops their jobs, steps and clusters. The tasks of the earlier run read from the ledger that their work was stopped,
    and why.

    Backfill runs neither stop other runs nor are stopped, because they are for other dates.

    All jobs of the run wait for this task, so it waits while AWS cannot be reached, and every error is retried.

    Args:
        state: state URI; `[batchemr] state` of Airflow's configuration if not given.
        **kwargs: of `AwsOperator` and Airflow's BaseOperator.
    """

    template_fields: Sequence[str] = ("state", "aws_conn_id", "region")
    ui_color = "#f6d5d5"

    def __init__(self, *, state: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_state(state)
        self.state = state

    def execute(self, context: Context) -> dict[str, list[str]]:
        """Stop open submissions. Returns the stopped jobs by run key."""
        return self.resume(context, {})

    def resume(self, context: Context, event: Mapping[str, Any]) -> dict[str, list[str]]:
        """Do this again after an outage."""
        if context["dag_run"].run_type == "backfill":
            return {}
        with as_airflow_error(retry=True):
            try:
                return self._stop_earlier(context)
            except FAILURES as error:
                if not passing(error):
                    raise
                wait, since, looks = next_look(self, error, event)
                now = time.time()
                again = TimerTrigger(wake_at=now + wait, event={"since": since, "looks": looks}, deferred_at=now)
                self.defer(trigger=again, method_name="resume")
                return {}  # not reached: `defer` raises

    def _stop_earlier(self, context: Context) -> dict[str, list[str]]:
        run = context["dag_run"]
        clients = connection_clients(self.aws_conn_id, self.region)
        ledger = clients.ledger(configured_state(self.state))
        own = run_key(run.logical_date, getattr(run, "partition_key", None), run.run_id)
        before = self._before(context)
        stopped = {}
        for key in [*before, *self._undated(context, ledger, {own, *before})]:
            begun = None if key in before else run.start_date
            jobs = [
                job
                for job in ledger.jobs(run.dag_id, key)
                if self._stop(clients, ledger, context, key, job, begun=begun)
            ]
            if jobs:
                self.log.info("Stopped %s of run %s: this run is newer", ", ".join(jobs), key)
                stopped[key] = jobs
        return stopped

    def _before(self, context: Context) -> list[str]:
        """Return the run key of the run with the previous logical date, if it may still be running.

        Each run stops the previous one, so there can be only one.
        """
        if context["dag_run"].logical_date is None:
            return []
        before = context["ti"].get_previous_dagrun(state="running")
        if before is None or before.run_type == "backfill":
            return []
        return [run_key(before.logical_date, getattr(before, "partition_key", None), before.run_id)]

    def _undated(self, context: Context, ledger: Ledger, known: set[str]) -> list[str]:
        """Return run keys in the ledger that Airflow cannot order relative to this run, for lack of a logical date."""
        run = context["dag_run"]
        keys = [key for key in ledger.runs(run.dag_id) if key not in known]
        if run.logical_date is not None:
            keys = [key for key in keys if not _DATED.fullmatch(key)]
        # Sorts `manual__2026-11-20…` and `asset_triggered__2026-11-19…` by time
        return sorted(keys, key=lambda key: key.partition("__")[2] or key)[-LOOK_BACK:]

    def _stop(
        self, clients: Clients, ledger: Ledger, context: Context, key: str, job: str, *, begun: datetime | None
    ) -> bool:
        """Stop the open submissions of a job. With `begun`, only those claimed by then, and not by a backfill."""
        run = context["dag_run"]
        jobs: JobLedger = ledger.job(run.dag_id, key, job)
        state = jobs.read()
        identity = JobIdentity(ledger.uri, run.dag_id, key, job, key, job)
        reason = f"a newer run of the pipeline has started, {run.run_id} (overlap: terminate)"
        pending = [*state.stale_submissions, *state.open_submissions]
        if begun is not None:
            pending = [one for one in pending if not one.claimed_at or one.claimed_at <= begun]
            pending = [one for one in pending if not (one.intent and (one.intent.run_id or "").startswith("backfill"))]
        stop(jobs, AnyRemoteWork(clients, jobs, identity), pending, reason, by=NEWER_RUN)
        return bool(pending)
