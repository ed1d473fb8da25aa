"""Notifier of a pipeline or job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetPreviousDagRun, GetPreviousTI

from airflow_batchemr.core.run_key import run_key
from airflow_batchemr.notifiers.receivers import Message, check, send
from airflow_batchemr.notifiers.rules import should_notify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

    from airflow_batchemr.notifiers.rules import When

_BAD, _ENDED = {"failed"}, {"failed", "success"}


class PipelineNotifier(BaseNotifier):
    """Notifies a receiver that a run or job has failed or recovered.

    Used as both `on_failure_callback` and `on_success_callback`. It queries Airflow for the outcome of earlier runs. A
    run without a logical date, such as an asset-triggered run, has no earlier runs and is evaluated on its own.

    Args:
        failed: Whether this is the failure callback.
        when: `always`, `on_failure`, `on_change` or `on_change_and_failures`.
        after: Number of consecutive failed runs before failures are reported.
        of: `run` for the callback of a Dag, `job` for that of a task.
        **receiver: One of `email`, `slack`, `pagerduty` and `notifier` (with `with`), as in the file.

    Raises:
        ImportError: The provider of the receiver is not installed.
    """

    def __init__(
        self, *, failed: bool, when: When = "on_failure", after: int = 1, of: str = "run", **receiver: Any
    ) -> None:
        super().__init__()
        check(receiver)
        self.failed = failed
        self.when = when
        self.after = after
        self.of = of
        self.receiver = receiver

    def __call__(self, *args: Any) -> None:
        """Notify if the rule applies. This notifier has no template fields, so nothing is rendered first."""
        self.notify(args[0])

    def notify(self, context: Context) -> None:
        """Notify if the rule applies."""
        if should_notify(self.when, self.after, failed=self.failed, earlier=self._earlier(context)):
            send(self.receiver, self.message(context), context)

    def message(self, context: Context) -> Message:
        """Build the message from the context of the run."""
        dag: Any = context["dag"]
        run: Any = context.get("dag_run")
        ti: Any = context.get("ti")
        key = run_key(run.logical_date, run.partition_key, run.run_id) if run else context.get("run_id", "")
        name = f"{dag.dag_id}.{ti.task_id}" if self.of == "job" and ti else dag.dag_id
        lines = [f"Run: {key}" + (f" ({run.run_id})" if run else "")]
        if self.failed:
            error = context.get("exception") or context.get("reason")
            jobs = self._failed_jobs(context) if self.of == "run" else []
            lines += [f"Failed: {', '.join(jobs)}"] if jobs else []
            lines += ["", str(error)] if error else []
        outcome = "failed" if self.failed else "succeeded"
        return Message(f"{name} {key} {outcome}", "\n".join(lines), dag.dag_id, _url(dag.dag_id, run), self.failed)

    def _failed_jobs(self, context: Context) -> list[str]:
        ti: Any = context.get("ti")
        run: Any = context.get("dag_run")
        if ti is None or run is None:
            return []
        states = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id]).get(run.run_id, {})
        return sorted(task for task, state in states.items() if state == "failed")

    def _earlier(self, context: Context) -> Iterator[bool]:
        """Yield whether each earlier run failed, latest first. Runs that have not ended are skipped."""
        run: Any = context.get("dag_run")
        ti: Any = context.get("ti")
        date = run.logical_date if run else None
        while date is not None:
            answer: Any
            if self.of == "job" and ti is not None:
                ask = GetPreviousTI(dag_id=run.dag_id, task_id=ti.task_id, logical_date=date, map_index=ti.map_index)
                answer = task_runner.SUPERVISOR_COMMS.send(ask)
                found = answer.task_instance
            else:
                answer = task_runner.SUPERVISOR_COMMS.send(GetPreviousDagRun(dag_id=run.dag_id, logical_date=date))
                found = answer.dag_run
            if found is None:
                return
            if found.state in _ENDED:
                yield found.state in _BAD
            date = found.logical_date


def _url(dag_id: str, run: Any) -> str:
    base = conf.get("api", "base_url", fallback="") or ""
    return f"{base.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run.run_id)}" if base and run else ""
