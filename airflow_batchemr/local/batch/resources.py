"""Job definitions, job queues, compute environments, scheduling policies and tags."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import limits
from airflow_batchemr.local.batch.limits import NAME, refuse
from airflow_batchemr.local.batch.state import ComputeEnvironment, Queue, arn, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_batchemr.local.batch.jobs import Jobs
    from airflow_batchemr.local.protocol import Call, Operation

__all__ = ["Resources"]

#: Fields that Batch adds to a container if they are missing.
CONTAINER_DEFAULTS: dict[str, list[Any]] = {
    key: []
    for key in ("command", "environment", "mountPoints", "resourceRequirements", "secrets", "ulimits", "volumes")
}
_LATEST = {"platformVersion": "LATEST"}
_TASK_CONTAINER_DEFAULTS: dict[str, Any] = {"essential": True} | {
    key: [] for key in ("command", "dependsOn", "environment", "mountPoints", "secrets", "ulimits")
}
_POD_DEFAULTS: dict[str, Any] = {key: [] for key in ("env", "volumeMounts")}


class Resources:
    """Operations on resources other than jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.definitions: dict[str, list[dict[str, Any]]] = {}
        self.environments: dict[str, ComputeEnvironment] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.operations: Mapping[str, Operation] = {
            "RegisterJobDefinition": self.register_job_definition,
            "DescribeJobDefinitions": self.describe_job_definitions,
            "DeregisterJobDefinition": self.deregister_job_definition,
            "CreateComputeEnvironment": self.create_compute_environment,
            "DescribeComputeEnvironments": self.describe_compute_environments,
            "UpdateComputeEnvironment": self.update_compute_environment,
            "DeleteComputeEnvironment": self.delete_compute_environment,
            "CreateJobQueue": self.create_job_queue,
            "DescribeJobQueues": self.describe_job_queues,
            "UpdateJobQueue": self.update_job_queue,
            "DeleteJobQueue": self.delete_job_queue,
            "CreateSchedulingPolicy": self.create_scheduling_policy,
            "DescribeSchedulingPolicies": self.describe_scheduling_policies,
            "ListTagsForResource": self.list_tags_for_resource,
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
        }

    def clear(self) -> None:
        """Remove all resources."""
        self.definitions.clear()
        self.environments.clear()
        self.policies.clear()

    # Lookups for jobs

    def queue(self, name: str) -> Queue:
        """Return a queue by name or ARN.

        Raises:
            AwsError: The queue does not exist.
        """
        queue = self.jobs.queues.get(_short(name))
        if queue is None:
            raise refuse(f"{name} does not exist: no such job queue")
        return queue

    def definition(self, name: str) -> dict[str, Any]:
        """Return an active definition by ARN, `name:revision` or name (latest active revision).

        Raises:
            AwsError: There is no active definition.
        """
        family, _, revision = _short(name).partition(":")
        for definition in reversed(self.definitions.get(family, [])):
            if definition["status"] == "ACTIVE" and revision in ("", str(definition["revision"])):
                return definition
        raise refuse(f"JobDefinition not found: {name}")

    # Job definitions

    def register_job_definition(self, call: Call) -> dict[str, Any]:
        """RegisterJobDefinition."""
        limits.check_definition(call.params)
        name = call.params["jobDefinitionName"]
        with self.jobs.lock:
            revisions = self.definitions.setdefault(name, [])
            revision = len(revisions) + 1
            definition = {
                **call.params,
                "jobDefinitionArn": arn(call.region, "job-definition", f"{name}:{revision}"),
                "revision": revision,
                "status": "ACTIVE",
                "tags": call.params.get("tags", {}),
                "platformCapabilities": call.params.get("platformCapabilities", ["EC2"]),
                "containerOrchestrationType": "EKS" if "eksProperties" in call.params else "ECS",
            }
            if "containerProperties" in definition:
                definition["containerProperties"] = {**CONTAINER_DEFAULTS, **definition["containerProperties"]}
            revisions.append(definition)
        return {key: definition[key] for key in ("jobDefinitionName", "jobDefinitionArn", "revision")}

    def describe_job_definitions(self, call: Call) -> dict[str, Any]:
        """DescribeJobDefinitions."""
        params = call.params
        asked = [_short(name) for name in params.get("jobDefinitions", [])]
        if len(asked) > 100:
            raise refuse(f"jobDefinitions must have at most 100 entries, not {len(asked)}")
        with self.jobs.lock:
            found = [
                definition
                for family, revisions in self.definitions.items()
                for definition in revisions
                if (not asked or family in asked or f"{family}:{definition['revision']}" in asked)
                and params.get("jobDefinitionName") in (None, family)
                and params.get("status") in (None, definition["status"])
            ]
        return _page(params, "jobDefinitions", [_with_defaults(definition) for definition in found])

    def deregister_job_definition(self, call: Call) -> dict[str, Any]:
        """DeregisterJobDefinition: a revision, or the latest of a name. Unknown names are not an error, as on AWS."""
        family, _, revision = _short(call.params["jobDefinition"]).partition(":")
        with self.jobs.lock:
            for definition in reversed(self.definitions.get(family, [])):
                if definition["status"] == "ACTIVE" and revision in ("", str(definition["revision"])):
                    definition["status"] = "INACTIVE"
                    break
        return {}

    # Compute environments

    def create_compute_environment(self, call: Call) -> dict[str, Any]:
        """CreateComputeEnvironment; it is VALID immediately."""
        params = call.params
        name = params["computeEnvironmentName"]
        with self.jobs.lock:
            _check_new(name, self.environments, "Compute environment")
            detail = {
                **params,
                "computeEnvironmentArn": arn(call.region, "compute-environment", name),
                "ecsClusterArn": f"arn:aws:ecs:{call.region}:123456789012:cluster/{name}_Batch_{uuid.uuid4()}",
                "uuid": str(uuid.uuid4()),
                "state": params.get("state", "ENABLED"),
                "status": "VALID",
                "statusReason": "ComputeEnvironment Healthy",
                "containerOrchestrationType": "EKS" if "eksConfiguration" in params else "ECS",
                "tags": params.get("tags", {}),
            }
            self.environments[name] = ComputeEnvironment(name, detail)
        return {"computeEnvironmentName": name, "computeEnvironmentArn": detail["computeEnvironmentArn"]}

    def describe_compute_environments(self, call: Call) -> dict[str, Any]:
        """DescribeComputeEnvironments."""
        asked = [_short(name) for name in call.params.get("computeEnvironments", [])]
        with self.jobs.lock:
            found = [each.detail for name, each in self.environments.items() if not asked or name in asked]
        return _page(call.params, "computeEnvironments", found)

    def update_compute_environment(self, call: Call) -> dict[str, Any]:
        """UpdateComputeEnvironment: state, resources, service role."""
        with self.jobs.lock:
            environment = self.environment(call.params["computeEnvironment"])
            detail = environment.detail
            for key in ("state", "serviceRole", "unmanagedvCpus"):
                if key in call.params:
                    detail[key] = call.params[key]
            if "computeResources" in call.params:
                detail["computeResources"] = {**detail.get("computeResources", {}), **call.params["computeResources"]}
            self.jobs.wake()
        return {"computeEnvironmentName": environment.name, "computeEnvironmentArn": detail["computeEnvironmentArn"]}

    def delete_compute_environment(self, call: Call) -> dict[str, Any]:
        """DeleteComputeEnvironment; it must be disabled and not used by a queue."""
        with self.jobs.lock:
            environment = self.environment(call.params["computeEnvironment"])
            if environment.detail["state"] != "DISABLED":
                raise refuse("Cannot delete, resource is being modified or is ENABLED: disable it first")
            if any(environment in queue.environments for queue in self.jobs.queues.values()):
                raise refuse("Cannot delete, found existing JobQueue relationship")
            del self.environments[environment.name]
        return {}

    def environment(self, name: str) -> ComputeEnvironment:
        """Return a compute environment by name or ARN.

        Raises:
            AwsError: The compute environment does not exist.
        """
        environment = self.environments.get(_short(name))
        if environment is None:
            raise refuse(f"{name} does not exist: no such compute environment")
        return environment

    # Job queues

    def create_job_queue(self, call: Call) -> dict[str, Any]:
        """CreateJobQueue; it is VALID immediately."""
        params = call.params
        name = params["jobQueueName"]
        with self.jobs.lock:
            _check_new(name, self.jobs.queues, "Job queue")
            detail = {
                **params,
                "jobQueueArn": arn(call.region, "job-queue", name),
                "state": params.get("state", "ENABLED"),
                "status": "VALID",
                "statusReason": "JobQueue Healthy",
                "tags": params.get("tags", {}),
            }
            queue = Queue(name, detail, self._ordered(params.get("computeEnvironmentOrder", [])))
            self.jobs.queues[name] = queue
        return {"jobQueueName": name, "jobQueueArn": detail["jobQueueArn"]}

    def describe_job_queues(self, call: Call) -> dict[str, Any]:
        """DescribeJobQueues."""
        asked = [_short(name) for name in call.params.get("jobQueues", [])]
        with self.jobs.lock:
            found = [each.detail for name, each in self.jobs.queues.items() if not asked or name in asked]
        return _page(call.params, "jobQueues", found)

    def update_job_queue(self, call: Call) -> dict[str, Any]:
        """UpdateJobQueue: state, priority, compute environments, scheduling policy."""
        with self.jobs.lock:
            queue = self.queue(call.params["jobQueue"])
            if "computeEnvironmentOrder" in call.params:
                queue.environments = self._ordered(call.params["computeEnvironmentOrder"])
            queue.detail |= {key: value for key, value in call.params.items() if key != "jobQueue"}
            self.jobs.wake()
        return {"jobQueueName": queue.name, "jobQueueArn": queue.detail["jobQueueArn"]}

    def delete_job_queue(self, call: Call) -> dict[str, Any]:
        """DeleteJobQueue; it must be disabled. Its jobs are terminated."""
        with self.jobs.lock:
            queue = self.queue(call.params["jobQueue"])
            if queue.detail["state"] != "DISABLED":
                raise refuse(f"Cannot delete, job queue {queue.name} is ENABLED: disable it first")
            for job in list(self.jobs.jobs.values()):
                if job.queue is queue:
                    self.jobs.terminate(job, "Job queue deleted")
            del self.jobs.queues[queue.name]
        return {}

    def _ordered(self, order: Iterable[Mapping[str, Any]]) -> list[ComputeEnvironment]:
        environments = [
            self.environment(each["computeEnvironment"]) for each in sorted(order, key=lambda each: int(each["order"]))
        ]
        if not 1 <= len(environments) <= 3:
            raise refuse(f"computeEnvironmentOrder must have 1 to 3 entries, not {len(environments)}")
        return environments

    # Scheduling policies and tags

    def create_scheduling_policy(self, call: Call) -> dict[str, Any]:
        """CreateSchedulingPolicy. Shares are ignored; jobs start in FIFO order."""
        name = call.params["name"]
        policy = {**call.params, "arn": arn(call.region, "scheduling-policy", name)}
        with self.jobs.lock:
            _check_new(name, self.policies, "Scheduling policy")
            self.policies[name] = policy
        return {"name": name, "arn": policy["arn"]}

    def describe_scheduling_policies(self, call: Call) -> dict[str, Any]:
        """DescribeSchedulingPolicies."""
        with self.jobs.lock:
            found = [each for each in self.policies.values() if each["arn"] in call.params["arns"]]
            return {"schedulingPolicies": [shown(each) for each in found]}

    def list_tags_for_resource(self, call: Call) -> dict[str, Any]:
        """ListTagsForResource."""
        return shown({"tags": dict(self._tags(call.params["resourceArn"]))})

    def tag_resource(self, call: Call) -> dict[str, Any]:
        """TagResource."""
        with self.jobs.lock:
            self._tags(call.params["resourceArn"]).update(call.params["tags"])
        return {}

    def untag_resource(self, call: Call) -> dict[str, Any]:
        """UntagResource."""
        with self.jobs.lock:
            tags = self._tags(call.params["resourceArn"])
            for key in call.params["tagKeys"]:
                tags.pop(key, None)
        return {}

    def _tags(self, resource: str) -> dict[str, str]:
        kind, _, name = resource.rpartition(":batch:")[2].partition(":")[2].partition(":")[2].partition("/")
        tags: dict[str, str] | None = None
        if kind == "job":
            job = self.jobs.find(name)
            tags = job.tags if job is not None else None
        elif kind == "job-queue" and name in self.jobs.queues:
            tags = self.jobs.queues[name].detail["tags"]
        elif kind == "compute-environment" and name in self.environments:
            tags = self.environments[name].detail["tags"]
        elif kind == "job-definition":
            family, _, revision = name.partition(":")
            tags = next(
                (each["tags"] for each in self.definitions.get(family, []) if str(each["revision"]) == revision), None
            )
        elif kind == "scheduling-policy" and name in self.policies:
            tags = self.policies[name].setdefault("tags", {})
        if tags is None:
            raise refuse(f"{resource} does not exist")
        return tags


def _with_defaults(definition: dict[str, Any]) -> dict[str, Any]:
    """Return a job definition with what Batch adds when it describes it.

    Sources: botocore's example of DescribeJobDefinitions; the documented default of `platformVersion`; for the lists,
    answers of AWS in github.com/hashicorp/terraform-provider-aws, internal/service/batch/*_properties_test.go.
    """
    described = {"parameters": {}, **definition}
    container, tasks = definition.get("containerProperties"), definition.get("ecsProperties")
    if container is not None and "FARGATE" in definition["platformCapabilities"]:
        described["containerProperties"] = {"fargatePlatformConfiguration": _LATEST, **container}
    if tasks is not None:
        described["ecsProperties"] = {"taskProperties": [_task_with_defaults(one) for one in tasks["taskProperties"]]}
    if nodes := definition.get("nodeProperties"):
        ranges = [
            {**one, "container": {**CONTAINER_DEFAULTS, **one["container"]}} if "container" in one else one
            for one in nodes["nodeRangeProperties"]
        ]
        described["nodeProperties"] = {**nodes, "nodeRangeProperties": ranges}
    if pod := definition.get("eksProperties", {}).get("podProperties"):
        containers = [{**_POD_DEFAULTS, **one} for one in pod["containers"]]
        described["eksProperties"] = {"podProperties": {"volumes": [], **pod, "containers": containers}}
    return described


def _task_with_defaults(task: dict[str, Any]) -> dict[str, Any]:
    containers = [{**_TASK_CONTAINER_DEFAULTS, **one} for one in task["containers"]]
    return {"volumes": [], **_LATEST, **task, "containers": containers}


def _short(name: str) -> str:
    """Return the name in an ARN, or the name itself."""
    return name.rpartition("/")[2] if name.startswith("arn:") else name


def _check_new(name: str, known: Mapping[str, Any], kind: str) -> None:
    if not NAME.fullmatch(name):
        raise refuse(f"{kind} name must be letters, digits, hyphens, underscores, at most 128: {name}")
    if name in known:
        raise refuse(f"Object already exists: {kind} {name}")


def _page(params: Mapping[str, Any], key: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a page of at most `maxResults` (default: 100) items. `nextToken` is the start of the next page."""
    limit = params.get("maxResults", 100)
    token = params.get("nextToken") or "0"
    if not 1 <= limit <= 100 or not token.isdecimal():
        raise refuse(f"maxResults must be between 1 and 100, and nextToken must be valid: {limit}, {token}")
    start = int(token)
    answer: dict[str, Any] = {key: [shown(each) for each in found[start : start + limit]]}
    if start + limit < len(found):
        answer["nextToken"] = str(start + limit)
    return answer
