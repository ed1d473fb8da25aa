"""AWS Batch operations on jobs."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import containers, describe, limits
from airflow_batchemr.local.batch.limits import refuse
from airflow_batchemr.local.batch.state import Job, arn
from airflow_batchemr.local.clock import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.local.batch.jobs import Jobs
    from airflow_batchemr.local.batch.resources import Resources
    from airflow_batchemr.local.protocol import Call, Operation
    from airflow_batchemr.local.visibility import Visibility

__all__ = ["BatchService"]

log = logging.getLogger(__name__)

#: AWS: ids per CancelJobs or TerminateJobs.
MAX_STOPS = 50
#: AWS: tags of a job together with those of its definition. Source: `propagateTags` of SubmitJob in the API reference.
MAX_TAGS = 50
TOO_MANY_TAGS = "The total number of combined tags from the job and job definition is over 50"
#: A job, or a child of an array.
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:\d+)?")


class BatchService:
    """All operations of AWS Batch. Those on definitions, queues and compute environments are in `Resources`."""

    def __init__(self, jobs: Jobs, resources: Resources, visibility: Visibility) -> None:
        self.jobs = jobs
        self.resources = resources
        self._visibility = visibility
        self.operations: Mapping[str, Operation] = {
            **resources.operations,
            "SubmitJob": self.submit_job,
            "DescribeJobs": self.describe_jobs,
            "ListJobs": self.list_jobs,
            "CancelJob": self.cancel_job,
            "TerminateJob": self.terminate_job,
            "CancelJobs": self.cancel_jobs,
            "TerminateJobs": self.terminate_jobs,
            "GetJobQueueSnapshot": self.get_job_queue_snapshot,
        }

    def submit_job(self, call: Call) -> dict[str, Any]:
        """SubmitJob."""
        request = call.params
        limits.check_submit(request)
        with self.jobs.lock:
            queue = self.resources.queue(request["jobQueue"])
            if queue.detail["state"] != "ENABLED":
                raise refuse(f"Job queue {queue.name} is not ENABLED")
            fair_share = "schedulingPolicyArn" in queue.detail
            if fair_share != ("shareIdentifier" in request):
                must = "must" if fair_share else "must not"
                raise refuse(
                    f"shareIdentifier {must} be given: {queue.name} has {'a' if fair_share else 'no'} scheduling policy"
                )
            definition = self.resources.definition(request["jobDefinition"])
            containers.check_overrides(request, definition)
            self._check_dependencies(request)
            self._check_resources(request, definition)
            # Tags of the definition propagate to ECS tasks only
            combined = {*definition.get("tags", {}), *request.get("tags", {})}
            propagated = request.get("propagateTags", definition.get("propagateTags"))
            failure = TOO_MANY_TAGS if propagated and len(combined) > MAX_TAGS else None
            job = self.jobs.add(request, definition, queue, call.region, failure)
        log.info("submitted %s %s", job.name, job.id)
        return {"jobArn": arn(call.region, "job", job.id), "jobName": job.name, "jobId": job.id}

    @staticmethod
    def _check_resources(request: dict[str, Any], definition: dict[str, Any]) -> None:
        """Check what the definition and the overrides of the request require together."""
        if "containerProperties" in definition:
            overridden = request.get("containerOverrides", {}).get("resourceRequirements", [])
            both = [*definition["containerProperties"].get("resourceRequirements", []), *overridden]
            limits.check_resources(both, fargate="FARGATE" in definition["platformCapabilities"])

    def _check_dependencies(self, request: dict[str, Any]) -> None:
        size = request.get("arrayProperties", {}).get("size")
        for dependency in request.get("dependsOn", []):
            if not dependency.get("jobId"):
                continue
            other = self.jobs.find(dependency["jobId"])
            if other is None:
                raise refuse(f"Job {dependency['jobId']} in dependsOn does not exist")
            if dependency.get("type") == "N_TO_N" and (other.children is None or len(other.children) != size):
                theirs = len(other.children) if other.children is not None else 1
                raise refuse(f"N_TO_N needs arrays of the same size, but {other.id} has {theirs} and this one {size}")

    def describe_jobs(self, call: Call) -> dict[str, Any]:
        """DescribeJobs; unknown ids are omitted."""
        ids = call.params["jobs"]
        if not 1 <= len(ids) <= 100:
            raise refuse(f"jobs must have 1 to 100 entries, not {len(ids)}")
        with self.jobs.lock:
            found = [self.jobs.find(job_id.rpartition("job/")[2]) for job_id in ids]
            return {"jobs": [describe.detail(job) for job in found if job is not None and self._visible(job)]}

    def list_jobs(self, call: Call) -> dict[str, Any]:
        """ListJobs."""
        params = call.params
        given = [key for key in ("jobQueue", "arrayJobId", "multiNodeJobId") if params.get(key)]
        if len(given) != 1:
            raise refuse("exactly one of jobQueue, arrayJobId and multiNodeJobId must be given")
        status, filters = params.get("jobStatus"), params.get("filters", [])
        most = 100 if filters else 1000
        limit = params.get("maxResults", most)
        if limit < 1:
            raise refuse(f"maxResults must be at least 1, not {limit}")
        if len(filters) > 1 or any(len(each.get("values", [])) != 1 for each in filters):
            raise refuse("Only one filter key-value pair can be specified.")
        if filters and "jobQueue" not in params:
            raise refuse("filters need a jobQueue")
        only = (filters[0].get("name", ""), filters[0]["values"][0]) if filters else None
        with self.jobs.lock:
            if "jobQueue" in params:
                queue = self.resources.queue(params["jobQueue"])
                jobs = [job for job in self.jobs.jobs.values() if job.queue is queue]
            else:
                parent = self._existing(params[given[0]])
                jobs = parent.children or parent.nodes or []
            visible = [job for job in jobs if self._visible(job)]
            return describe.page(visible, status, only, min(limit, most), params.get("nextToken"))

    def _visible(self, job: Job) -> bool:
        return not self._visibility.hides(job.id, job.created_at / 1000)

    def cancel_job(self, call: Call) -> dict[str, Any]:
        """CancelJob; an unknown job is not an error, as on AWS."""
        return self._stop(call, self.jobs.cancel)

    def terminate_job(self, call: Call) -> dict[str, Any]:
        """TerminateJob; an unknown job is not an error, as on AWS."""
        return self._stop(call, self.jobs.terminate)

    def _stop(self, call: Call, how: Any) -> dict[str, Any]:
        limits.check_reason(call.params["reason"])
        job = self.jobs.find(call.params["jobId"])
        if job is not None:
            how(job, call.params["reason"])
        return {}

    def cancel_jobs(self, call: Call) -> dict[str, Any]:
        """CancelJobs."""
        return self._stop_all(call, self.jobs.cancel)

    def terminate_jobs(self, call: Call) -> dict[str, Any]:
        """TerminateJobs."""
        return self._stop_all(call, self.jobs.terminate)

    def _stop_all(self, call: Call, how: Any) -> dict[str, Any]:
        """Stop up to 50 jobs. As documented, the result of each is in the response, and unknown jobs are successful."""
        ids = call.params["jobs"]
        if not 1 <= len(ids) <= MAX_STOPS:
            raise refuse(f"jobs must have 1 to {MAX_STOPS} entries, not {len(ids)}")
        wrong = [job_id for job_id in ids if not _JOB_ID.fullmatch(job_id)]
        for job_id in ids:
            job = None if job_id in wrong else self.jobs.find(job_id)
            if job is not None:
                how(job, call.params["reason"])
        errors = [
            {"job": job_id, "code": "ValidationException", "message": f"Job ID {job_id} is not valid"}
            for job_id in wrong
        ]
        return {"successful": [job_id for job_id in ids if job_id not in wrong], "errors": errors}

    def get_job_queue_snapshot(self, call: Call) -> dict[str, Any]:
        """GetJobQueueSnapshot: the first 100 RUNNABLE jobs of a queue."""
        with self.jobs.lock:
            queue = self.resources.queue(call.params["jobQueue"])
            waiting = [job for job in queue.waiting if job.status == "RUNNABLE"][:100]
            front = [
                {"jobArn": arn(job.region, "job", job.id), "earliestTimeAtPosition": job.created_at} for job in waiting
            ]
        return {"frontOfQueue": {"jobs": front, "lastUpdatedAt": milliseconds()}}

    def _existing(self, job_id: str) -> Job:
        job = self.jobs.find(job_id)
        if job is None:
            raise refuse(f"Job {job_id} does not exist")
        return job
