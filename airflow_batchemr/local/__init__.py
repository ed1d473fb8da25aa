"""A local AWS that really runs the work: Batch and EMR as processes of this machine, the rest by moto."""

from __future__ import annotations

from airflow_batchemr.local.server import LocalAWS

__all__ = ["LocalAWS"]
