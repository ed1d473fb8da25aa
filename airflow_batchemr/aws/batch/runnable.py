"""Why a job stays in RUNNABLE, derived from its queue, its compute environments and its own size."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.core.job_container import containers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_batchemr.aws.clients import Clients


def explain(clients: Clients, job_id: str) -> list[str]:
    """Possible reasons why a RUNNABLE job does not start, one sentence each.

    Four or five calls: DescribeJobs, DescribeJobQueues, DescribeComputeEnvironments, GetJobQueueSnapshot, and EC2's
    DescribeInstanceTypes if the environments name instance types. Calls that are not allowed are skipped.
    """
    job = _try(lambda: jobs.describe(clients, [job_id]), {}).get(job_id)
    if job is None:
        return []
    # For arrays the children have it: AWS writes MISCONFIGURATION:… into the status reason
    reasons = [f"AWS reports: {job['statusReason']}"] if job.get("statusReason") else []
    queues = _try(lambda: clients.batch.describe_job_queues(jobQueues=[job["jobQueue"]])["jobQueues"], [])
    for queue in queues:
        reasons += _about_queue(queue)
        orders = queue.get("computeEnvironmentOrder", ())
        names = [order["computeEnvironment"] for order in orders if "computeEnvironment" in order]
        environments = _try(
            lambda: clients.batch.describe_compute_environments(computeEnvironments=names)["computeEnvironments"],  # noqa: B023
            [],
        )
        for environment in environments:
            reasons += _about_environment(environment)
        with suppress(LookupError, ValueError):  # an answer without what AWS documents
            reasons += _about_size(clients, job, environments)
        reasons += _about_place(clients, job, queue)
    return reasons or ["AWS reports no problem: the queue may be full, or have no capacity at the moment"]


def _try(call: Any, otherwise: Any) -> Any:
    try:
        return call_again(call, "")
    except Exception:  # noqa: BLE001 - a best-effort explanation: skip calls that are not allowed
        return otherwise


def _about_queue(queue: Mapping[str, Any]) -> Iterator[str]:
    name = queue.get("jobQueueName")
    if queue.get("state") != "ENABLED":
        yield f"the queue {name} is {queue.get('state')}"
    if queue.get("status") not in {None, "VALID"}:
        yield f"the queue {name} is {queue.get('status')}: {queue.get('statusReason', 'no reason given')}"
    if not queue.get("computeEnvironmentOrder"):
        yield f"the queue {name} has no compute environment"


def _about_environment(environment: Mapping[str, Any]) -> Iterator[str]:
    name = environment.get("computeEnvironmentName")
    if environment.get("state") != "ENABLED":
        yield f"the compute environment {name} is {environment.get('state')}"
    if environment.get("status") not in {None, "VALID"}:
        yield f"the compute environment {name} is {environment.get('status')}: {environment.get('statusReason', '')}"
    if (environment.get("computeResources") or {}).get("maxvCpus") == 0:
        yield f"the compute environment {name} may have 0 vCPUs (maxvCpus)"


def _about_size(clients: Clients, job: Mapping[str, Any], environments: list[dict[str, Any]]) -> Iterator[str]:
    vcpus, memory = 0.0, 0
    for container in containers_of(job):
        wanted = {one["type"]: one["value"] for one in container.get("resourceRequirements", ())}
        vcpus += float(wanted.get("VCPU", container.get("vcpus", 0)))
        memory += int(wanted.get("MEMORY", container.get("memory", 0)))
    resources = {one["computeEnvironmentName"]: one.get("computeResources") or {} for one in environments}
    maxima = {name: one.get("maxvCpus") for name, one in resources.items()}
    if maxima and all(limit is not None and vcpus > limit for limit in maxima.values()):
        limits = ", ".join(f"{name}: {limit}" for name, limit in maxima.items())
        yield f"the job requests {vcpus:g} vCPUs, more than any of its compute environments may have ({limits})"
        return
    types = {kind for one in resources.values() for kind in one.get("instanceTypes", ())}
    if not types or any(kind in {"optimal", "default_x86_64", "default_arm64"} for kind in types):
        return
    pattern = [kind if "." in kind else f"{kind}.*" for kind in sorted(types)]
    answer = _try(
        lambda: clients.get("ec2").describe_instance_types(Filters=[{"Name": "instance-type", "Values": pattern}]), {}
    )
    sizes = [
        (one.get("VCpuInfo", {}).get("DefaultVCpus", 0), one.get("MemoryInfo", {}).get("SizeInMiB", 0))
        for one in answer.get("InstanceTypes", ())
    ]
    if sizes and not any(vcpus <= cores and memory < mebibytes for cores, mebibytes in sizes):
        yield (
            f"the job requests {vcpus:g} vCPUs and {memory:,} MiB; no instance of {', '.join(sorted(types))} has that "
            f"(the largest: {max(cores for cores, _ in sizes)} vCPUs, {max(mib for _, mib in sizes):,} MiB, of which "
            "the system uses a part)"
        )


def _about_place(clients: Clients, job: Mapping[str, Any], queue: Mapping[str, Any]) -> Iterator[str]:
    snapshot = _try(lambda: clients.batch.get_job_queue_snapshot(jobQueue=queue["jobQueueArn"]), {})
    front = [
        str(one.get("jobArn", "")).rpartition("/")[2] for one in (snapshot.get("frontOfQueue") or {}).get("jobs", ())
    ]
    places = [place for place, id_ in enumerate(front, 1) if job.get("jobId") in {id_, id_.partition(":")[0]}]
    if places:
        yield f"it is number {places[0]} in its queue"
    elif front:
        yield f"at least {len(front)} jobs are ahead of it in its queue"
