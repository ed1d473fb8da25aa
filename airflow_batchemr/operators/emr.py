"""EMR operators: steps on a job's own cluster or on an existing one, and a cluster's setup and teardown."""

from __future__ import annotations

from airflow_batchemr.operators.emr_cluster import EmrCreateClusterOperator, EmrTerminateClusterOperator
from airflow_batchemr.operators.emr_job_run import EmrJobRunOperator
from airflow_batchemr.operators.emr_steps import EmrStepsOperator, EphemeralEmrOperator

__all__ = [
    "EmrCreateClusterOperator",
    "EmrJobRunOperator",
    "EmrStepsOperator",
    "EmrTerminateClusterOperator",
    "EphemeralEmrOperator",
]
