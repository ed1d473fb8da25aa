"""The kinds of EMR steps.

To add a kind, such as Pig scripts:

1.  Write `pig.py` in this folder with one class, `PigStep(StepKind)`. Its first field is the key that selects the
    kind (`pig: Word = Field(description=…)`); further fields are keys that are only accepted beside it. If the key
    takes a mapping, define its model in the same file.
2.  Implement `default_name` (the step's name on EMR) and `config` (its StepConfig; `command_runner` builds that of a
    command). Override `needs` if the cluster must have an application or a release, `is_copy` if the step only moves
    data between S3 and HDFS, and `on_failure` or `logs` if the key has such options.
3.  Add the class to `KINDS`. Validation, the JSON Schema, the messages and the clusters' requirements follow from it.
4.  Run `python -m airflow_batchemr.pipeline_file.reference`, which updates the table of steps in docs/pipeline-file.md;
    add the key to the sentence above that table. If the key takes a mapping, first add a heading and an empty table
    for its model; a test reports it.
5.  Add the step and its StepConfig to `test_each_kind_of_step_becomes_what_emr_runs` (tests/unit/emr/test_steps.py),
    and the key to the message that tests/corpus/emr_step_two_kinds.yaml expects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.steps.command import CommandStep
from airflow_batchemr.pipeline_file.steps.copy import CopyStep
from airflow_batchemr.pipeline_file.steps.hive import HiveStep
from airflow_batchemr.pipeline_file.steps.jar import JarStep
from airflow_batchemr.pipeline_file.steps.raw import RawStep
from airflow_batchemr.pipeline_file.steps.spark import SparkStep

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.steps.base import StepKind

#: All kinds, in the order of the reference and of messages.
KINDS: tuple[type[StepKind], ...] = (CommandStep, JarStep, SparkStep, HiveStep, CopyStep, RawStep)
