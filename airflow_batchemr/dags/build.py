"""Build an Airflow Dag from a plan."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.sdk import (  # type: ignore[attr-defined]  # its stub lacks some of its public names
    DAG,
    Asset,
    AsyncCallback,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    DeltaTriggerTimetable,
    Param,
    TriggerRule,
)

from airflow_batchemr import settings
from airflow_batchemr.dags.plan import RERUN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.asset import BaseAsset

    from airflow_batchemr.dags.plan import DagPlan, TaskPlan


class DagBuildError(Exception):
    """A Dag cannot be built: a dotted path cannot be imported, or its target rejects the arguments.

    Args:
        error: Exception raised by Airflow or by a class named in the file.
        job: Job that contains the key; None for the pipeline itself.
        key: Key of the file that caused the error, if known.
    """

    def __init__(self, error: Exception, *, job: str | None = None, key: str | None = None) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.job = job
        self.key = key


def build_dag(plan: DagPlan) -> DAG:
    """Build the Dag of a plan.

    Raises:
        DagBuildError: Airflow, or a class named in the file, rejects what the file says.
    """
    options = plan.dag_kwargs
    key: str | None = "schedule"
    try:
        timetable = schedule(options["schedule"], options["timezone"])
        key = "notify"
        notifications = _notifications(plan.dag_id, options)
        key = None
        dag = DAG(plan.dag_id, schedule=timetable, **_dag_kwargs(options), **notifications)
    except Exception as error:
        raise DagBuildError(error, key=key) from error
    tasks = {}
    for task in plan.tasks:
        try:
            tasks[task.task_id] = _task(dag, task, plan)
        except Exception as error:
            key = "operator" if task.operator.partition(".")[0] != "airflow_batchemr" else None
            raise DagBuildError(error, job=task.task_id.partition(".")[0], key=key) from error
    for task in plan.tasks:
        operator = tasks[task.task_id]
        if task.upstream:
            operator.set_upstream([tasks[name] for name in task.upstream])
        if task.setup:
            operator.as_setup()  # type: ignore[no-untyped-call]
        if task.teardown_of:
            operator.as_teardown(setups=tasks[task.teardown_of], on_failure_fail_dagrun=task.fails_run)
            operator.trigger_rule = TriggerRule(task.trigger_rule)  # after as_teardown, which sets its own
    # The default is known to be valid. Passing the param to DAG() would validate it against its schema and copy it for
    # each task, which takes a third of the time to build 1,000 Dags.
    dag.params[RERUN] = param(options["params"][RERUN])
    return dag


def _task(dag: DAG, task: TaskPlan, plan: DagPlan) -> BaseOperator:
    kwargs = {**task.kwargs, **callbacks(task.kwargs.get("notify", ()), of="job")}
    kwargs.pop("notify", None)
    for name in ("inlets", "outlets"):
        if name in kwargs:
            kwargs[name] = [Asset(uri) for uri in kwargs[name]]
    timeout = kwargs.get("execution_timeout")  # the only duration that Airflow does not accept in seconds
    if isinstance(timeout, int | float):
        kwargs["execution_timeout"] = dt.timedelta(seconds=timeout)
    if plan.dag_kwargs.get("owner"):
        kwargs.setdefault("owner", plan.dag_kwargs["owner"])
    if not task.teardown_of and task.trigger_rule != "all_success":
        kwargs["trigger_rule"] = task.trigger_rule
    operator: BaseOperator = _operator(task.operator)(task_id=task.task_id, dag=dag, **kwargs)
    return operator


@functools.cache
def _operator(path: str) -> Any:
    return settings.load(path, "the operator")


def _dag_kwargs(options: Mapping[str, Any]) -> dict[str, Any]:
    zone = pendulum.timezone(options["timezone"])
    names = ("description", "catchup", "max_active_runs", "tags", "doc_md")
    kwargs = {name: options[name] for name in names if name in options}
    for name in ("start_date", "end_date"):
        if name in options:
            kwargs[name] = parse_date(options[name], zone)
    kwargs["params"] = {name: param(schema) for name, schema in options["params"].items() if name != RERUN}
    return kwargs


def _notifications(dag_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
    receivers = options.get("notify", ())
    kwargs = callbacks(receivers, of="run")
    if "deadline" in options:
        kwargs["deadline"] = deadline(dag_id, options["deadline"], receivers)
    return kwargs


def callbacks(receivers: Sequence[Mapping[str, Any]], *, of: str) -> dict[str, Any]:
    """Return `on_failure_callback` and `on_success_callback` for the receivers of a pipeline or a job.

    Raises:
        ImportError: The provider of a receiver is not installed.
    """
    if not receivers:
        return {}
    from airflow_batchemr.notifiers.pipeline import PipelineNotifier

    on_success = [receiver for receiver in receivers if receiver["when"] != "on_failure"]
    kwargs: dict[str, Any] = {
        "on_failure_callback": [PipelineNotifier(failed=True, of=of, **receiver) for receiver in receivers]
    }
    if on_success:
        kwargs["on_success_callback"] = [PipelineNotifier(failed=False, of=of, **receiver) for receiver in on_success]
    return kwargs


def deadline(dag_id: str, seconds: int, receivers: Sequence[Mapping[str, Any]]) -> DeadlineAlert:
    """Return the alert for a run that has not ended `seconds` after it was queued. It notifies all receivers."""
    from airflow_batchemr.notifiers.deadline import notify_missed_deadline

    notified = [{name: value for name, value in one.items() if name not in ("when", "after")} for one in receivers]
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=dt.timedelta(seconds=seconds),
        callback=AsyncCallback(
            notify_missed_deadline, kwargs={"receivers": notified, "dag_id": dag_id, "seconds": seconds}
        ),
    )


def parse_date(text: str, zone: dt.tzinfo) -> dt.datetime:
    """Parse an ISO date of the file. Without an offset, it is in the time zone of the pipeline."""
    value = dt.datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=zone)


def param(schema: Mapping[str, Any]) -> Param:
    """Return a Dag param. Without a default, a run must provide a value."""
    options = dict(schema)
    return Param(options.pop("default"), **options) if "default" in options else Param(**options)


def schedule(options: Mapping[str, Any] | None, timezone: str) -> Any:
    """Return the `schedule` argument of the Dag.

    Cron and `every` use the time at which a run is due as its logical date, regardless of `[scheduler]
    create_cron_data_intervals`, because changing a setting must not change run keys.

    Args:
        options: The `schedule` block of the file.
        timezone: Time zone of the pipeline.
    """
    if not options:
        return None
    if options.get("cron") in ("@once", "@continuous"):
        return options["cron"]
    if "cron" in options:
        return CronTriggerTimetable(options["cron"], timezone=timezone)
    if "every" in options:
        return DeltaTriggerTimetable(dt.timedelta(seconds=options["every"]))
    if "continuous" in options:
        return "@continuous"
    if "timetable" in options:
        return settings.load(options["timetable"], "the timetable")(**options.get("with", {}))
    return assets(options["after_assets"])


def assets(condition: Mapping[str, Any] | str) -> BaseAsset:
    """Convert `{all: […]}`, `{any: […]}` (nested), or a single URI to an Airflow asset expression."""
    if isinstance(condition, str):
        return Asset(condition)
    parts = [assets(part) for part in condition.get("all") or condition["any"]]
    both = functools.reduce(lambda left, right: left & right, parts) if condition.get("all") else None
    return both if both is not None else functools.reduce(lambda left, right: left | right, parts)
