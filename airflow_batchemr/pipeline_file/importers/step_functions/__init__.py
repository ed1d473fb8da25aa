"""State machines of AWS Step Functions as pipelines: `translate` reads Amazon States Language."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.importers.step_functions.machine import translate

__all__ = ["translate"]
