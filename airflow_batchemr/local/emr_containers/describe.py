"""Virtual clusters and job runs in the format of EMR on EKS, which writes times as ISO 8601 strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.state import ACCOUNT

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_batchemr.local.emr_containers.virtual_clusters import VirtualCluster
    from airflow_batchemr.local.job_runs.runs import JobRun

__all__ = ["job_run", "virtual_cluster"]

CREATOR = f"arn:aws:iam::{ACCOUNT}:user/local"


def virtual_cluster(cluster: VirtualCluster) -> dict[str, Any]:
    """Return the VirtualCluster structure of a virtual cluster."""
    return {
        "id": cluster.id,
        "name": cluster.request["name"],
        "arn": cluster.arn,
        "state": cluster.state,
        "containerProvider": cluster.request["containerProvider"],
        "createdAt": _iso(cluster.created),
        "tags": dict(cluster.tags),
    }


def job_run(run: JobRun) -> dict[str, Any]:
    """Return the JobRun structure of DescribeJobRun and ListJobRuns."""
    copied = ("name", "clientToken", "executionRoleArn", "releaseLabel", "configurationOverrides", "jobDriver")
    described = {
        "id": run.id,
        "virtualClusterId": run.place,
        "arn": run.arn,
        "state": run.state,
        "createdAt": _iso(run.created),
        "createdBy": CREATOR,
        "tags": dict(run.tags),
        **{name: run.request[name] for name in copied if name in run.request},
    }
    if run.ended is not None:
        described["finishedAt"] = _iso(run.ended)
    if run.details:
        described["stateDetails"] = run.details[:256]
    if run.state == "FAILED":
        described["failureReason"] = "INTERNAL_ERROR" if run.code is None else "USER_ERROR"
    return described


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
