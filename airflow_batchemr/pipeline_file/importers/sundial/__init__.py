"""Import Sundial process definitions."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.importers.sundial.translate import translate

__all__ = ["translate"]
