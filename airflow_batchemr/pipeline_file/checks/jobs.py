"""Checks of a job: whether its blocks go together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.checks.batches import batch
from airflow_batchemr.pipeline_file.checks.clusters import cluster
from airflow_batchemr.pipeline_file.checks.steps import steps
from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.models.base import is_fixed
from airflow_batchemr.pipeline_file.needs import needs_of
from airflow_batchemr.pipeline_file.steps.spark import SparkStep
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Job, Pipeline, Spark
    from airflow_batchemr.pipeline_file.validation import Keys


#: Keys that define what a job runs.
_WORK = tuple((key,) for key in ("batch", "emr", "spark", "steps", "load", "save", "operator", "jobs"))


def job(job: Job, pipeline: Pipeline) -> Iterator[Problem]:
    """Check a job within its pipeline."""
    if job.explicit_success and job.batch is None and not any(one.kind.takes_environment for one in job.all_steps()):
        hint = "other steps get no environment variables: have the program exit with a nonzero code if it failed"
        message = "`explicit_success` requires `batch`, `spark` or a `command` step"
        yield Problem(("explicit_success",), message, hint, key=True)
    if job.operator is not None:
        yield from _operator(job)
        return
    if job.with_:
        yield Problem(("with",), "`with` requires `operator`: it contains the operator's arguments", key=True)
    yield from _work(job)
    if job.batch is not None:
        yield from batch(job.batch, job)
    if job.emr is not None:
        yield from _emr(job, pipeline)
        owned = pipeline.clusters.get(job.emr.cluster or "") if job.emr.existing else job.emr
        yield from steps(job, owned)
    if job.on is not None:
        yield from _job_run(job)
    for keys, spark in _sparks(job):
        yield from _spark(spark, keys)
    if job.array is not None and job.array.size == 1:
        yield Problem(("array",), "an array of size 1 is a single job", "remove `array`", "warning")
    if job.max_retry_delay is not None and job.retry_delay is not None and job.max_retry_delay < job.retry_delay:
        message = f"`max_retry_delay` is shorter than `retry_delay` ({job.retry_delay} seconds)"
        yield Problem(("max_retry_delay",), message)


def _operator(job: Job) -> Iterator[Problem]:
    for key in ("array", "batch", "emr", "spark", "steps", "load", "save", "on"):
        if getattr(job, key):
            yield Problem((key,), f"`operator` and `{key}` cannot be combined in one job", key=True)
    path = job.operator or ""
    if not all(part.isidentifier() for part in path.split(".")) or "." not in path:
        message = f"expected the dotted path of a class such as airflow.providers.…, not {path}"
        yield Problem(("operator",), message)


def _work(job: Job) -> Iterator[Problem]:
    """A job runs exactly one kind of work."""
    work = [key for key in ("spark", "steps", "load", "save") if getattr(job, key)]
    if job.batch is not None:
        for key in work:
            message = f"`batch` and `{key}` cannot be combined in one job"
            yield Problem((key,), message, "split them into two jobs", key=True)
    else:
        if job.array is not None:
            yield Problem(("array",), "`array` requires `batch`: array jobs run on AWS Batch", key=True)
        if not work:
            hint = "add `batch:` with a command, or `emr:` with `spark:` or `steps:`, or `operator:`"
            at = ("emr",) if job.emr is not None else ()
            yield Problem(at, "the job has nothing to run", hint, missing=_WORK)
        elif job.emr is None and job.on is None:
            message = f"`{work[0]}` requires a cluster"
            yield Problem((work[0],), message, "add `emr:`", key=True, missing=(("emr",), ("on",)))
    if job.spark is not None and job.steps is not None:
        message = "`spark` and `steps` cannot be combined: their order is undefined"
        yield Problem(("spark",), message, "move it into the list of steps as `- spark:`")
    if job.resume_steps is not None and not work:
        yield Problem(("resume_steps",), "`resume_steps` requires `steps` or `spark`", key=True)
    if job.execution_role is not None and (not work or job.on is not None):
        message = "`execution_role` is the role of EMR steps"
        hint = "set `role` in `on:`" if job.on else "for the role that pulls the image, set it in `batch:`"
        yield Problem(("execution_role",), message, hint, key=True)


def _emr(job: Job, pipeline: Pipeline) -> Iterator[Problem]:
    emr = job.emr
    if emr is None:
        return
    if emr.cluster is not None and emr.cluster not in pipeline.clusters:
        hint = guess(emr.cluster, pipeline.clusters) or "define it under the pipeline's `clusters:`"
        yield Problem(("emr", "cluster"), f"the pipeline has no cluster `{emr.cluster}`", hint)
    if emr.cluster_name is not None and job.batch is not None:
        message = "`cluster_name` cannot be used with `batch`: several clusters may have the same name"
        yield Problem(("emr", "cluster_name"), message, "use `cluster_id: j-…`, or `cluster:` of this pipeline")
    if emr.existing:
        rules = [("on_failure",)] if job.on_failure == "terminate_cluster" else []
        rules += [
            ("steps", position, "on_failure")  # type: ignore[misc]
            for position, step in enumerate(job.steps or [])
            if step.on_failure == "terminate_cluster"
        ]
        for keys in rules:
            message = "`terminate_cluster` cannot be used on a cluster that does not belong to this job"
            yield Problem(keys, message, "use `cancel_and_wait`")
        if emr.cluster is None:
            for path, spark in _sparks(job):
                yield from _python_env(spark, path, "a running cluster")
        return
    with_batch = job.batch is not None
    yield from cluster(emr, ("emr",), needs_of([job]), waits_for_jobs=with_batch, runs_steps=not with_batch)


def _spark(spark: Spark, at: Keys) -> Iterator[Problem]:
    """Values that spark-submit accepts but interprets differently."""
    for key in ("py", "jar"):
        uri = getattr(spark, key)
        if uri is not None and not re.match(r"[a-z0-9]+://|local:|/|.*\{\{", uri):
            message = f"{uri} is not a URI: the cluster cannot find the file"
            yield Problem((*at, key), message, f"upload it to S3 and set `{key}: s3://…/{uri}`", "warning")
    if len(spark.args) == 1 and re.match(r"-\S+ ", spark.args[0]):
        hint = "use a list with one argument per item"
        yield Problem((*at, "args"), "this is passed as a single argument that contains a space", hint, "warning")


def _sparks(job: Job) -> Iterator[tuple[Keys, Spark]]:
    """The `spark` blocks of a job and their paths."""
    if job.spark is not None:
        yield ("spark",), job.spark
    for position, step in enumerate(job.steps or []):
        kind = step.kind
        if isinstance(kind, SparkStep):
            yield ("steps", position, kind.key()), kind.spark


def _python_env(spark: Spark, at: Keys, where: str) -> Iterator[Problem]:
    """A requirements or conda file is installed by a bootstrap action, which only runs when a cluster starts."""
    if spark.python_env is not None and re.search(r"\.(txt|ya?ml)$", spark.python_env):
        message = f"{spark.python_env} cannot be installed on {where}"
        yield Problem((*at, "python_env"), message, "use a packed environment (s3://….tar.gz)")


def _job_run(job: Job) -> Iterator[Problem]:
    """A job run on EMR Serverless or EMR on EKS."""
    where = "emr_serverless" if job.on and job.on.emr_serverless else "emr_eks"
    for key in ("emr", "steps", "load", "save", "batch"):
        if getattr(job, key):
            yield Problem((key,), f"`{key}` is not supported with `on: {where}`", key=True)
    if job.spark is None:
        yield Problem(("on",), f"`on: {where}` requires `spark`")
        return
    yield from _python_env(job.spark, ("spark",), where)
    yield from _driver(job.spark, where)
    if job.spark.docker_image is not None and where == "emr_serverless":
        message = "`docker_image` is not supported on EMR Serverless: the image is set on the application"
        yield Problem(("spark", "docker_image"), message, "set it on the application, and remove `docker_image`")
    if job.spark.deploy_mode == "client":
        message = f"`deploy_mode` is not supported with `on: {where}`: the driver always runs in its own container"
        yield Problem(("spark", "deploy_mode"), message, "remove `deploy_mode`")


def _driver(spark: Spark, where: str) -> Iterator[Problem]:
    """Limits of StartJobRun on the application and its arguments (botocore's models)."""
    key = "py" if spark.py is not None else "jar"
    uri, longest = getattr(spark, key) or "", 256 if where == "emr_eks" else 4096
    if is_fixed(uri) and len(uri) > longest:
        yield Problem(("spark", key), f"`on: {where}` accepts a URI of {longest:,} characters, not {len(uri):,}")
    if where == "emr_serverless" and len(spark.args) > 1024:
        yield Problem(("spark", "args"), f"`on: {where}` accepts 1,024 arguments, not {len(spark.args):,}")
    for position, argument in enumerate(spark.args if where == "emr_eks" else ()):
        if not argument.strip():
            yield Problem(("spark", "args", position), f"`on: {where}` accepts no empty arguments", "remove it")
