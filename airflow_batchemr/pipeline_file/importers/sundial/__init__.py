"""Sundial's process definitions as pipelines: `translate` reads what a Sundial file holds."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.importers.sundial.translate import translate

__all__ = ["translate"]
