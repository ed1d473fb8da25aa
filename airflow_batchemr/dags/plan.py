"""Plan the Dag of a pipeline: task ids, operators, arguments and edges as plain values.

This module does not import Airflow. `build` turns a plan into a Dag and `render` into Python code for the same Dag. A
plan can be serialized as JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.dags import doc, tasks
from airflow_batchemr.dags.paths import with_absolute_paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow_batchemr.dags.tasks import JobTask
    from airflow_batchemr.pipeline_file import Job, Pipeline

#: Rule in the pipeline file -> Airflow's trigger rule, for a task whose upstream jobs all have the same rule.
TRIGGER_RULES = {"succeeded": "all_success", "finished": "all_done", "failed": "all_failed"}

#: Airflow 3.3 runs a continuous Dag without a start date only once, because the second run would have the logical date
#: of the first. The date is fixed so that the Dag does not change between parses.
CONTINUOUS_START = "2000-01-01T00:00:00"
#: Name of the param that lists the jobs to rerun although they have succeeded.
RERUN = "rerun"
EMPTY_OPERATOR = "airflow.providers.standard.operators.empty.EmptyOperator"
STOP_EARLIER_RUNS = "airflow_batchemr.operators.overlap.StopEarlierRunsOperator"
PAUSE = "airflow_batchemr.operators.pause.PauseOperator"
#: Operators whose arguments may name local files.
EMR = frozenset({tasks.EPHEMERAL_EMR, tasks.EMR_STEPS, tasks.CREATE_CLUSTER})
#: Minimum retries of a task that terminates a cluster.
TEARDOWN_RETRIES = 3


@dataclass(frozen=True)
class TaskPlan:
    """Plan of one task.

    Attributes:
        task_id: Unique in the Dag.
        operator: Dotted path of the operator class.
        kwargs: Arguments other than `task_id` and `trigger_rule`, as plain values.
        upstream: Ids of the upstream tasks.
        trigger_rule: Airflow's trigger rule.
        setup: Whether this is an Airflow setup task.
        teardown_of: Id of the setup task that this task tears down.
        fails_run: Whether the run fails if this teardown fails.
    """

    task_id: str
    operator: str
    kwargs: dict[str, Any]
    upstream: list[str] = field(default_factory=list)
    trigger_rule: str = "all_success"
    setup: bool = False
    teardown_of: str | None = None
    fails_run: bool = False


@dataclass(frozen=True)
class DagPlan:
    """Plan of one Dag.

    Attributes:
        dag_id: Name of the pipeline.
        dag_kwargs: Those of `description schedule timezone start_date end_date catchup max_active_runs tags owner
            params deadline notify doc_md` that are set. Dates are ISO strings, durations are seconds, `schedule` is a
            mapping as in the pipeline file, and `params` are JSON schemas with their `default`.
        tasks: In the order of the file, with setup before and teardown after the jobs.
    """

    dag_id: str
    dag_kwargs: dict[str, Any]
    tasks: list[TaskPlan]

    def values(self) -> dict[str, Any]:
        """Return the plan as plain values, the input of `of`."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> DagPlan:
        """Create a plan from plain values."""
        return cls(values["dag_id"], values["dag_kwargs"], [TaskPlan(**task) for task in values["tasks"]])


def plan_dag(pipeline: Pipeline, folder: Path | None = None) -> DagPlan:
    """Plan the Dag of a pipeline.

    Args:
        pipeline: Validated and merged with its defaults, as returned by `pipeline_file.load_file`.
        folder: Folder of the pipeline file, for local files. None: their paths stay relative, as in rendered code.
    """
    planned = _Tasks(pipeline).plan()
    if folder is not None:
        planned = [
            replace(task, kwargs=with_absolute_paths(task.kwargs, folder)) if task.operator in EMR else task
            for task in planned
        ]
    return DagPlan(pipeline.name, _dag_kwargs(pipeline), planned)


def _dag_kwargs(pipeline: Pipeline) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "schedule": pipeline.schedule
        and pipeline.schedule.model_dump(by_alias=True, exclude_defaults=True, mode="json"),
        "timezone": pipeline.timezone,
        "catchup": pipeline.catchup,
        "params": {**_params(pipeline), RERUN: _rerun(list(pipeline.jobs))},
        "doc_md": doc.doc_md(pipeline),
    }
    optional = {
        "description": pipeline.description,
        "start_date": _start_date(pipeline),
        "end_date": pipeline.end_date and pipeline.end_date.isoformat(),
        "max_active_runs": _max_active_runs(pipeline),
        "tags": sorted(set(pipeline.tags)),
        "owner": pipeline.owner,
        "deadline": pipeline.deadline,
        "notify": tasks.notify(pipeline.notify),
    }
    return kwargs | {name: value for name, value in optional.items() if value not in (None, [])}


def _continuous(pipeline: Pipeline) -> bool:
    schedule = pipeline.schedule
    return schedule is not None and (schedule.continuous is not None or schedule.cron == "@continuous")


def _start_date(pipeline: Pipeline) -> str | None:
    """Return the start date of the file. Without one, Airflow runs no past dates and starts with the next one due."""
    if pipeline.start_date is not None:
        return pipeline.start_date.isoformat()
    return CONTINUOUS_START if _continuous(pipeline) else None


def _max_active_runs(pipeline: Pipeline) -> int | None:
    """Return 1 for `overlap: wait` and continuous schedules, which allow only one active run."""
    if pipeline.overlap == "wait" or _continuous(pipeline):
        return 1
    return pipeline.max_active_runs


def _params(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    params = {}
    for name, param in pipeline.params.items():
        schema = param.model_dump(exclude_unset=True, exclude={"default"}, mode="json")
        if len(schema.get("type", ())) == 1:
            schema["type"] = schema["type"][0]
        if "default" in param.model_fields_set:
            schema["default"] = param.default
        params[name] = schema
    return params


def _rerun(jobs: list[str]) -> dict[str, Any]:
    """Return the schema of the param that lists the jobs to rerun. The trigger form offers `examples` as choices."""
    return {
        "default": [],
        "type": ["array", "null"],
        "items": {"type": "string", "enum": jobs},
        "examples": jobs,
        "title": "Jobs to rerun",
        "description": "Jobs to run even if they have already succeeded for this run.",
    }


class _Tasks:
    """Plans the tasks of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.tasks: list[TaskPlan] = []
        self.job_tasks: dict[str, JobTask] = {
            name: tasks.job_task(pipeline, job) for name, job in pipeline.jobs.items()
        }
        self.users: dict[str, list[str]] = {
            name: [job for job, task in self.job_tasks.items() if task.shared_cluster == name]
            for name in pipeline.clusters
        }
        self.root: list[str] = []

    def plan(self) -> list[TaskPlan]:
        continuous = self.pipeline.schedule.continuous if self.pipeline.schedule else None
        if continuous is not None and continuous.pause:
            self._first("pause", PAUSE, {"seconds": continuous.pause})
        if self.pipeline.overlap == "terminate":
            self._first("stop_earlier_runs", STOP_EARLIER_RUNS, tasks.common(self.pipeline))
        for name, users in self.users.items():
            if users:
                self._shared_cluster(name, users)
        for job in self.pipeline.jobs.values():
            self._job(job)
        for name, users in self.users.items():
            if users:
                self._teardown(name, users)
        return self.tasks

    def _first(self, task_id: str, operator: str, kwargs: dict[str, Any]) -> None:
        """Add a task before all jobs."""
        self.tasks.append(TaskPlan(task_id, operator, kwargs, list(self.root)))
        self.root = [task_id]

    def _shared_cluster(self, name: str, users: list[str]) -> None:
        """Create the cluster after the upstream jobs that all its first users share, so that it does not idle."""
        first = [user for user in users if not set(users) & self._ancestors(user)]
        common = set(self._after(first[0]).items())
        for user in first[1:]:
            common &= set(self._after(user).items())
        kwargs = tasks.create_cluster(self.pipeline, f"{name}.cluster", self.pipeline.clusters[name], users)
        kwargs |= tasks.cluster_tries(self._jobs(users))
        self._add(f"{name}.create_cluster", tasks.CREATE_CLUSTER, kwargs, dict(sorted(common)), setup=True)

    def _job(self, job: Job) -> None:
        task = self.job_tasks[job.name]
        after, extra = self._after(job.name), list[str]()
        if task.own_cluster:
            kwargs = tasks.create_cluster(self.pipeline, f"{job.name}.cluster", job.emr, [job.name], owner=job)
            kwargs |= tasks.cluster_tries([job])
            create = f"{job.name}.create_cluster"
            self._add(create, tasks.CREATE_CLUSTER, kwargs, after, setup=True)
            after, extra = {}, [create]
        elif task.shared_cluster:
            extra = [f"{task.shared_cluster}.create_cluster"]
        self._add(job.name, task.operator, task.kwargs, after, extra=extra)
        if task.own_cluster:
            self._teardown(job.name, [job.name], owner=job)

    def _teardown(self, name: str, users: list[str], *, owner: Job | None = None) -> None:
        """Terminate a cluster after its users, whatever their outcome and that of the setup task.

        Airflow's default trigger rule for teardowns skips them if the setup failed, even if the cluster was started.
        The state of a run is the state of its leaf tasks. A teardown that fails the run is a leaf, so the jobs before
        it are not, and the run would succeed although they failed. An empty teardown between them, which cannot fail
        the run, keeps those jobs leaves.
        """
        create, terminate = f"{name}.create_cluster", f"{name}.terminate_cluster"
        gate = f"{terminate}.after_finished"
        tries = tasks.cluster_tries(self._jobs(users), min_retries=TEARDOWN_RETRIES)
        kwargs = {"cluster": f"{name}.cluster", **tasks.common(self.pipeline, owner), **tries}
        self.tasks.append(TaskPlan(gate, EMPTY_OPERATOR, {}, [create, *users], "all_done", teardown_of=create))
        self.tasks.append(
            TaskPlan(
                terminate,
                tasks.TERMINATE_CLUSTER,
                kwargs,
                [create, gate],
                "all_done",
                teardown_of=create,
                fails_run=True,
            )
        )

    def _jobs(self, names: list[str]) -> list[Job]:
        return [self.pipeline.jobs[name] for name in names]

    def _add(
        self,
        task_id: str,
        operator: str,
        kwargs: dict[str, Any],
        after: dict[str, str],
        *,
        extra: Sequence[str] = (),
        setup: bool = False,
    ) -> None:
        """Add a task with the trigger rule for its upstream jobs.

        An Airflow task has a single trigger rule. If the rules differ, each rule other than `succeeded` gets an empty
        task with that rule, which then becomes an upstream task.
        """
        rules = set(after.values()) | ({"succeeded"} if extra else set())
        if len(rules) <= 1:
            rule = TRIGGER_RULES[rules.pop()] if rules else "all_success"
            upstream = [*after, *extra] or self.root
            self.tasks.append(TaskPlan(task_id, operator, kwargs, list(upstream), rule, setup=setup))
            return
        upstream = [name for name, rule in after.items() if rule == "succeeded"]
        for rule in ("finished", "failed"):
            names = [name for name, other in after.items() if other == rule]
            if names:
                gate = f"{task_id}.after_{rule}"
                self.tasks.append(TaskPlan(gate, EMPTY_OPERATOR, {}, names, TRIGGER_RULES[rule]))
                upstream.append(gate)
        self.tasks.append(TaskPlan(task_id, operator, kwargs, [*upstream, *extra], setup=setup))

    def _after(self, name: str) -> dict[str, str]:
        """Return the upstream jobs and their rules.

        A job that starts index by index after another job runs in parallel to it, so it waits for what that job waits
        for.
        """
        after: dict[str, str] = {}
        for other, rule in self.pipeline.jobs[name].after.items():
            after |= self._after(other) if rule == "index" else {other: rule}
        return after

    def _ancestors(self, name: str) -> set[str]:
        found: set[str] = set()
        open_ = list(self.pipeline.jobs[name].after)
        while open_:
            other = open_.pop()
            if other not in found:
                found.add(other)
                open_.extend(self.pipeline.jobs[other].after)
        return found
