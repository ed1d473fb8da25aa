"""Pipeline files: reading, validation, formatting, JSON Schema and importers. Does not import Airflow."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.definitions import Definitions
from airflow_batchemr.pipeline_file.discovery import FOLDER_FILE, files_for, find_files
from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.load import PipelineFile, load_file
from airflow_batchemr.pipeline_file.models import Job, Pipeline
from airflow_batchemr.pipeline_file.policy import apply_policy

__all__ = [
    "FOLDER_FILE",
    "Definitions",
    "Job",
    "Pipeline",
    "PipelineFile",
    "PipelineFileError",
    "apply_policy",
    "files_for",
    "find_files",
    "load_file",
]
