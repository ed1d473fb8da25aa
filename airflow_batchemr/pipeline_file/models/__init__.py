"""The pydantic models of a pipeline file."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.models.array import Array
from airflow_batchemr.pipeline_file.models.batch import Batch
from airflow_batchemr.pipeline_file.models.emr import Emr
from airflow_batchemr.pipeline_file.models.instances import Ebs, Fleet, Group
from airflow_batchemr.pipeline_file.models.job import Job
from airflow_batchemr.pipeline_file.models.notify import Notify
from airflow_batchemr.pipeline_file.models.pipeline import Param, Pipeline
from airflow_batchemr.pipeline_file.models.schedule import Assets, Schedule
from airflow_batchemr.pipeline_file.models.spark import Spark
from airflow_batchemr.pipeline_file.steps import Step
from airflow_batchemr.pipeline_file.steps.copy import Copy

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
