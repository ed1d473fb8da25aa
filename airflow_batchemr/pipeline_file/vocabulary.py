"""Which words may stand where, taken from the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.models import Job, Pipeline

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.models.base import Model


#: Top-level keys of a file that are no pipelines.
RESERVED = ("defaults", "env", "vars")


def words_of(model: type[Model]) -> tuple[str, ...]:
    """The words of a block, in the order of the model."""
    return tuple(field.serialization_alias or name for name, field in model.model_fields.items())


#: Words of a pipeline.
PIPELINE = (*(word for word in words_of(Pipeline) if word != "name"), "matrix", "defaults")
#: Words of a job.
JOB = (*(word for word in words_of(Job) if word != "name"), "extends", "matrix")
#: Words of both that mean the pipeline in the flat form; `deadline` means both.
SHARED = tuple(word for word in JOB if word in PIPELINE)
#: Words of `defaults`.
DEFAULTS = tuple(
    word
    for word in dict.fromkeys((*PIPELINE, *JOB))
    if word not in ("jobs", "clusters", "matrix", "defaults", "extends", "after", "operator", "with", "description")
)
#: Words of a pipeline that are merged in from `defaults`.
PIPELINE_DEFAULTS = frozenset(DEFAULTS) & frozenset(PIPELINE)
#: Words of a job that are merged in from `defaults`; those of both are the pipeline's.
JOB_DEFAULTS = frozenset(DEFAULTS) & frozenset(JOB) - frozenset(SHARED)
#: Blocks that are merged only where the job has such a block.
BLOCKS = ("batch", "emr", "spark", "array")
#: Words that are merged only where the job has something for EMR to do.
EMR_WORDS = ("steps", "load", "save", "on", "on_failure", "resume_steps")
