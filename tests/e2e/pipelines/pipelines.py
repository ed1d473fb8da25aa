"""The end-to-end tests' Dags."""

from __future__ import annotations

from airflow_batchemr import load_pipelines

load_pipelines(globals(), __file__)
