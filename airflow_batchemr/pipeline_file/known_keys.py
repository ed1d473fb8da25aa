"""The keys that a pipeline file accepts at each level, derived from the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.models import Job, Pipeline

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.models.base import Model


#: Top-level keys of a file that do not name a pipeline.
RESERVED = ("defaults", "env", "vars")


def keys_of(model: type[Model]) -> tuple[str, ...]:
    """The keys of a block, in the order of the model's fields."""
    return tuple(field.serialization_alias or name for name, field in model.model_fields.items())


#: Keys of a pipeline.
PIPELINE_KEYS = (*(key for key in keys_of(Pipeline) if key != "name"), "matrix", "defaults")
#: Keys of a job.
JOB_KEYS = (*(key for key in keys_of(Job) if key != "name"), "extends", "matrix")
#: Keys of both. In a single-job pipeline they belong to the pipeline, except `deadline`, which applies to both.
SHARED_KEYS = tuple(key for key in JOB_KEYS if key in PIPELINE_KEYS)
#: Keys of a `defaults` block.
DEFAULTS_KEYS = tuple(
    key
    for key in dict.fromkeys((*PIPELINE_KEYS, *JOB_KEYS))
    if key not in ("jobs", "clusters", "matrix", "defaults", "extends", "after", "operator", "with", "description")
)
#: Keys of `defaults` that are merged into pipelines.
PIPELINE_DEFAULTS = frozenset(DEFAULTS_KEYS) & frozenset(PIPELINE_KEYS)
#: Keys of `defaults` that are merged into jobs; shared keys are merged into the pipeline only.
JOB_DEFAULTS = frozenset(DEFAULTS_KEYS) & frozenset(JOB_KEYS) - frozenset(SHARED_KEYS)
#: Blocks of `defaults` that are merged only into jobs that have the same block.
BLOCKS = ("batch", "emr", "spark", "array")
#: Keys of `defaults` that are merged only into jobs that run on EMR.
EMR_KEYS = ("steps", "load", "save", "on", "on_failure", "execution_role", "resume_steps")
