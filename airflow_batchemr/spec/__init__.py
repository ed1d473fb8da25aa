"""What the user wrote: reading pipeline files, their models, and their mistakes."""

from __future__ import annotations

from airflow_batchemr.spec.errors import SpecError
from airflow_batchemr.spec.finding import FOLDER_FILE, files_for, find_files
from airflow_batchemr.spec.load import SpecFile, load_file
from airflow_batchemr.spec.models import Job, Pipeline

__all__ = ["FOLDER_FILE", "Job", "Pipeline", "SpecError", "SpecFile", "files_for", "find_files", "load_file"]
