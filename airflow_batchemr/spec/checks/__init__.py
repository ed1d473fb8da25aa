"""What the models cannot see by themselves: each check yields the problems that it finds."""

from __future__ import annotations

from airflow_batchemr.spec.checks.jobs import job
from airflow_batchemr.spec.checks.names import name
from airflow_batchemr.spec.checks.order import order
from airflow_batchemr.spec.checks.pipelines import pipeline

__all__ = ["job", "name", "order", "pipeline"]
