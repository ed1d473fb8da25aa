"""A plan → an Airflow Dag."""

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
    """A Dag cannot be made: a path leads to nothing, or what stands there does not take its arguments.

    Args:
        error: what Airflow, or a class of the user's choice, raised.
        job: whose words they are; None for the pipeline's.
        word: that it is about.
    """

    def __init__(self, error: Exception, *, job: str | None = None, word: str | None = None) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.job = job
        self.word = word


def assemble(plan: DagPlan) -> DAG:
    """Make the Dag of a plan.

    Raises:
        NotAssembledError: Airflow, or a class of the user's choice, does not take what the file says.
    """
    words = plan.dag_kwargs
    word: str | None = "schedule"
    try:
        timetable = schedule(words["schedule"], words["timezone"])
        word = "notify"
        notified = _notified(plan.dag_id, words)
        word = None
        dag = DAG(plan.dag_id, schedule=timetable, **_dag_kwargs(words), **notified)
    except Exception as error:
        raise DagBuildError(error, word=word) from error
    tasks = {}
    for task in plan.tasks:
        try:
            tasks[task.task_id] = _task(dag, task, plan)
        except Exception as error:
            word = "operator" if task.operator.partition(".")[0] != "airflow_batchemr" else None
            raise DagBuildError(error, job=task.task_id.partition(".")[0], word=word) from error
    for task in plan.tasks:
        operator = tasks[task.task_id]
        if task.upstream:
            operator.set_upstream([tasks[name] for name in task.upstream])
        if task.setup:
            operator.as_setup()  # type: ignore[no-untyped-call]
        if task.teardown_of:
            operator.as_teardown(setups=tasks[task.teardown_of], on_failure_fail_dagrun=task.fails_run)
            operator.trigger_rule = TriggerRule(task.trigger_rule)  # after as_teardown, which sets its own
    # Its default is known to be good. Given to DAG() it would be checked against its schema, and copied for each task:
    # a third of the time that 1,000 Dags take.
    dag.params[RERUN] = param(words["params"][RERUN])
    return dag


def _task(dag: DAG, task: TaskPlan, plan: DagPlan) -> BaseOperator:
    kwargs = {**task.kwargs, **callbacks(task.kwargs.get("notify", ()), of="job")}
    kwargs.pop("notify", None)
    for name in ("inlets", "outlets"):
        if name in kwargs:
            kwargs[name] = [Asset(uri) for uri in kwargs[name]]
    timeout = kwargs.get("execution_timeout")  # the one duration that Airflow does not take in seconds
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


def _dag_kwargs(words: Mapping[str, Any]) -> dict[str, Any]:
    zone = pendulum.timezone(words["timezone"])
    kwargs = {
        name: words[name] for name in ("description", "catchup", "max_active_runs", "tags", "doc_md") if name in words
    }
    for name in ("start_date", "end_date"):
        if name in words:
            kwargs[name] = moment(words[name], zone)
    kwargs["params"] = {name: param(schema) for name, schema in words["params"].items() if name != RERUN}
    return kwargs


def _notified(dag_id: str, words: Mapping[str, Any]) -> dict[str, Any]:
    receivers = words.get("notify", ())
    kwargs = callbacks(receivers, of="run")
    if "deadline" in words:
        kwargs["deadline"] = deadline(dag_id, words["deadline"], receivers)
    return kwargs


def callbacks(receivers: Sequence[Mapping[str, Any]], *, of: str) -> dict[str, Any]:
    """Arguments `on_failure_callback` and `on_success_callback` for the receivers of a pipeline or a job.

    Raises:
        ImportError: what a receiver needs is not installed.
    """
    if not receivers:
        return {}
    from airflow_batchemr.notifiers.pipeline import PipelineNotifier  # noqa: PLC0415 - few pipelines need it

    good = [receiver for receiver in receivers if receiver["when"] != "on_failure"]
    kwargs: dict[str, Any] = {
        "on_failure_callback": [PipelineNotifier(failed=True, of=of, **receiver) for receiver in receivers]
    }
    if good:
        kwargs["on_success_callback"] = [PipelineNotifier(failed=False, of=of, **receiver) for receiver in good]
    return kwargs


def deadline(dag_id: str, seconds: int, receivers: Sequence[Mapping[str, Any]]) -> DeadlineAlert:
    """The alert for a run that has not ended so many seconds after it was queued; it goes to all receivers."""
    from airflow_batchemr.notifiers.deadline import tell_missed  # noqa: PLC0415

    told = [{name: value for name, value in one.items() if name not in ("when", "after")} for one in receivers]
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=dt.timedelta(seconds=seconds),
        callback=AsyncCallback(tell_missed, kwargs={"receivers": told, "dag_id": dag_id, "seconds": seconds}),
    )


def moment(text: str, zone: dt.tzinfo) -> dt.datetime:
    """A date of the file; in the pipeline's time zone where it names no offset."""
    value = dt.datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=zone)


def param(schema: Mapping[str, Any]) -> Param:
    """A param of the trigger form; without a default a run has to bring a value."""
    words = dict(schema)
    return Param(words.pop("default"), **words) if "default" in words else Param(**words)


def schedule(words: Mapping[str, Any] | None, timezone: str) -> Any:
    """What the Dag's `schedule` is, out of the words of the file.

    Cron and `every` fire at their own times: the logical date is that time, whatever `[scheduler]
    create_cron_data_intervals` says, for run keys must not move when somebody changes a setting.
    """
    if not words:
        return None
    if words.get("cron") in ("@once", "@continuous"):
        return words["cron"]
    if "cron" in words:
        return CronTriggerTimetable(words["cron"], timezone=timezone)
    if "every" in words:
        return DeltaTriggerTimetable(dt.timedelta(seconds=words["every"]))
    if "continuous" in words:
        return "@continuous"
    if "timetable" in words:
        return settings.load(words["timetable"], "the timetable")(**words.get("with", {}))
    return assets(words["after_assets"])


def assets(words: Mapping[str, Any] | str) -> BaseAsset:
    """`{all: […]}`, `{any: […]}`, nested, or one URI, as Airflow's asset expression."""
    if isinstance(words, str):
        return Asset(words)
    parts = [assets(part) for part in words.get("all") or words["any"]]
    both = functools.reduce(lambda left, right: left & right, parts) if words.get("all") else None
    return both if both is not None else functools.reduce(lambda left, right: left | right, parts)
