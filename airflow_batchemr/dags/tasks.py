"""Map a job of a pipeline file to its operator and the operator's arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.retries import PLATFORM_RETRIES
from airflow_batchemr.pipeline_file.needs import needs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from airflow_batchemr.pipeline_file import Job, Pipeline
    from airflow_batchemr.pipeline_file.models.emr import Emr
    from airflow_batchemr.pipeline_file.models.notify import Notify

BATCH_ARRAY = "airflow_batchemr.operators.batch.BatchArrayOperator"
EPHEMERAL_EMR = "airflow_batchemr.operators.emr.EphemeralEmrOperator"
CREATE_CLUSTER = "airflow_batchemr.operators.emr.EmrCreateClusterOperator"
EMR_JOB_RUN = "airflow_batchemr.operators.emr.EmrJobRunOperator"
EMR_STEPS = "airflow_batchemr.operators.emr.EmrStepsOperator"
TERMINATE_CLUSTER = "airflow_batchemr.operators.emr.EmrTerminateClusterOperator"


@dataclass(frozen=True)
class JobTask:
    """Operator and arguments of one job.

    Attributes:
        operator: Dotted path of the operator class.
        kwargs: Arguments of the operator.
        own_cluster: Whether the job has its own cluster, created before it and terminated after it.
        shared_cluster: Name in the pipeline's `clusters`, or None.
    """

    operator: str
    kwargs: dict[str, Any]
    own_cluster: bool = False
    shared_cluster: str | None = None


def job_task(pipeline: Pipeline, job: Job) -> JobTask:
    """Return the operator of a job and its arguments."""
    shared = job.emr.cluster if job.emr else None
    if job.operator:
        return JobTask(job.operator, {**airflow(job, queue="queue"), **job.with_})
    if job.batch:
        own = job.emr is not None and not job.emr.existing
        kwargs = {**_batch(job), **_ledger(pipeline, job)}
        if job.emr and job.emr.cluster_id:
            kwargs["env"] = {"EMR_CLUSTER_ID": job.emr.cluster_id, **kwargs.get("env", {})}
        elif job.emr:
            kwargs["cluster"] = f"{shared or job.name}.cluster"
        return JobTask(BATCH_ARRAY, {**kwargs, **airflow(job, queue="worker_queue")}, own, shared)
    if job.on is not None and job.spark is not None:
        run: dict[str, Any] = {"spark": options(job.spark), "on": options(job.on)}
        if job.env:
            run["env"] = dict(job.env)
        if job.explicit_success:
            run["explicit_success"] = True
        return JobTask(EMR_JOB_RUN, {**run, **_ledger(pipeline, job), **airflow(job, queue="queue")})
    kwargs = {**_steps(job), **_ledger(pipeline, job), **airflow(job, queue="queue")}
    if job.emr is not None and not job.emr.existing:
        return JobTask(EPHEMERAL_EMR, {"cluster": options(job.emr), **kwargs})
    return JobTask(EMR_STEPS, {**_existing(job.emr), **kwargs}, shared_cluster=shared)


def create_cluster(
    pipeline: Pipeline, ledger_name: str, cluster: Emr | None, used_by: list[str], *, owner: Job | None = None
) -> dict[str, Any]:
    """Return the arguments of the task that creates a cluster.

    Args:
        pipeline: Pipeline that defines the cluster.
        ledger_name: Name of the cluster in the ledger.
        cluster: Definition of the cluster.
        used_by: Ledger names of the jobs that use the cluster. If all of them have markers, no cluster is created.
        owner: The job, for a cluster of a single job.
    """
    assert cluster is not None  # noqa: S101 - callers pass jobs and entries that have a cluster
    kwargs = {"cluster": options(cluster), "used_by": used_by, "job": ledger_name, **common(pipeline, owner)}
    if needs := needs_of(pipeline.jobs[job] for job in used_by).values():
        kwargs["needs"] = needs
    if not all(pipeline.skip_if_succeeded and pipeline.jobs[job].skip_if_succeeded for job in used_by):
        kwargs["skip_if_succeeded"] = False  # at least one job runs regardless of its marker
    return kwargs


def cluster_tries(jobs: Sequence[Job], *, min_retries: int = 0) -> dict[str, Any]:
    """Return the retry arguments of the tasks that create and terminate a cluster.

    They are those of the job with the most retries.

    Args:
        jobs: Jobs that use the cluster.
        min_retries: Minimum number of retries. Without a retry, a worker that dies while it terminates a cluster would
            leave the cluster running until its idle timeout.
    """
    most_retries = max(jobs, key=lambda job: PLATFORM_RETRIES if job.retries is None else job.retries)
    names = {
        "retries",
        "retry_delay",
        "retry_exponential_backoff",
        "max_retry_delay",
        "pool",
        "priority_weight",
        "queue",
    }
    given = {name: value for name, value in airflow(most_retries, queue="queue").items() if name in names}
    if (most_retries.retries or 0) < min_retries:
        given |= {"retries": min_retries, "retry_delay": 60}
    return given


def common(pipeline: Pipeline, job: Job | None = None) -> dict[str, Any]:
    """Return state URI, connection and region of a pipeline. A job may have its own connection and region."""
    given = {"state": pipeline.state, "aws_conn_id": pipeline.aws_conn_id, "region": pipeline.region}
    if job is not None:
        given |= {name: own for name in ("aws_conn_id", "region") if (own := getattr(job, name)) is not None}
    return {name: value for name, value in given.items() if value is not None}


def options(model: BaseModel) -> dict[str, Any]:
    """Return the options of a block with the keys of the file, without those at their defaults."""
    return model.model_dump(by_alias=True, exclude_defaults=True, mode="json")


def notify(receivers: Sequence[Notify]) -> list[dict[str, Any]]:
    """Return receivers as plain values."""
    return [{"when": receiver.when, **options(receiver)} for receiver in receivers]


def _ledger(pipeline: Pipeline, job: Job) -> dict[str, Any]:
    kwargs = common(pipeline, job)
    if not (pipeline.skip_if_succeeded and job.skip_if_succeeded):
        kwargs["skip_if_succeeded"] = False
    if job.deadline is not None:
        kwargs["deadline"] = job.deadline
    return kwargs


def _batch(job: Job) -> dict[str, Any]:
    assert job.batch is not None  # noqa: S101 - checked by `job_task`
    kwargs = options(job.batch)
    if len(kwargs.get("memory", ())) == 1:
        kwargs["memory"] = kwargs["memory"][0]
    if job.env:
        kwargs["env"] = {**job.env, **kwargs.get("env", {})}
    if job.array is not None:
        array = options(job.array)
        kwargs["array"] = array["size"] if list(array) == ["size"] else array
    index_of = [name for name, rule in job.after.items() if rule == "index"]
    if index_of:
        kwargs["index_of"] = index_of[0]
    if job.explicit_success:
        kwargs["explicit_success"] = True
    return kwargs


def _steps(job: Job) -> dict[str, Any]:
    kwargs: dict[str, Any] = {"steps": [options(step) for step in job.all_steps()]}
    if job.on_failure is not None:
        kwargs["on_failure"] = job.on_failure
    if job.execution_role is not None:
        kwargs["execution_role"] = job.execution_role
    # Steps that pass data through HDFS cannot resume on a new cluster, because its HDFS is empty.
    resume = job.resume_steps if job.resume_steps is not None else not (job.load or job.save)
    if not resume:
        kwargs["resume_steps"] = False
    if job.env:
        kwargs["env"] = dict(job.env)
    if job.explicit_success:
        kwargs["explicit_success"] = True
    return kwargs


def _existing(emr: Emr | None) -> dict[str, Any]:
    assert emr is not None  # noqa: S101 - validation rejects steps without a cluster
    if emr.cluster is not None:
        return {"cluster": f"{emr.cluster}.cluster"}
    return {"cluster_id": emr.cluster_id} if emr.cluster_id is not None else {"cluster_name": emr.cluster_name}


def airflow(job: Job, *, queue: str) -> dict[str, Any]:
    """Return the arguments common to all Airflow operators. Options that are not set keep Airflow's defaults.

    Args:
        job: Job to read them from.
        queue: Name of the argument for Airflow's worker queue. In the Batch operator, `queue` is the job queue.
    """
    given: dict[str, Any] = {
        "retries": job.retries,
        "retry_delay": job.retry_delay,
        "retry_exponential_backoff": job.retry_backoff if job.retry_backoff not in (None, 1.0) else None,
        "max_retry_delay": job.max_retry_delay,
        "pool": job.pool,
        "priority_weight": job.priority,
        queue: job.worker_queue,
        "doc_md": job.description,
        "inlets": list(job.inputs) or None,
        "outlets": list(job.outputs) or None,
        "notify": notify(job.notify) or None,
    }
    return {name: value for name, value in given.items() if value is not None}
