"""EMR operators: a job's own cluster, steps on a cluster that is there, and a cluster's setup and teardown."""

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
