"""AWS Batch array jobs and short-lived EMR clusters as Airflow Dags, defined in short YAML pipeline files.

Importing this package does not import Airflow. The public names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from airflow_batchemr.factory import build_dags, load_pipelines
    from airflow_batchemr.notifiers.pipeline import PipelineNotifier
    from airflow_batchemr.operators.batch import BatchArrayOperator
    from airflow_batchemr.operators.emr import (
        EmrCreateClusterOperator,
        EmrJobRunOperator,
        EmrStepsOperator,
        EmrTerminateClusterOperator,
        EphemeralEmrOperator,
    )
    from airflow_batchemr.sensors.marker import S3MarkerSensor

_WHERE = {
    "build_dags": "factory",
    "load_pipelines": "factory",
    "BatchArrayOperator": "operators.batch",
    "EmrCreateClusterOperator": "operators.emr",
    "EmrJobRunOperator": "operators.emr",
    "EmrStepsOperator": "operators.emr",
    "EphemeralEmrOperator": "operators.emr",
    "EmrTerminateClusterOperator": "operators.emr",
    "PipelineNotifier": "notifiers.pipeline",
    "S3MarkerSensor": "sensors.marker",
}

__all__ = [
    "BatchArrayOperator",
    "EmrCreateClusterOperator",
    "EmrJobRunOperator",
    "EmrStepsOperator",
    "EmrTerminateClusterOperator",
    "EphemeralEmrOperator",
    "PipelineNotifier",
    "S3MarkerSensor",
    "__version__",
    "build_dags",
    "load_pipelines",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
