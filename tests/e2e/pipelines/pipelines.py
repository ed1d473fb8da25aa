"""Dags of the end-to-end tests."""

from __future__ import annotations

from airflow_batchemr import load_pipelines

load_pipelines(globals(), __file__)
