"""What one task of a run would do now."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch.options import array_options
from airflow_batchemr.aws.emr.shared_cluster import all_succeeded
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.retries import PLATFORM_RETRIES
from airflow_batchemr.dags import tasks
from airflow_batchemr.engine.decide import closed, original_size, succeeded, token_for_claims
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.forecast.backends import ForecastBatch
from airflow_batchemr.forecast.clients import offline, reading
from airflow_batchemr.forecast.engine import forecast
from airflow_batchemr.forecast.ledger import ForecastLedger
from airflow_batchemr.forecast.operators import OPERATORS, Arguments, check_known, needs_data
from airflow_batchemr.forecast.templates import without_unknown
from airflow_batchemr.pipeline_file.models.base import is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.dags.plan import DagPlan, TaskPlan
    from airflow_batchemr.dags.rendered_policy import RenderedPolicy
    from airflow_batchemr.engine.backend import Backend
    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.engine.policy import Policy as EnginePolicy
    from airflow_batchemr.forecast.engine import Claim
    from airflow_batchemr.ledger import Marker, Submission

#: Placeholder state URI in names and requests of a forecast without a ledger.
NO_STATE = "s3://the/ledger"


@dataclass
class TaskForecast:
    """What one task would do.

    Attributes:
        task_id: Id of the task.
        does: `skip`, `run`, `resume`, `wait`, `fail`, `refused`, `cluster`, `no cluster`, `terminate` or `operator`.
        indices: Indices or step numbers that would run, as ranges.
        of: Total number of indices or steps of the job.
        bytes: Size of its input in bytes, if the array size is derived from data.
        note: Reason, or what is unknown before the run.
        requests: `{call, request}` in the order of the calls, some with a `note`.
    """

    task_id: str
    does: str
    indices: str = ""
    of: int | None = None
    bytes: int | None = None
    note: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)


class Forecaster:
    """Forecasts the tasks of one run of a Dag, each as if it started now.

    Args:
        plan: Plan of the Dag.
        run_key: Run key.
        run_id: Airflow's run_id.
        state: State URI. None: there is no ledger, AWS is not called, and everything runs.
        clients: Returns the AWS clients of a region (None: the default), used only for reads. None if `state` is None.
        folder: Base folder of relative paths: that of the pipeline file.
        policy: Returns the policy of a task, by its id, for options that templates provide.
        engine_policy: Grace periods and limits of the tasks.

    Raises:
        LedgerError: The state URI is invalid.
    """

    def __init__(
        self,
        plan: DagPlan,
        run_key: str,
        run_id: str,
        *,
        state: str | None,
        clients: Callable[[str | None], Clients] | None,
        folder: Path,
        policy: Callable[[str], RenderedPolicy | None] = lambda _: None,
        engine_policy: EnginePolicy = DEFAULT,
    ) -> None:
        self._engine_policy = engine_policy
        self._plan = plan
        self._policy = policy
        self._run_key = run_key
        self._run_id = run_id
        self._clients_of = clients
        self._reading: dict[str | None, Clients] = {}
        self._online = state is not None and clients is not None
        self._uri = state or NO_STATE
        self._folder = folder
        self._state = ForecastLedger(None, self._uri).uri

    def _clients(self, kwargs: Mapping[str, Any]) -> Clients:
        """Return the clients of a task's region."""
        if self._clients_of is None or not self._online:
            return offline()
        region = kwargs.get("region")
        if region not in self._reading:
            self._reading[region] = reading(self._clients_of(region))
        return self._reading[region]

    def task(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> TaskForecast:
        """Forecast a task.

        Args:
            task: Task of the plan.
            kwargs: Its arguments with rendered templates.

        Raises:
            AwsError: The task would be refused, or AWS cannot be reached.
            LedgerError: The ledger cannot be read.
        """
        if task.operator == tasks.TERMINATE_CLUSTER:
            return TaskForecast(task.task_id, "terminate", note=f"terminates {kwargs['cluster']}, if it was started")
        if task.operator not in OPERATORS:
            name = task.operator.rpartition(".")[2]
            return TaskForecast(task.task_id, "operator", note=f"{name} runs each time")
        clients = self._clients(kwargs)
        # A ledger for this task alone: it does not contain what other tasks would write
        ledger = ForecastLedger(clients.s3 if self._online else None, self._uri, clients.put_args)
        identity = self._identity(task, kwargs)
        job = ledger.job(identity.dag_id, identity.run_key, identity.job)
        state = job.read()
        skip = bool(kwargs.get("skip_if_succeeded", True))
        if not skip and state.marker is not None and state.marker.rerun_token == identity.token:
            # It has succeeded in this run: only a clear runs it again, which raises max_tries
            identity = replace(identity, try_number=2, max_tries=identity.max_tries + 1)
        if state.marker is not None and succeeded(state, identity, skip_if_succeeded=skip, rerun_wanted=False):
            return _skipped(task, state.marker, kwargs)
        if task.operator == tasks.CREATE_CLUSTER and skip and not state.open_submissions:
            used_by = kwargs.get("used_by", ())
            if all_succeeded(ledger, identity, used_by):
                note = f"all jobs that use it have succeeded: {', '.join(used_by)}"
                return TaskForecast(task.task_id, "no cluster", note=note)
        every, (kwargs, unknown) = kwargs, without_unknown(kwargs)
        if unknown:
            check_known(task.operator, every)
        listed = ", ".join(f"{name} ({text})" for name, text in unknown.items())
        note = f"not known before the run: {listed}" if unknown else ""
        if sizes := [name for name in unknown if name.partition(".")[0] == "array"]:
            began = original_size(replace(state, prior_submissions=closed(state)))
            if began is None:
                return TaskForecast(task.task_id, "run", note=note)
            kwargs["array"] = {"size": began, "markers": kwargs.get("array", {}).get("markers")}
            note += f"; this run has begun with {began:,} indices"
            unknown = {name: text for name, text in unknown.items() if name not in sizes}
        if not self._online and task.operator == tasks.BATCH_ARRAY and needs_data(kwargs):
            return TaskForecast(task.task_id, "run", note="the number of indices comes from S3 when it runs")
        token = token_for_claims(state, identity, skip_if_succeeded=skip, rerun_wanted=False)
        owner = self._plan.dag_kwargs.get("owner") or "airflow"
        arguments = Arguments(
            kwargs, clients, job, identity, token, self._folder, owner, self._online,
            size_rendered=_size_rendered(task.kwargs), policy=self._policy(task.task_id),
        )  # fmt: skip
        try:
            backend = OPERATORS[task.operator](arguments)
            outcome, claims = forecast(
                backend, AnyRemoteWork(clients, job, identity), job, identity, state=state, token=token,
                policy=self._engine_policy,
            )  # fmt: skip
        except InvalidRequest as error:
            if unknown:
                return TaskForecast(task.task_id, "run", note=f"{note}; with the defaults it would be refused: {error}")
            if not is_template(str(error)):
                raise
            return TaskForecast(task.task_id, "run", note=f"not known before the run; without a value, {error}")
        result = _task_forecast(task, kwargs, backend, outcome, claims)
        if unknown:
            note += "; the requests show the defaults"
        result.note = "; ".join(filter(None, (note, result.note)))
        return result

    def _identity(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> JobIdentity:
        retries = kwargs.get("retries")
        return JobIdentity(
            state=self._state,
            dag_id=self._plan.dag_id,
            run_key=self._run_key,
            job=kwargs.get("job") or task.task_id,
            run_id=self._run_id,
            task_id=task.task_id,
            max_tries=PLATFORM_RETRIES if retries is None else int(retries),
        )


def _size_rendered(kwargs: Mapping[str, Any]) -> bool:
    """Return whether the size of the array is a template."""
    array = kwargs.get("array")
    return is_template(array.get("size") if isinstance(array, dict) else array)


def _skipped(task: TaskPlan, marker: Marker, kwargs: Mapping[str, Any]) -> TaskForecast:
    note = f"succeeded at {marker.finished_at}{_other_size(marker.size, _fixed_size(task, kwargs))}"
    return TaskForecast(task.task_id, "skip", of=marker.size, note=note)


def _task_forecast(
    task: TaskPlan, kwargs: Mapping[str, Any], backend: Backend, outcome: Outcome, claims: list[Claim]
) -> TaskForecast:
    claimed = {claim.number for claim in claims}
    running = [one for one in outcome.state.open_submissions if one.number not in claimed]
    units, done = backend.units(outcome.state), backend.done(outcome.state)
    starts = IndexSet.union(claim.indices for claim in claims)
    left = units - done - IndexSet.union(one.indices for one in running) - outcome.failed
    result = TaskForecast(task.task_id, _does(task, outcome, claims, done), of=len(units))
    notes = [_running(task, running, outcome)] if running else []
    if claims:
        result.indices = (left | starts).text()
        result.requests = [call for claim in claims for call in claim.calls]
        if done:
            what = "indices" if task.operator == tasks.BATCH_ARRAY else "steps"
            notes.append(f"{len(done):,} of {len(units):,} {what} are done")
        if rest := left - starts:
            result.requests[-1]["note"] = f"{len(rest)} more follow, each when the steps before it have completed"
    elif outcome.action == "succeed" and not running:
        notes.append("all of it is done; only the marker is missing" if units else "there is no data: nothing runs")
    notes += [failure.reason for failure in outcome.failures[:1]]
    if outcome.blocked is not None:
        notes.append(f"nothing more can be submitted: {outcome.blocked}")
    if isinstance(backend, ForecastBatch):
        _add_batch(result, backend, notes)
    if task.operator == tasks.CREATE_CLUSTER:
        result.of, result.indices = None, ""
        notes.append(f"for {', '.join(kwargs.get('used_by', ()))}")
    if task.operator == tasks.EMR_JOB_RUN:
        notes.append(f"a job run on {next(iter(kwargs['on']))}")
    result.note = "; ".join(notes) + _other_size(len(units), _fixed_size(task, kwargs))
    return result


def _does(task: TaskPlan, outcome: Outcome, claims: list[Claim], done: IndexSet) -> str:
    if claims and task.operator == tasks.CREATE_CLUSTER:
        return "cluster"
    if claims:
        return "resume" if done else "run"
    return {"wait": "wait", "fail": "fail", "succeed": "skip"}[outcome.action]


def _running(task: TaskPlan, running: list[Submission], outcome: Outcome) -> str:
    numbers = ", ".join(str(one.number) for one in running)
    if task.operator == tasks.CREATE_CLUSTER:
        return "the cluster is up" if outcome.action == "succeed" else "the cluster is starting"
    return f"submission {numbers} {'is' if len(running) == 1 else 'are'} running"


def _add_batch(result: TaskForecast, backend: ForecastBatch, notes: list[str]) -> None:
    result.bytes = backend.data.bytes if backend.data is not None else None
    notes += backend.notes
    if backend.register is not None:
        call = {"call": "RegisterJobDefinition", "request": backend.register}
        result.requests.insert(0, {**call, "note": "unless it has been registered by then"})


def _fixed_size(task: TaskPlan, kwargs: Mapping[str, Any]) -> int | None:
    """Return the array size in the pipeline file; None if it is derived from data, or there is no array."""
    if task.operator != tasks.BATCH_ARRAY:
        return None
    try:
        size = array_options(kwargs.get("array"), rendered=True).get("size")
    except InvalidRequest:  # a template that only Airflow can render, or that renders to another value now
        return None
    return None if size is None else int(size)


def _other_size(of_run: int, size: int | None) -> str:
    if size is None or size == of_run:
        return ""
    return f"; this run started with {of_run:,} indices, the new array size ({size:,}) applies from the next run"
