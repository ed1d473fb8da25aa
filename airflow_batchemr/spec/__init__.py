"""What the user wrote: reading pipeline files, their models, and their mistakes."""

from __future__ import annotations

from airflow_batchemr.spec.errors import SpecError
from airflow_batchemr.spec.load import FOLDER_FILE, SpecFile, find_files, load_file
from airflow_batchemr.spec.models import Job, Pipeline

__all__ = ["FOLDER_FILE", "Job", "Pipeline", "SpecError", "SpecFile", "find_files", "load_file"]
