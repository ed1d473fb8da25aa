"""Import AWS Step Functions state machines (Amazon States Language)."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.importers.step_functions.translate import translate

__all__ = ["translate"]
