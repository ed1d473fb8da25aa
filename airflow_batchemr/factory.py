"""Public module of the Dag factory. The implementation is in `airflow_batchemr.dags.load`."""

from __future__ import annotations

from airflow_batchemr.dags.load import PipelineFilesError, build_dags, load_pipelines

__all__ = ["PipelineFilesError", "build_dags", "load_pipelines"]
