"""Words that people write where they do not stand: Airflow's own, and those of a block one level too high."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file import vocabulary
from airflow_batchemr.pipeline_file.models.array import Array
from airflow_batchemr.pipeline_file.models.batch import Batch
from airflow_batchemr.pipeline_file.models.emr import Emr
from airflow_batchemr.pipeline_file.models.spark import Spark
from airflow_batchemr.pipeline_file.validation import unknown

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
}
_HINTS = {"trigger_rule": "write `after: {job: finished}`, or `failed`, for each job that it is after"}
_MODELS: dict[str, type[Model]] = {"batch": Batch, "emr": Emr, "spark": Spark, "array": Array}
_BLOCKS = {name: frozenset(vocabulary.words_of(model)) for name, model in _MODELS.items()}


def told(word: str, known: Sequence[str]) -> tuple[str, str | None, str]:
    """What to tell of a word that is none of those known here.

    Returns:
        the message, a hint, and the word that was probably meant, of those known; else the word itself.
    """
    other = _OTHER_NAMES.get(word)
    if other in known:
        return f"unknown word `{word}`", f"did you mean `{other}`?", str(other)
    blocks = [name for name, block in _BLOCKS.items() if word in block and name in known]
    if blocks:
        where = " or ".join(f"`{name}:`" for name in blocks)
        return f"unknown word `{word}`", f"write it below {where}", blocks[0]
    if word in _HINTS:
        return f"unknown word `{word}`", _HINTS[word], word
    problem = unknown(word, known, ())
    return problem.message, problem.hint, problem.meant or word
