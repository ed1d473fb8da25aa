"""EMR steps: one module per kind, the registry of kinds, and the model of a step."""

from __future__ import annotations

from airflow_batchemr.pipeline_file.steps.kinds import KINDS
from airflow_batchemr.pipeline_file.steps.step import STEPS, Step, as_steps

__all__ = ["KINDS", "STEPS", "Step", "as_steps"]
