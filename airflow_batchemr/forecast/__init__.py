"""What a run would do now: runs the engine with a ledger that is not written, and clients that only read."""

from __future__ import annotations

from airflow_batchemr.forecast.clients import ForecastWriteError, reading
from airflow_batchemr.forecast.dates import run_date
from airflow_batchemr.forecast.pipeline import PipelineForecast, forecast_pipeline
from airflow_batchemr.forecast.task import TaskForecast

__all__ = [
    "ForecastWriteError",
    "PipelineForecast",
    "TaskForecast",
    "forecast_pipeline",
    "reading",
    "run_date",
]
