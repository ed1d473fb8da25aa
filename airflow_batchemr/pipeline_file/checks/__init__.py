"""Checks that involve more than one model; each yields the problems that it finds."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.checks.batches import batch
from airflow_batchemr.pipeline_file.checks.dependencies import dependencies
from airflow_batchemr.pipeline_file.checks.jobs import job
from airflow_batchemr.pipeline_file.checks.names import name
from airflow_batchemr.pipeline_file.checks.pipelines import pipeline
from airflow_batchemr.pipeline_file.checks.shells import code
from airflow_batchemr.pipeline_file.checks.templates import JOB_VALUES, PIPELINE_VALUES, templates

__all__ = ["JOB_VALUES", "PIPELINE_VALUES", "batch", "code", "dependencies", "job", "name", "pipeline", "templates"]
