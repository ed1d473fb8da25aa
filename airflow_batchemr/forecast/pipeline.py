"""What a run of a pipeline would do now."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.core.errors import AwsError
from airflow_batchemr.core.run_key import run_key
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.dags.rendered_policy import RenderedPolicy
from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.forecast.task import Forecaster, TaskForecast
from airflow_batchemr.forecast.templates import Templates
from airflow_batchemr.ledger import BucketMissingError, CredentialsError, LedgerError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.dags.plan import TaskPlan
    from airflow_batchemr.engine.policy import Policy as EnginePolicy
    from airflow_batchemr.pipeline_file import Pipeline
    from airflow_batchemr.pipeline_file.policy import Policy


@dataclass
class PipelineForecast:
    """What a run of a pipeline would do.

    Attributes:
        pipeline: Dag id.
        run_key: Run key.
        state: State URI; None without a ledger.
        jobs: What each task would do.
        notes: What is unknown before the run.
        error: Reason why the ledger cannot be read; `jobs` is then empty.
    """

    pipeline: str
    run_key: str
    state: str | None
    jobs: list[TaskForecast] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None


def forecast_pipeline(
    pipeline: Pipeline,
    *,
    folder: Path,
    date: dt.datetime | None = None,
    run_id: str | None = None,
    job: str | None = None,
    state: str | None = None,
    profile: str | None = None,
    region: str | None = None,
    put_args: Mapping[str, Any] | None = None,
    policy: Policy | None = None,
    engine_policy: EnginePolicy = DEFAULT,
) -> PipelineForecast:
    """Forecast a run of a pipeline.

    Args:
        pipeline: Pipeline returned by `load_file`.
        folder: Base folder of relative paths: that of the pipeline file.
        date: Logical date of the run; None for a run without one.
        run_id: Airflow's run_id. Defaults to that of a scheduled run of `date`.
        job: Forecast only this job and the tasks of its clusters.
        state: State URI if the pipeline has none. Without any, AWS is not called.
        profile: Profile of the AWS credentials.
        region: AWS region of all jobs. Defaults to that of each job.
        put_args: `[batchemr] s3_put_args`.
        policy: Policy of the organization; see `RenderedPolicy`.
        engine_policy: Grace periods and limits of the tasks.

    Raises:
        BotoCoreError: There is no such profile, or no region is configured.
        LedgerError: The state URI is invalid.
    """
    dag = plan_dag(pipeline, folder)
    run_id = run_id or f"scheduled__{date.isoformat() if date else ''}"
    params = {name: schema["default"] for name, schema in dag.dag_kwargs["params"].items() if "default" in schema}
    templates = Templates(date, run_id, params)
    uri = templates.fill(pipeline.state or state or "") or None
    made = PipelineForecast(dag.dag_id, run_key(date, None, run_id), uri)
    if uri is None:
        made.notes.append(
            "no ledger: neither `state:` nor --state nor Airflow's [batchemr] state is given; everything would run"
        )
    connections = sorted({str(task.kwargs["aws_conn_id"]) for task in dag.tasks if "aws_conn_id" in task.kwargs})
    if len(connections) > 1:
        made.notes.append(
            f"the jobs use several connections of Airflow ({', '.join(connections)}), but all were planned with the "
            "same AWS credentials: plan one --job at a time, with its --profile"
        )

    @cache
    def clients(own: str | None) -> Clients:
        return boto3_clients(profile=profile, region=region or own, put_args=put_args)

    if uri is not None:
        clients(pipeline.region)  # raises if there is no such profile
    forecaster = Forecaster(
        dag, made.run_key, run_id, state=uri, clients=clients if uri else None, folder=folder,
        policy=lambda task_id: RenderedPolicy.of(policy, pipeline, task_id), engine_policy=engine_policy,
    )  # fmt: skip
    for task in dag.tasks:
        if job is not None and not _belongs(task, job):
            continue
        try:
            made.jobs.append(forecaster.task(task, templates.fill(task.kwargs)))
        except (BucketMissingError, CredentialsError) as error:  # the same for all jobs
            made.jobs, made.error = [], str(error)
            break
        except (AwsError, LedgerError, BotoCoreError) as error:
            made.jobs.append(TaskForecast(task.task_id, "refused", note=str(error)))
    made.notes += [f"only Airflow can render {text!r}" for text in sorted(templates.unknown)]
    return made


def _belongs(task: TaskPlan, job: str) -> bool:
    """Return whether a task is a job, or belongs to it (setup, teardown or empty task)."""
    return job in (task.task_id, *task.kwargs.get("used_by", ())) or task.task_id.startswith(f"{job}.")
