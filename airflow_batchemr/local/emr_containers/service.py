"""Operations of EMR on EKS."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr_containers import describe
from airflow_batchemr.local.emr_containers.virtual_clusters import VirtualCluster
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

__all__ = ["EmrContainersService"]

STATES = States(("PENDING", "SUBMITTED"), "COMPLETED", "CANCEL_PENDING")
#: Seconds that a driver has to exit after SIGTERM: the grace period of a Kubernetes pod.
GRACE = 30
DRIVER_ENV = "spark.kubernetes.driverEnv."
#: `emr-7.5.0-latest`, or with a date. Source: "Amazon EMR on EKS releases" in the development guide.
RELEASE = r"(emr-\d+\.\d+\.\d+)-(?:latest|\d{8})"


class EmrContainersService:
    """Virtual clusters and their job runs.

    Args:
        clock: Delays state changes.
        drivers: Runs the drivers.
        visibility: Hides resources.
    """

    def __init__(self, clock: Clock, drivers: Drivers, visibility: Visibility) -> None:
        self.runs = JobRuns(clock, drivers, STATES, failure)
        self.clusters: dict[str, VirtualCluster] = {}
        self._numbers = itertools.count(1)
        self._visibility = visibility
        # The service has no ConflictException.
        self._tokens: ClientTokens[Any] = ClientTokens(invalid)
        self.operations: Mapping[str, Operation] = {
            "CreateVirtualCluster": self.create_virtual_cluster,
            "DescribeVirtualCluster": self.describe_virtual_cluster,
            "ListVirtualClusters": self.list_virtual_clusters,
            "DeleteVirtualCluster": self.delete_virtual_cluster,
            "StartJobRun": self.start_job_run,
            "DescribeJobRun": self.describe_job_run,
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
            self.clusters.clear()
            self._tokens.clear()

    # Virtual clusters

    def create_virtual_cluster(self, call: Call) -> dict[str, Any]:
        """CreateVirtualCluster."""
        with self.runs.lock:
            cluster = self._tokens.find("virtual cluster", call.params)
            if cluster is None:
                cluster = self.add_cluster(new_id("", 25), call.params, call.region)
                self._tokens.keep("virtual cluster", call.params, cluster)
        return {"id": cluster.id, "name": cluster.request["name"], "arn": cluster.arn}

    def add_cluster(self, cluster_id: str, request: dict[str, Any], region: str) -> VirtualCluster:
        """Create a virtual cluster.

        Raises:
            AwsError: The namespace already has one.
        """
        with self.runs.lock:
            cluster = VirtualCluster(next(self._numbers), cluster_id, region, request, dict(request.get("tags", {})))
            for other in self.clusters.values():
                if other.state != "TERMINATED" and other.namespace == cluster.namespace:
                    raise invalid(f"A virtual cluster already exists in the given namespace: {other.id}")
            self.clusters[cluster_id] = cluster
            return cluster

    def describe_virtual_cluster(self, call: Call) -> dict[str, Any]:
        """DescribeVirtualCluster."""
        with self.runs.lock:
            cluster = self._cluster(call, "id")
            if self._visibility.hides(cluster.id, cluster.created.timestamp()):
                raise _missing(call, f"Virtual cluster {cluster.id} doesn't exist.")
            return {"virtualCluster": describe.virtual_cluster(cluster)}

    def list_virtual_clusters(self, call: Call) -> dict[str, Any]:
        """ListVirtualClusters, newest first."""
        params = call.params
        inside = between(params, "createdAfter", "createdBefore")
        states, provider = params.get("states", []), params.get("containerProviderId")
        with self.runs.lock:
            found = [
                each
                for each in reversed(list(self.clusters.values()))
                if (not states or each.state in states)
                and provider in (None, each.namespace[0])
                and inside(each.created)
                and not self._visibility.hides(each.id, each.created.timestamp())
            ]
            listed, more = page(found, [each.number for each in found], params)
            return {"virtualClusters": [describe.virtual_cluster(each) for each in listed], **more}

    def delete_virtual_cluster(self, call: Call) -> dict[str, Any]:
        """DeleteVirtualCluster; its job runs must have ended. It can still be described."""
        with self.runs.lock:
            cluster = self._cluster(call, "id")
            if self.runs.active(cluster.id):
                raise invalid(f"Virtual cluster {cluster.id} has job runs that have not ended")
            cluster.state = "TERMINATED"
        return {"id": cluster.id}

    def _cluster(self, call: Call, member: str = "virtualClusterId") -> VirtualCluster:
        cluster = self.clusters.get(call.params[member])
        if cluster is None:
            raise _missing(call, f"Virtual cluster {call.params[member]} doesn't exist.")
        return cluster

    # Job runs

    def start_job_run(self, call: Call) -> dict[str, Any]:
        """StartJobRun."""
        params = call.params
        with self.runs.lock:
            cluster = self._cluster(call)
            run = self._tokens.find(cluster.id, params)
            if run is None:
                run = self._new_run(cluster, params)
                self._tokens.keep(cluster.id, params, run)
        name = {"name": params["name"]} if "name" in params else {}
        return {"id": run.id, "arn": run.arn, "virtualClusterId": cluster.id, **name}

    def _new_run(self, cluster: VirtualCluster, params: dict[str, Any]) -> JobRun:
        if cluster.state != "RUNNING":
            raise invalid(f"Virtual cluster {cluster.id} is not in RUNNING state")
        for name in ("executionRoleArn", "releaseLabel", "jobDriver"):
            if name not in params:
                raise invalid(f"{name} must be given: job templates are not served by the local AWS")
        check_release(params["releaseLabel"], RELEASE)
        submit = params["jobDriver"].get("sparkSubmitJobDriver")
        if submit is None:
            raise invalid("jobDriver must be sparkSubmitJobDriver: the local AWS runs no other")
        if params.get("retryPolicyConfiguration", {}).get("maxAttempts", 1) > 1:
            raise invalid("retryPolicyConfiguration is not served by the local AWS")
        overrides = params.get("configurationOverrides", {})
        try:
            argv, environment = spark_command(
                submit.get("sparkSubmitParameters", ""),
                [submit["entryPoint"], *submit.get("entryPointArguments", [])],
                spark_defaults(overrides),
                DRIVER_ENV,
            )
        except ValueError as error:
            raise invalid(f"sparkSubmitParameters: {error}") from error
        run_id = new_id("0000000", 19)
        uri = overrides.get("monitoringConfiguration", {}).get("s3MonitoringConfiguration", {}).get("logUri")
        folder = f"{cluster.id}/jobs/{run_id}/containers/spark-{run_id}/spark-{run_id}-driver/"
        return self.runs.add(
            id=run_id,
            arn=f"{cluster.arn}/jobruns/{run_id}",
            place=cluster.id,
            request=params,
            tags=dict(params.get("tags", {})),
            argv=argv,
            environment=environment,
            log_folder=f"{uri.rstrip('/')}/{folder}" if uri else None,
            timeout=None,
        )

    def describe_job_run(self, call: Call) -> dict[str, Any]:
        """DescribeJobRun."""
        with self.runs.lock:
            run = self._run(call)
            if self._visibility.hides(run.id, run.created.timestamp()):
                raise _missing(call, f"Job run {run.id} doesn't exist.")
            return {"jobRun": describe.job_run(run)}

    def list_job_runs(self, call: Call) -> dict[str, Any]:
        """ListJobRuns, newest first. An unknown virtual cluster is a ValidationException, its only client error."""
        params = call.params
        states, name = params.get("states", []), params.get("name")
        inside = between(params, "createdAfter", "createdBefore")
        with self.runs.lock:
            if params["virtualClusterId"] not in self.clusters:
                raise invalid(f"Virtual cluster {params['virtualClusterId']} doesn't exist.")
            found = [
                run
                for run in self.runs.of(params["virtualClusterId"])
                if (not states or run.state in states)
                and name in (None, run.request.get("name"))
                and inside(run.created)
                and not self._visibility.hides(run.id, run.created.timestamp())
            ]
            listed, more = page(found, [run.number for run in found], params)
            return {"jobRuns": [describe.job_run(run) for run in listed], **more}

    def cancel_job_run(self, call: Call) -> dict[str, Any]:
        """CancelJobRun; rejected for a run that has ended."""
        with self.runs.lock:
            run = self._run(call)
            if not self.runs.cancel(run, GRACE, "JobRun cancelled successfully."):
                raise invalid(f"Job run {run.id} is not in a cancellable state")
        return {"id": run.id, "virtualClusterId": run.place}

    def _run(self, call: Call) -> JobRun:
        self._cluster(call)
        run = self.runs.find(call.params["virtualClusterId"], call.params["id"])
        if run is None:
            raise _missing(call, f"Job run {call.params['id']} doesn't exist.")
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
        cluster_id, _, run_id = arn.rpartition("/virtualclusters/")[2].partition("/jobruns/")
        found = self.runs.find(cluster_id, run_id) if run_id else self.clusters.get(cluster_id)
        if found is None:
            raise _missing(call, f"Resource {arn} doesn't exist.")
        return found.tags


def failure(outcome: DriverEnd) -> str:
    """Return the `stateDetails` of a failed run."""
    if outcome.code is None:
        return f"JobRun failed: {outcome.error or 'the node of the driver was lost'}"
    return (
        f"JobRun failed. Main Spark container terminated with errors (exit code {outcome.code}). Please refer logs "
        "uploaded to S3/CloudWatch based on your monitoring configuration."
    )


def _missing(call: Call, message: str) -> AwsError:
    # The service model defines status 400, and no such error of these operations.
    if call.operation in ("CancelJobRun", "DeleteVirtualCluster"):
        return invalid(message)
    return AwsError("ResourceNotFoundException", message, 400)
