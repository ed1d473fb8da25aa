"""A local AWS that runs Batch jobs and EMR steps as local processes. moto provides the other services."""

from __future__ import annotations

from airflow_batchemr.local.server import LocalAWS

__all__ = ["LocalAWS"]
