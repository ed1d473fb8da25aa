"""The models of a pipeline file."""

from __future__ import annotations

from airflow_batchemr.spec.models.array import Array
from airflow_batchemr.spec.models.batch import Batch
from airflow_batchemr.spec.models.emr import Emr
from airflow_batchemr.spec.models.instances import Ebs, Fleet, Group
from airflow_batchemr.spec.models.job import Job
from airflow_batchemr.spec.models.notify import Notify
from airflow_batchemr.spec.models.pipeline import Param, Pipeline
from airflow_batchemr.spec.models.schedule import Assets, Schedule
from airflow_batchemr.spec.models.spark import Copy, Spark, Step

__all__ = [
    "Array",
    "Assets",
    "Batch",
    "Copy",
    "Ebs",
    "Emr",
    "Fleet",
    "Group",
    "Job",
    "Notify",
    "Param",
    "Pipeline",
    "Schedule",
    "Spark",
    "Step",
]
