"""One job: do its parts fit together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.checks.batches import batch
from airflow_batchemr.pipeline_file.checks.clusters import cluster
from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.needs import needs_of
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.models import Job, Pipeline, Spark
    from airflow_batchemr.pipeline_file.validation import Keys


#: Any of these would give a job something to run.
_WORK = tuple((word,) for word in ("batch", "emr", "spark", "steps", "load", "save", "operator"))


def job(job: Job, pipeline: Pipeline) -> Iterator[Problem]:
    """All that is wrong with a job inside its pipeline."""
    if job.explicit_success and job.batch is None:
        hint = "let the program exit with an error code where it has not succeeded"
        yield Problem(("explicit_success",), "`explicit_success` goes with `batch`", hint, key=True)
    if job.operator is not None:
        yield from _operator(job)
        return
    if job.with_:
        yield Problem(("with",), "`with` holds the arguments of an operator: name it under `operator:`", key=True)
    yield from _work(job)
    if job.batch is not None:
        yield from batch(job.batch, job)
    if job.emr is not None:
        yield from _emr(job, pipeline)
    if job.on is not None:
        yield from _elsewhere(job)
    for keys, spark in _sparks(job):
        yield from _spark(spark, keys)
    if job.array is not None and job.array.size == 1:
        yield Problem(("array",), "an array of 1 is a single job", "leave `array` out", "warning")
    if job.max_retry_delay is not None and job.retry_delay is not None and job.max_retry_delay < job.retry_delay:
        yield Problem(("max_retry_delay",), f"shorter than `retry_delay` ({job.retry_delay} seconds)")


def _operator(job: Job) -> Iterator[Problem]:
    for word in ("array", "batch", "emr", "spark", "steps", "load", "save", "on"):
        if getattr(job, word):
            yield Problem((word,), f"a job with an `operator` is that operator alone, without `{word}`", key=True)
    path = job.operator or ""
    if not all(part.isidentifier() for part in path.split(".")) or "." not in path:
        message = f"expected the dotted path of a class like airflow.providers.…, not {path}"
        yield Problem(("operator",), message)


def _work(job: Job) -> Iterator[Problem]:
    """Something to run, and one thing only."""
    steps = [word for word in ("spark", "steps", "load", "save") if getattr(job, word)]
    if job.batch is not None:
        for word in steps:
            yield Problem((word,), f"`batch` and `{word}` are two jobs: write two", key=True)
    else:
        if job.array is not None:
            yield Problem(("array",), "`array` needs a `batch` block: AWS Batch runs arrays", key=True)
        if not steps:
            hint = "write `batch:` with a command, or `emr:` with `spark:` or `steps:`, or `operator:`"
            missing = ("emr",) if job.emr is not None else ()
            yield Problem(missing, "the job has nothing to run: a command is missing", hint, nothing_of=_WORK)
        elif job.emr is None and job.on is None:
            message = f"`{steps[0]}` needs a cluster: write `emr:`"
            yield Problem((steps[0],), message, key=True, nothing_of=(("emr",), ("on",)))
    if job.spark is not None and job.steps is not None:
        yield Problem(("spark",), "`spark` and `steps` together leave the order open", "write it as a step: `- spark:`")
    if job.resume_steps is not None and not steps:
        yield Problem(("resume_steps",), "`resume_steps` goes with `steps` or `spark`", key=True)


def _emr(job: Job, pipeline: Pipeline) -> Iterator[Problem]:
    emr = job.emr
    if emr is None:
        return
    if emr.cluster is not None and emr.cluster not in pipeline.clusters:
        hint = guess(emr.cluster, pipeline.clusters) or "declare it under the pipeline's `clusters:`"
        yield Problem(("emr", "cluster"), f"no cluster `{emr.cluster}` in this pipeline", hint)
    if emr.cluster_name is not None and job.batch is not None:
        message = "a Batch job is told its cluster's id, and a name may be that of several"
        yield Problem(("emr", "cluster_name"), message, "write `cluster_id: j-…`, or `cluster:` of this pipeline")
    if emr.existing:
        rules = [("on_failure",)] if job.on_failure == "terminate_cluster" else []
        rules += [
            ("steps", place, "on_failure")  # type: ignore[misc]
            for place, step in enumerate(job.steps or [])
            if step.on_failure == "terminate_cluster"
        ]
        for place_of_rule in rules:
            yield Problem(
                place_of_rule, "the cluster is not this job's own, and is not to be ended by it", "use cancel_and_wait"
            )
        if emr.cluster is None:
            for keys, spark in _sparks(job):
                yield from _packed(spark, keys, "when a cluster starts, and this one is there")
        return
    beside = job.batch is not None
    yield from cluster(emr, ("emr",), needs_of([job]), stays=beside, runs_steps=not beside)


def _spark(spark: Spark, at: Keys) -> Iterator[Problem]:
    """What spark-submit would take and do something else with."""
    for word in ("py", "jar"):
        uri = getattr(spark, word)
        if uri is not None and not re.match(r"[a-z0-9]+://|local:|/|.*\{\{", uri):
            message = f"{uri} is no URI: the cluster has no such file"
            yield Problem((*at, word), message, f"put it into S3 and write `{word}: s3://…/{uri}`", "warning")
    if len(spark.args) == 1 and re.match(r"-\S+ ", spark.args[0]):
        hint = "write a list, each argument by itself"
        yield Problem((*at, "args"), "this is one argument, with a space in it", hint, "warning")


def _sparks(job: Job) -> Iterator[tuple[Keys, Spark]]:
    """The spark blocks of a job, with their keys."""
    if job.spark is not None:
        yield ("spark",), job.spark
    for place, step in enumerate(job.steps or []):
        if step.spark is not None:
            yield ("steps", place, "spark"), step.spark


def _packed(spark: Spark, at: Keys, why: str) -> Iterator[Problem]:
    """A Python that has to be installed needs machines on which a bootstrap action can do so."""
    if spark.python_env is not None and re.search(r"\.(txt|ya?ml)$", spark.python_env):
        message = f"{spark.python_env} is installed on the machines {why}"
        yield Problem((*at, "python_env"), message, "give a packed environment (s3://….tar.gz)")


def _elsewhere(job: Job) -> Iterator[Problem]:
    where = "emr_serverless" if job.on and job.on.emr_serverless else "emr_eks"
    for word in ("emr", "steps", "load", "save", "batch"):
        if getattr(job, word):
            yield Problem((word,), f"on {where} there is no cluster: `{word}` has no meaning", key=True)
    if job.spark is None:
        yield Problem(("on",), f"`on: {where}` runs a `spark` block, and there is none")
        return
    yield from _packed(job.spark, ("spark",), f"of a cluster, and {where} has none of ours")
    if job.spark.docker_image is not None and where == "emr_serverless":
        message = "EMR Serverless takes the image of the application"
        yield Problem(("spark", "docker_image"), message, "set it there, and leave this out")
    if job.spark.deploy_mode == "client":
        message = f"on {where} the driver has a container of its own: `deploy_mode` has no meaning"
        yield Problem(("spark", "deploy_mode"), message, "leave it out")
