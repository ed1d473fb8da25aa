"""Dag documentation (`doc_md`), generated from the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.models.base import is_template

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file import Job, Pipeline


def doc_md(pipeline: Pipeline) -> str:
    """Return Markdown with the description of the pipeline and a table of its jobs."""
    lines = [pipeline.description, ""] if pipeline.description else []
    lines += ["| Job | After | Runs on | Description |", "|---|---|---|---|"]
    for job in pipeline.jobs.values():
        after = ", ".join(name if rule == "succeeded" else f"{name} ({rule})" for name, rule in job.after.items())
        lines.append(f"| {job.name} | {after} | {_where(job)} | {_cell(job.description or _what(job))} |")
    reads = sorted({uri for job in pipeline.jobs.values() for uri in job.inputs})
    writes = sorted({uri for job in pipeline.jobs.values() for uri in job.outputs})
    for title, uris in (("Reads", reads), ("Writes", writes)):
        if uris:
            lines += ["", f"{title}: {', '.join(f'`{uri}`' for uri in uris)}"]
    return "\n".join(lines)


def _where(job: Job) -> str:
    if job.operator:
        return job.operator.rpartition(".")[2]
    parts = []
    if job.batch:
        parts.append(f"AWS Batch{_indices(job)}")
    if job.emr:
        known = job.emr.cluster or job.emr.cluster_id or job.emr.cluster_name
        parts.append(f"EMR cluster {known}" if known else "its own EMR cluster")
    return " with ".join(parts) or "Spark"


def _indices(job: Job) -> str:
    if job.array is None:
        return ""
    size = job.array.size
    if size is not None:
        return f", `{_cell(str(size))}` indices" if is_template(size) else f", {size:,} indices"
    return f", indices from {job.array.pack or job.array.per_object or job.array.rows}"


def _what(job: Job) -> str:
    if job.batch and job.batch.command:
        command = job.batch.command
        return f"`{command if isinstance(command, str) else ' '.join(command)}`"
    if job.spark:
        return f"`{job.spark.py or job.spark.class_ or job.spark.jar}`"
    return f"{len(job.steps)} steps" if job.steps else ""


def _cell(text: str) -> str:
    """Escape text for a table cell."""
    return " ".join(text.split()).replace("|", "\\|")
