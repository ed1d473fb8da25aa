"""Resolve a top-level entry of a file into complete pipelines: apply defaults, `matrix` and variables.

A single-job pipeline, with the keys of the job next to its own, becomes a pipeline with one job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file import misplaced_keys
from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.known_keys import JOB_KEYS, PIPELINE_KEYS
from airflow_batchemr.pipeline_file.matrix import combinations
from airflow_batchemr.pipeline_file.merge import Layer, merge
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.raw_pipeline import RawPipeline
from airflow_batchemr.pipeline_file.resolve_jobs import JobResolver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_batchemr.pipeline_file.defaults import Defaults
    from airflow_batchemr.pipeline_file.reader import Document
    from airflow_batchemr.pipeline_file.variables import Variables

_JOB_ONLY = frozenset(JOB_KEYS) - frozenset(PIPELINE_KEYS)
_PIPELINE_DATA = frozenset(PIPELINE_KEYS) - {"matrix", "defaults", "jobs"}


def resolve(document: Document, key: str, defaults: Defaults) -> Iterator[RawPipeline]:
    """The pipelines of a top-level entry: one, or one per combination of its matrix."""
    entry = document.value[key]
    own = Layer(document, (key,))
    failed = RawPipeline(key, key, {}, [own])
    if _lacks_pipeline_name(key, entry):
        refusal = Refusal(
            f"`{key}` is a key of a pipeline, but the top level of a file contains pipeline names",
            "add a line with the pipeline's name and `:` above, and indent the pipeline below it",
        )
        failed.error([own], (), refusal, key=True)
        yield failed
        return
    if not isinstance(entry, dict):
        hint = "write the pipeline's keys below its name: schedule, batch, …"
        failed.error([own], (), Refusal(f"expected a pipeline as a mapping, not {shown(entry)}", hint))
        yield failed
        return
    if "matrix" not in entry:
        yield _resolve_pipeline(key, own, defaults, defaults.variables)
        return
    try:
        variants = combinations(defaults.variables.substitute_or_raise(entry["matrix"]))
    except Refusal as refusal:
        failed.error([own], ("matrix",), refusal)
        yield failed
        return
    for suffix, axes in variants:
        yield _resolve_pipeline(f"{key}_{suffix}", own, defaults, defaults.variables.with_(axes))


def _lacks_pipeline_name(key: str, entry: Any) -> bool:
    """Whether a top-level entry is a key of a pipeline whose name was forgotten."""
    known = {*PIPELINE_KEYS, *JOB_KEYS}
    return key in known and not (isinstance(entry, dict) and any(inner in known for inner in entry))


def _resolve_pipeline(name: str, own: Layer, defaults: Defaults, variables: Variables) -> RawPipeline:
    key = str(own.keys[0])
    entry = own.document.value[key]
    pipeline = RawPipeline(name, key, {}, [*defaults.layers, own])
    single_job = "jobs" not in entry
    _check_keys(pipeline, own, entry, single_job=single_job)
    variables = variables.with_({"pipeline": name})
    data = {key: value for key, value in entry.items() if key in _PIPELINE_DATA}
    data = pipeline.substitute(pipeline.layers, data, variables, defaults)
    pipeline.data = merge(pipeline.substitute(pipeline.layers, defaults.pipeline, variables, defaults), data)
    jobs = JobResolver(pipeline, entry, own, defaults, variables)
    if single_job:
        job = {key: value for key, value in entry.items() if key in _JOB_ONLY or key == "deadline"}
        jobs.add(name, job, [own])
    else:
        jobs.add_all()
    return pipeline


def _check_keys(pipeline: RawPipeline, own: Layer, entry: dict[str, Any], *, single_job: bool) -> None:
    for key in entry:
        if key in PIPELINE_KEYS or (single_job and key in _JOB_ONLY and key != "extends"):
            continue
        if key in _JOB_ONLY:
            hint = "move it into a job, or into `defaults:` to set it for all jobs of the pipeline"
            if key in ("after", "extends"):
                hint = "move it into a job under `jobs:`"
            pipeline.error([own], (key,), Refusal(f"`{key}` is a key of a job, not of a pipeline", hint), key=True)
            continue
        known = tuple(dict.fromkeys((*PIPELINE_KEYS, *(JOB_KEYS if single_job else ()))))
        message, hint_of, meant = misplaced_keys.explain(key, known)
        pipeline.meant.add((pipeline.name, (meant,)))
        pipeline.error([own], (key,), Refusal(message, hint_of), key=True)
