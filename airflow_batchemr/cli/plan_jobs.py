"""What each task of a run would do now, out of the ledger and S3: reads only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import explicit
from airflow_batchemr.aws.batch.data_arrays import data_array
from airflow_batchemr.aws.batch.definitions import definition_request
from airflow_batchemr.aws.batch.limits import check_same_size
from airflow_batchemr.aws.batch.options import batch_options
from airflow_batchemr.aws.batch.requests import submission_requests
from airflow_batchemr.aws.batch.submissions import done_folder
from airflow_batchemr.aws.emr.advance import done_steps
from airflow_batchemr.aws.emr.existing_cluster import together
from airflow_batchemr.aws.emr.job_run_submissions import job_run_target
from airflow_batchemr.aws.emr.own_cluster import ClusterWords
from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.aws.emr.request import Variant
from airflow_batchemr.aws.emr.step_configs import plan_steps, remaining
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.dags import tasks
from airflow_batchemr.engine.decide import SubmissionPlan, begun_with, closed, decide
from airflow_batchemr.engine.job_identity import JobIdentity, tag_value
from airflow_batchemr.pipeline_file.models import Batch, Emr, Spark
from airflow_batchemr.pipeline_file.models.spark import Step
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.python_env import Environment
    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.dags.plan import DagPlan, TaskPlan
    from airflow_batchemr.ledger import JobLedger, Ledger, LedgerState, Marker

#: Of what a program is told about its run: steps are not told the attempt, which would make each try's steps others.
_OF_STEPS = ("PIPELINE_RUN_ID", "BATCHEMR_DAG_ID", "BATCHEMR_RUN_KEY", "BATCHEMR_JOB", "BATCHEMR_STATE")


@dataclass
class Forecast:
    """What one task would do.

    Attributes:
        task_id: the task.
        does: `skip`, `run`, `resume`, `wait`, `cluster`, `no cluster`, `terminate` or `operator`.
        indices: indices or steps that would run, as ranges.
        of: how many the job has.
        bytes: bytes of its input, where the array comes out of S3.
        note: why, or what cannot be told before it runs.
        requests: `{call, request}`, in the order of the calls.
    """

    task_id: str
    does: str
    indices: str = ""
    of: int | None = None
    bytes: int | None = None
    note: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)


class Unwritten:
    """A job's documents in the ledger, of which none is written: what would be is kept here, and read from here.

    Args:
        jobs: the job's ledger.
    """

    def __init__(self, jobs: JobLedger) -> None:
        self._jobs = jobs
        self._kept: dict[str, bytes] = {}
        self.uri = jobs.uri

    def get_document(self, name: str) -> bytes | None:
        """A document, of those that would be written first."""
        if name not in self._kept:
            body = self._jobs.get_document(name)
            if body is None:
                return None
            self._kept[name] = body
        return self._kept[name]

    def put_document(self, name: str, body: bytes) -> bytes:
        """Keep a document for `get_document`."""
        return self._kept.setdefault(name, body)

    def put_documents(self, documents: Mapping[str, bytes]) -> None:
        """Keep documents for `get_document`."""
        self._kept.update(documents)

    def document_uri(self, name: str) -> str:
        """Where a document would lie."""
        return self._jobs.document_uri(name)

    def said(self, folder: str) -> dict[str, Any]:
        """What the document of an array says that lies in `folder`."""
        documents = (json.loads(body) for name, body in self._kept.items() if name.startswith("array"))
        return next((said for said in documents if said["folder"] == folder), {})


def _environment(kwargs: Mapping[str, Any], jobs: Unwritten | None, number: int, size: int) -> dict[str, str]:
    """What a program is told besides its identity; a cluster's own address is known only when it is up."""
    told = dict.fromkeys(("EMR_CLUSTER_ID", "EMR_MASTER"), "(when it is up)") if kwargs.get("cluster") else {}
    if kwargs.get("explicit_success") and jobs is not None:
        told |= explicit.environment(jobs, number, size)  # type: ignore[arg-type]
    return told


def _array_options(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    options = kwargs.get("array") or 1
    return options if isinstance(options, dict) else {"size": options}


def _succeeded(marker: Marker, kwargs: Mapping[str, Any]) -> str:
    size = int(_array_options(kwargs).get("size", marker.size))
    other = f", with {marker.size:,} indices: the {size:,} of now count from the next run on"
    return f"succeeded at {marker.finished_at}{other if size != marker.size else ''}"


class Forecaster:
    """Foretells the tasks of one run of one Dag.

    Args:
        plan: the Dag.
        run_key: of the run.
        state: URI of the ledger.
        ledger: None where none is to be read: everything runs then.
        clients: for S3; None where AWS is not to be asked.
        folder: where relative paths of the file begin: its own folder.
    """

    def __init__(
        self, plan: DagPlan, run_key: str, state: str, *, ledger: Ledger | None, clients: Clients | None, folder: Path
    ) -> None:
        self.folder = folder
        self.plan = plan
        self.run_key = run_key
        self.state = state
        self.ledger = ledger
        self.clients = clients

    def task(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> Forecast:
        """What a task would do.

        Args:
            task: of the plan.
            kwargs: its arguments, templates filled in.

        Raises:
            AwsError, LedgerError: what it says does not fit together, or S3 refuses.
        """
        if task.operator == tasks.BATCH_ARRAY:
            return self._batch(task, kwargs)
        if task.operator in (tasks.EPHEMERAL_EMR, tasks.EMR_STEPS):
            return self._steps(task, kwargs)
        if task.operator == tasks.CREATE_CLUSTER:
            return self._cluster(task, kwargs)
        if task.operator == tasks.EMR_JOB_RUN:
            return self._job_run(task, kwargs)
        if task.operator == tasks.TERMINATE_CLUSTER:
            return Forecast(task.task_id, "terminate", note=f"ends {kwargs['cluster']}, if it was started")
        return Forecast(task.task_id, "operator", note=f"{task.operator.rpartition('.')[2]}: Airflow runs it each time")

    def _identity(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> JobIdentity:
        job = kwargs.get("job") or task.task_id
        return JobIdentity(self.state, self.plan.dag_id, self.run_key, job, self.run_key, task.task_id)

    def _tags(self) -> dict[str, str]:
        """The owner that Airflow gives a task, by default its own default."""
        return {"batchemr:owner": tag_value(self.plan.dag_kwargs.get("owner") or "airflow")}

    def _folder(self, identity: JobIdentity) -> str:
        """Where scripts of a cluster would lie."""
        return self.ledger.job(identity.dag_id, identity.run_key, identity.job).document_uri("") if self.ledger else ""

    def _pythons(self, needs: Needs) -> dict[str, Environment]:
        return environments(self.clients, needs.python_env, self.folder) if self.clients is not None else {}

    def _read(self, job: str) -> LedgerState | None:
        return self.ledger.job(self.plan.dag_id, self.run_key, job).read() if self.ledger else None

    def _batch(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> Forecast:
        options = batch_options({name: kwargs[name] for name in Batch.model_fields if name in kwargs})
        identity = self._identity(task, kwargs)
        state = self._read(task.task_id)
        if state is not None and state.marker is not None and kwargs.get("skip_if_succeeded", True):
            return Forecast(task.task_id, "skip", of=state.marker.size, note=_succeeded(state.marker, kwargs))
        array = _array_options(kwargs)
        jobs = Unwritten(self.ledger.job(self.plan.dag_id, self.run_key, task.task_id)) if self.ledger else None
        data, input_bytes = None, None
        if "size" not in array:
            if jobs is None or self.clients is None:
                return Forecast(task.task_id, "run", note="the number of indices comes out of S3 when it runs")
            data = data_array(self.clients, jobs, array, state.rerun_token if state else None)  # type: ignore[arg-type]
            input_bytes = jobs.said(data.folder).get("bytes")
        size = data.size if data else int(array["size"])
        if data and not size:
            return Forecast(task.task_id, "skip", of=0, bytes=0, note="there is no data: a success with nothing run")
        forecast = Forecast(task.task_id, "run", of=size, bytes=input_bytes)
        claims = self._claims(state, size, options, forecast)
        if claims and kwargs.get("index_of"):
            forecast.note = (
                f"{forecast.note} each index after that of {kwargs['index_of']} (dependsOn, once it runs)".strip()
            )
        forecast.indices = str(IndexSet.of(index for claim in claims for index in claim.indices))
        definition = self._definition(options, forecast) if claims else {}
        memory = options.memory or []
        for claim in claims:
            requests = submission_requests(
                options,
                definition,
                identity,
                claim.number,
                claim.indices,
                size=size,
                memory=memory[claim.memory_step] if memory else None,
                environment=_environment(kwargs, jobs, claim.number, size),
                values=data.values(jobs, claim.indices) if data and jobs else None,  # type: ignore[arg-type]
                done_uri=self._done_uri(array, jobs, state),
            )
            forecast.requests += [{"call": "SubmitJob", "request": request.request} for request in requests]
        return forecast

    @staticmethod
    def _claims(state: LedgerState | None, size: int, options: Batch, forecast: Forecast) -> list[SubmissionPlan]:
        """The attempts that a run would claim now; says in the forecast why, where they are not all of the job."""
        if state is None or state.marker is not None:
            return [SubmissionPlan(state.next_number if state else 1, IndexSet.range(size))]
        steps = max(1, len(options.memory or []))
        began = begun_with(state) or size
        decision = decide(state, began, before=closed(state), memory_sizes=steps, resumable=options.preamble)
        if decision.action == "claim":
            check_same_size(state, size)
        if decision.action == "mark":
            forecast.does, forecast.note = "skip", "all indices are done; only the marker is missing"
        elif decision.action == "wait":
            running = ", ".join(str(one.number) for one in decision.waits)
            forecast.does, forecast.note = "wait", f"attempt {running} is running"
        elif state.done:
            forecast.does, forecast.note = "resume", f"{len(state.done)} of {size} indices are done"
        if began != size:
            forecast.of = began
            forecast.note += f"; it began with {began:,} indices, the {size:,} of now count from the next run on"
        return decision.claims

    @staticmethod
    def _definition(options: Batch, forecast: Forecast) -> dict[str, Any]:
        if options.registered_definition is not None:
            return {"jobDefinitionArn": options.registered_definition}
        register = definition_request(options)
        forecast.requests.append(
            {"call": "RegisterJobDefinition", "request": register, "note": "unless it is registered already"}
        )
        return {**register, "jobDefinitionArn": register["jobDefinitionName"]}

    @staticmethod
    def _done_uri(options: Mapping[str, Any], jobs: Unwritten | None, state: LedgerState | None) -> str | None:
        if options.get("markers") != "in_job" or jobs is None:
            return None
        return jobs.document_uri(done_folder(state.rerun_token if state else None))

    def _steps(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> Forecast:
        identity = self._identity(task, kwargs)
        told = identity.environment(0)
        models = [Step.model_validate(step) for step in kwargs["steps"]]
        needs = Needs.of(models)
        pythons = self._pythons(needs)
        planned = plan_steps(
            models,
            on_failure=kwargs.get("on_failure"),
            environment={**{name: told[name] for name in _OF_STEPS}, **kwargs.get("env", {})},
            pythons={name: one.python for name, one in pythons.items()},
        )
        forecast = Forecast(task.task_id, "run", of=len(planned))
        state = self._read(task.task_id)
        left: list[PlannedStep] = planned
        if state is not None:
            if state.marker is not None and kwargs.get("skip_if_succeeded", True):
                return Forecast(task.task_id, "skip", of=len(planned), note=f"succeeded at {state.marker.finished_at}")
            if state.open_submissions:
                numbers = ", ".join(str(one.number) for one in state.open_submissions)
                return Forecast(task.task_id, "wait", of=len(planned), note=f"attempt {numbers} is running")
            done = done_steps(state, [], resume=kwargs.get("resume_steps", True))
            left = remaining(planned, done)
            if len(left) < len(planned):
                forecast.does = "resume"
                forecast.note = f"{len(planned) - len(left)} of {len(planned)} steps are done"
        forecast.indices = str(IndexSet.of(step.number for step in left))
        number = state.next_number if state else 1
        name = identity.submission_name(number)
        if task.operator == tasks.EPHEMERAL_EMR:
            words = ClusterWords(Emr.model_validate(kwargs["cluster"]), needs, pythons, tags=self._tags())
            configs = [step.config(name, words.step_default) for step in left[:256]]
            folder = self._folder(identity)
            stays = len(left) > 256
            request = words.request(identity, number, configs, stays=stays, variant=Variant(), folder=folder)
            forecast.requests.append({"call": "RunJobFlow", "request": request})
        else:
            where = kwargs.get("cluster_id") or "(the cluster's id)"
            batch = together(left)
            configs = [step.config(name, "continue") for step in batch]
            added: dict[str, Any] = {"call": "AddJobFlowSteps", "request": {"JobFlowId": where, "Steps": configs}}
            if len(batch) < len(left):
                added["note"] = f"{len(left) - len(batch)} more follow, each when the one before has completed"
            forecast.requests.append(added)
        return forecast

    def _job_run(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> Forecast:
        (where,) = kwargs["on"]
        state = self._read(task.task_id)
        if state is not None and state.marker is not None and kwargs.get("skip_if_succeeded", True):
            return Forecast(task.task_id, "skip", of=1, note=f"succeeded at {state.marker.finished_at}")
        if state is not None and state.open_submissions:
            return Forecast(task.task_id, "wait", of=1, note=f"attempt {state.open_submissions[-1].number} is running")
        identity = self._identity(task, kwargs)
        number = state.next_number if state else 1
        spark = Spark.model_validate(kwargs["spark"])
        environment = {**identity.environment(number), **kwargs.get("env", {})}
        name, tags = identity.submission_name(number), identity.tags(number)
        request = job_run_target(kwargs["on"]).request(spark, name, tags, environment, kwargs.get("deadline"))
        note, requests = f"a job run on {where}", [{"call": "StartJobRun", "request": request}]
        return Forecast(task.task_id, "run", indices="0", of=1, note=note, requests=requests)

    def _cluster(self, task: TaskPlan, kwargs: Mapping[str, Any]) -> Forecast:
        used_by = kwargs.get("used_by", [])
        states = [self._read(name) for name in used_by]
        if states and all(state is not None and state.marker is not None for state in states):
            return Forecast(task.task_id, "no cluster", note=f"all that it is for has succeeded: {', '.join(used_by)}")
        identity = self._identity(task, kwargs)
        state = self._read(identity.job)
        if state is not None and state.open_submissions:
            return Forecast(task.task_id, "wait", note="the cluster has been started")
        needs = Needs.of_values(kwargs.get("needs") or {})
        words = ClusterWords(Emr.model_validate(kwargs["cluster"]), needs, self._pythons(needs), tags=self._tags())
        number = state.next_number if state else 1
        folder = self._folder(identity)
        request = words.request(identity, number, (), stays=True, variant=Variant(), folder=folder)
        return Forecast(
            task.task_id,
            "cluster",
            note=f"for {', '.join(used_by)}",
            requests=[{"call": "RunJobFlow", "request": request}],
        )
