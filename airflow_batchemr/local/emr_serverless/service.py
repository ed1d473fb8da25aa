"""Operations of EMR Serverless."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr_serverless import describe
from airflow_batchemr.local.emr_serverless.applications import AT_REST, SETTINGS, Application, Applications
from airflow_batchemr.local.job_runs.command import spark_command
from airflow_batchemr.local.job_runs.requests import between, check_release, invalid, page, spark_defaults
from airflow_batchemr.local.job_runs.runs import JobRun, JobRuns, States, new_id
from airflow_batchemr.local.job_runs.tokens import ClientTokens
from airflow_batchemr.local.protocol import AwsError, Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.local.clock import Clock
    from airflow_batchemr.local.job_runs.drivers import DriverEnd, Drivers
    from airflow_batchemr.local.protocol import Operation
    from airflow_batchemr.local.visibility import Visibility

__all__ = ["EmrServerlessService"]

log = logging.getLogger(__name__)

STATES = States(("SUBMITTED", "PENDING", "SCHEDULED"), "SUCCESS", "CANCELLING")
#: Default time limit of a run in minutes, and default grace period of a cancelled run in seconds.
#: Source: the API reference of StartJobRun and CancelJobRun.
TIMEOUT, GRACE = 720, 15
DRIVER_ENV = "spark.emr-serverless.driverEnv."
#: First line of a Python or Java exception in the driver's output.
EXCEPTION = re.compile(r"^(?:Caused by: |Exception in thread \S+ )?([\w.]+(?:Error|Exception)\b.*)", re.MULTILINE)


class EmrServerlessService:
    """Applications for Spark and their job runs.

    Args:
        clock: Delays state changes.
        drivers: Runs the drivers.
        visibility: Hides resources.
    """

    def __init__(self, clock: Clock, drivers: Drivers, visibility: Visibility) -> None:
        self.runs = JobRuns(clock, drivers, STATES, failure, hold=self._hold, on_end=self._run_ended)
        self.applications = Applications(
            clock, self.runs.lock, self.runs.release, lambda place: bool(self.runs.active(place))
        )
        self._visibility = visibility
        self._tokens: ClientTokens[Any] = ClientTokens(lambda message: AwsError("ConflictException", message, 409))
        self.operations: Mapping[str, Operation] = {
            "CreateApplication": self.create_application,
            "GetApplication": self.get_application,
            "ListApplications": self.list_applications,
            "UpdateApplication": self.update_application,
            "DeleteApplication": self.delete_application,
            "StartApplication": self.start_application,
            "StopApplication": self.stop_application,
            "StartJobRun": self.start_job_run,
            "GetJobRun": self.get_job_run,
            "ListJobRuns": self.list_job_runs,
            "CancelJobRun": self.cancel_job_run,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "ListTagsForResource": self.list_tags_for_resource,
        }

    def clear(self) -> None:
        """Delete everything. The drivers are killed by `Drivers.clear`."""
        with self.runs.lock:
            self.runs.clear()
            self.applications.clear()
            self._tokens.clear()

    def add_application(self, application_id: str, request: dict[str, Any], region: str) -> None:
        """Add an application with a given id, for a new account."""
        self.applications.add(application_id, request, region)

    # Applications

    def create_application(self, call: Call) -> dict[str, Any]:
        """CreateApplication."""
        params = call.params
        with self.runs.lock:
            application = self._tokens.find("application", params)
            if application is None:
                check_release(params["releaseLabel"])
                if params["type"].upper() not in ("SPARK", "HIVE"):
                    raise invalid(f"type must be SPARK or HIVE, not {params['type']}")
                application = self.applications.add(new_id("00f", 16), params, call.region)
                self._tokens.keep("application", params, application)
        name = {"name": application.name} if application.name else {}
        return {"applicationId": application.id, "arn": application.arn, **name}

    def get_application(self, call: Call) -> dict[str, Any]:
        """GetApplication."""
        with self.runs.lock:
            return {"application": describe.application_detail(self._application(call, visible=True))}

    def list_applications(self, call: Call) -> dict[str, Any]:
        """ListApplications, newest first."""
        states = call.params.get("states", [])
        with self.runs.lock:
            found = [
                each
                for each in reversed(list(self.applications.applications.values()))
                if (not states or each.state in states)
                and not self._visibility.hides(each.id, each.created.timestamp())
            ]
            listed, more = page(found, [each.number for each in found], call.params)
            return {"applications": [describe.application_entry(each) for each in listed], **more}

    def update_application(self, call: Call) -> dict[str, Any]:
        """UpdateApplication."""
        params = call.params
        with self.runs.lock:
            application = self._at_rest(call, "updated")
            if "releaseLabel" in params:
                check_release(params["releaseLabel"])
                application.release = params["releaseLabel"]
            application.settings |= {name: params[name] for name in SETTINGS if name in params}
            return {"application": describe.application_detail(application)}

    def delete_application(self, call: Call) -> dict[str, Any]:
        """DeleteApplication."""
        with self.runs.lock:
            self.applications.delete(self._at_rest(call, "deleted"))
        return {}

    def start_application(self, call: Call) -> dict[str, Any]:
        """StartApplication."""
        with self.runs.lock:
            application = self._application(call)
            if application.state in ("TERMINATED", "STOPPING"):
                raise invalid(f"Application {application.id} cannot be started: it is {application.state}")
            self.applications.start(application)
        return {}

    def stop_application(self, call: Call) -> dict[str, Any]:
        """StopApplication; its job runs must have ended."""
        with self.runs.lock:
            application = self._application(call)
            if self.runs.active(application.id):
                raise invalid(f"Application {application.id} cannot be stopped: it has job runs that have not ended")
            if application.state in ("TERMINATED", "CREATING", "STARTING"):
                raise invalid(f"Application {application.id} cannot be stopped: it is {application.state}")
            self.applications.stop(application)
        return {}

    def _application(self, call: Call, *, visible: bool = False) -> Application:
        application_id = call.params["applicationId"]
        application = self.applications.applications.get(application_id)
        if application is None or (visible and self._visibility.hides(application_id, application.created.timestamp())):
            raise _missing(f"Application {application_id} does not exist")
        return application

    def _at_rest(self, call: Call, what: str) -> Application:
        application = self._application(call)
        if application.state not in AT_REST:
            raise invalid(
                f"Application {application.id} must be CREATED or STOPPED to be {what}: it is {application.state}"
            )
        return application

    # Job runs

    def start_job_run(self, call: Call) -> dict[str, Any]:
        """StartJobRun."""
        params = call.params
        with self.runs.lock:
            application = self._application(call)
            run = self._tokens.find(application.id, params)
            if run is None:
                run = self._new_run(application, params)
                self._tokens.keep(application.id, params, run)
                self.applications.used(application)
                if application.state != "STARTED":
                    self.applications.start(application)
        return {"applicationId": application.id, "jobRunId": run.id, "arn": run.arn}

    def _new_run(self, application: Application, params: dict[str, Any]) -> JobRun:
        if application.state == "TERMINATED" or (application.state != "STARTED" and not application.starts_by_itself):
            raise invalid(f"Application {application.id} is {application.state}, and job runs do not start it")
        submit = params.get("jobDriver", {}).get("sparkSubmit")
        if submit is None or application.type.upper() != "SPARK":
            raise invalid("jobDriver must be sparkSubmit, on a SPARK application: the local AWS runs no other")
        if params.get("mode", "BATCH") != "BATCH" or params.get("retryPolicy", {}).get("maxAttempts", 1) > 1:
            raise invalid("mode STREAMING and retryPolicy are not served by the local AWS")
        overrides = params.get("configurationOverrides", {})
        try:
            argv, environment = spark_command(
                submit.get("sparkSubmitParameters", ""),
                [submit["entryPoint"], *submit.get("entryPointArguments", [])],
                spark_defaults({"applicationConfiguration": application.settings.get("runtimeConfiguration", [])})
                | spark_defaults(overrides),
                DRIVER_ENV,
            )
        except ValueError as error:
            raise invalid(f"sparkSubmitParameters: {error}") from error
        run_id = new_id("00f", 16)
        minutes = params.get("executionTimeoutMinutes", TIMEOUT)
        return self.runs.add(
            id=run_id,
            arn=f"{application.arn}/jobruns/{run_id}",
            place=application.id,
            request=params,
            tags=dict(params.get("tags", {})),
            argv=argv,
            environment=environment,
            log_folder=_log_folder(application, overrides, run_id),
            timeout=minutes * 60 if minutes else None,
        )

    def _hold(self, run: JobRun) -> str | None:
        """Return the state in which a run waits for its application to start or for other runs to end."""
        application = self.applications.applications[run.place]
        if application.state != "STARTED":
            return STATES.starting[0]
        running = [each for each in self.runs.active(run.place) if not each.held and each.state != STATES.starting[0]]
        most = application.most_runs
        return "QUEUED" if most is not None and len(running) >= most else None

    def _run_ended(self, run: JobRun) -> None:
        self.runs.release(run.place)
        self.applications.used(self.applications.applications[run.place])

    def get_job_run(self, call: Call) -> dict[str, Any]:
        """GetJobRun."""
        with self.runs.lock:
            run = self._run(call, visible=True)
            return {"jobRun": describe.run_detail(run, self.applications.applications[run.place])}

    def list_job_runs(self, call: Call) -> dict[str, Any]:
        """ListJobRuns, newest first. An unknown application is a ValidationException, its only client error."""
        params = call.params
        states, mode = params.get("states", []), params.get("mode", "BATCH")
        inside = between(params, "createdAtAfter", "createdAtBefore")
        with self.runs.lock:
            application = self.applications.applications.get(params["applicationId"])
            if application is None:
                raise invalid(f"Application {params['applicationId']} does not exist")
            found = [
                run
                for run in self.runs.of(application.id)
                if (not states or run.state in states)
                and mode == "BATCH"
                and inside(run.created)
                and not self._visibility.hides(run.id, run.created.timestamp())
            ]
            listed, more = page(found, [run.number for run in found], params)
            return {"jobRuns": [describe.run_entry(run, application) for run in listed], **more}

    def cancel_job_run(self, call: Call) -> dict[str, Any]:
        """CancelJobRun; rejected for a run that has ended."""
        with self.runs.lock:
            run = self._run(call)
            grace = call.params.get("shutdownGracePeriodInSeconds", GRACE)
            if not self.runs.cancel(run, grace, "The job run was cancelled by a request"):
                raise invalid(f"Job run {run.id} is not in a cancellable state")
        return {"applicationId": run.place, "jobRunId": run.id}

    def _run(self, call: Call, *, visible: bool = False) -> JobRun:
        self._application(call)
        run = self.runs.find(call.params["applicationId"], call.params["jobRunId"])
        if run is None or (visible and self._visibility.hides(run.id, run.created.timestamp())):
            raise _missing(f"Job run {call.params['jobRunId']} does not exist")
        return run

    # Tags

    def tag_resource(self, call: Call) -> dict[str, Any]:
        """TagResource."""
        with self.runs.lock:
            self._tags(call).update(call.params["tags"])
        return {}

    def untag_resource(self, call: Call) -> dict[str, Any]:
        """UntagResource."""
        with self.runs.lock:
            tags = self._tags(call)
            for key in call.params["tagKeys"]:
                tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, call: Call) -> dict[str, Any]:
        """ListTagsForResource."""
        with self.runs.lock:
            return {"tags": dict(self._tags(call))}

    def _tags(self, call: Call) -> dict[str, str]:
        arn = call.params["resourceArn"]
        application_id, _, run_id = arn.rpartition("/applications/")[2].partition("/jobruns/")
        found = self.runs.find(application_id, run_id) if run_id else self.applications.applications.get(application_id)
        if found is None:
            raise _missing(f"Resource {arn} does not exist")
        return found.tags


def failure(outcome: DriverEnd) -> str:
    """Return the `stateDetails` of a failed run, at most 256 characters."""
    if outcome.code is None:
        return f"Job failed: {outcome.error or 'the worker of the driver was lost'}"
    exceptions = EXCEPTION.findall(outcome.output)
    last = f" Last few exceptions: {exceptions[-1]}" if exceptions else ""
    return f"Job failed, check the logs in the configured logging destination. ExitCode: {outcome.code}.{last}"


def _log_folder(application: Application, overrides: Mapping[str, Any], run_id: str) -> str | None:
    """Return the folder of the driver's logs, from the monitoring configuration of the run or of the application."""
    monitoring = overrides.get("monitoringConfiguration") or application.settings.get("monitoringConfiguration", {})
    uri = monitoring.get("s3MonitoringConfiguration", {}).get("logUri")
    return f"{uri.rstrip('/')}/applications/{application.id}/jobs/{run_id}/SPARK_DRIVER/" if uri else None


def _missing(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message, 404)
