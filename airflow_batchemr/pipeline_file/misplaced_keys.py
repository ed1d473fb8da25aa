"""Hints for keys at the wrong place: Airflow's names for them, and keys of a block written one level too high."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.known_keys import keys_of
from airflow_batchemr.pipeline_file.models.array import Array
from airflow_batchemr.pipeline_file.models.batch import Batch
from airflow_batchemr.pipeline_file.models.emr import Emr
from airflow_batchemr.pipeline_file.models.spark import Spark
from airflow_batchemr.pipeline_file.validation import unknown_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.pipeline_file.models.base import Model

_OTHER_NAMES = {
    "schedule_interval": "schedule",
    "depends_on": "after",
    "dependencies": "after",
    "upstream": "after",
    "environment": "env",
    "execution_timeout": "deadline",
    "dagrun_timeout": "deadline",
    "sla": "deadline",
    "email_on_failure": "notify",
    "on_failure_callback": "notify",
    "default_args": "defaults",
    "tasks": "jobs",
}
_HINTS = {"trigger_rule": "set a rule for each upstream job: `after: {job: finished}` or `after: {job: failed}`"}
_MODELS: dict[str, type[Model]] = {"batch": Batch, "emr": Emr, "spark": Spark, "array": Array}
_BLOCKS = {name: frozenset(keys_of(model)) for name, model in _MODELS.items()}


def explain(key: str, known: Sequence[str]) -> tuple[str, str | None, str]:
    """Explain a key that is unknown at its place.

    Args:
        key: the key.
        known: the keys that are allowed there.

    Returns:
        the error message, a hint, and the known key that was probably meant (the key itself if none).
    """
    message = f"unknown key `{key}`"
    other = _OTHER_NAMES.get(key)
    if other in known:
        return message, f"did you mean `{other}`?", str(other)
    blocks = [name for name, block in _BLOCKS.items() if key in block and name in known]
    if blocks:
        return message, f"move it into {' or '.join(f'`{name}:`' for name in blocks)}", blocks[0]
    if key in _HINTS:
        return message, _HINTS[key], key
    problem = unknown_key(key, known, ())
    return problem.message, problem.hint, problem.meant or key
