"""What a run of a pipeline would do now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.core.errors import AwsError
from airflow_batchemr.core.run_key import run_key
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.forecast.task import Forecaster, TaskForecast
from airflow_batchemr.forecast.templates import Templates
from airflow_batchemr.ledger import BucketMissingError, CredentialsError, LedgerError

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from airflow_batchemr.dags.plan import TaskPlan
    from airflow_batchemr.pipeline_file import Pipeline


@dataclass
class PipelineForecast:
    """What a run of a pipeline would do.

    Attributes:
        pipeline: the Dag's id.
        run_key: of the run.
        state: the state URI; None: there is no ledger.
        jobs: what each task would do.
        notes: what is not known before the run.
        error: why the ledger cannot be read at all; `jobs` is empty then.
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
) -> PipelineForecast:
    """Forecast a run of a pipeline.

    Args:
        pipeline: as `load_file` gives it.
        folder: where relative paths start: the folder of the pipeline file.
        date: logical date of the run; None for a run that has none.
        run_id: Airflow's; that of a scheduled run of `date` if not given.
        job: forecast only this job and the tasks of its clusters.
        state: the state URI, where the pipeline has none. Without any, AWS is not called.
        profile: of the AWS credentials.
        region: AWS region; the pipeline's if not given.

    Raises:
        BotoCoreError: there is no such profile, or no region is configured.
        LedgerError: the state URI is invalid.
    """
    dag = plan_dag(pipeline)
    run_id = run_id or f"scheduled__{date.isoformat() if date else ''}"
    params = {name: schema.get("default") for name, schema in dag.dag_kwargs["params"].items()}
    templates = Templates(date, run_id, params)
    uri = templates.fill(pipeline.state or state or "") or None
    made = PipelineForecast(dag.dag_id, run_key(date, None, run_id), uri)
    if uri is None:
        made.notes.append(
            "no ledger: neither `state:` nor --state nor Airflow's [batchemr] state is given; everything would run"
        )
    clients = boto3_clients(profile=profile, region=region or pipeline.region) if uri else None
    forecaster = Forecaster(dag, made.run_key, run_id, state=uri, clients=clients, folder=folder)
    for task in dag.tasks:
        if job is not None and not _belongs(task, job):
            continue
        try:
            made.jobs.append(forecaster.task(task, templates.fill(task.kwargs)))
        except (BucketMissingError, CredentialsError) as error:  # the same for all of them
            made.jobs, made.error = [], str(error)
            break
        except (AwsError, LedgerError, BotoCoreError) as error:
            made.jobs.append(TaskForecast(task.task_id, "refused", note=str(error)))
    made.notes += [f"only Airflow can render {text!r}" for text in sorted(templates.unknown)]
    return made


def _belongs(task: TaskPlan, job: str) -> bool:
    """Whether a task is a job, or sets up or gates it."""
    return job in (task.task_id, *task.kwargs.get("used_by", ())) or task.task_id.startswith(f"{job}.")
