"""Applications and job runs in the format of EMR Serverless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.state import ACCOUNT

if TYPE_CHECKING:
    from airflow_batchemr.local.emr_serverless.applications import Application
    from airflow_batchemr.local.job_runs.runs import JobRun

__all__ = ["application_detail", "application_entry", "run_detail", "run_entry"]

#: `stateDetails` is required, and the model does not allow an empty one.
DETAILS = {
    "SUBMITTED": "The job run waits to be scheduled",
    "QUEUED": "The job run waits for other runs of the application to end",
    "PENDING": "The scheduler evaluates the job run",
    "SCHEDULED": "Resources are being allocated to the job run",
    "RUNNING": "The driver is running",
    "SUCCESS": "The job run has completed",
    "CANCELLING": "The job run is being cancelled",
    "CANCELLED": "The job run was cancelled",
    "FAILED": "The job run failed",
}
CREATOR = f"arn:aws:iam::{ACCOUNT}:user/local"


def application_detail(application: Application) -> dict[str, Any]:
    """Return the Application structure of an application."""
    entry = application_entry(application)
    return {"applicationId": entry.pop("id"), **entry, **application.settings, "tags": dict(application.tags)}


def application_entry(application: Application) -> dict[str, Any]:
    """Return the ApplicationSummary of an application."""
    return {
        "id": application.id,
        **({"name": application.name} if application.name else {}),
        "arn": application.arn,
        "releaseLabel": application.release,
        "type": application.type,
        "state": application.state,
        "createdAt": application.created,
        "updatedAt": application.updated,
        "architecture": application.settings["architecture"],
    }


def run_detail(run: JobRun, application: Application) -> dict[str, Any]:
    """Return the JobRun structure of a job run."""
    request = run.request
    copied = ("configurationOverrides", "executionIamPolicy", "retryPolicy", "flexExecution")
    described = {
        **_common(run, application),
        "jobRunId": run.id,
        "jobDriver": request["jobDriver"],
        "tags": dict(run.tags),
        "executionTimeoutMinutes": round((run.timeout or 0) / 60),
        "attempt": 1,
        **{name: request[name] for name in copied if name in request},
    }
    if run.started is not None:
        described["startedAt"] = run.started
        end = run.ended or run.updated
        described["totalExecutionDurationSeconds"] = round((end - run.started).total_seconds())
    if run.ended is not None:
        described["endedAt"] = run.ended
    return described


def run_entry(run: JobRun, application: Application) -> dict[str, Any]:
    """Return the JobRunSummary of a job run, which has no tags."""
    return {**_common(run, application), "id": run.id, "type": application.type}


def _common(run: JobRun, application: Application) -> dict[str, Any]:
    return {
        "applicationId": run.place,
        **({"name": run.request["name"]} if "name" in run.request else {}),
        "arn": run.arn,
        "mode": run.request.get("mode", "BATCH"),
        "createdBy": CREATOR,
        "createdAt": run.created,
        "updatedAt": run.updated,
        "executionRole": run.request["executionRoleArn"],
        "state": run.state,
        "stateDetails": (run.details or DETAILS[run.state])[:256],
        "releaseLabel": application.release,
    }
