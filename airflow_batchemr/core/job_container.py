"""The container of an AWS Batch job, whatever kind of job definition it has.

DescribeJobs leaves `container` empty for ECS tasks with `ecsProperties`, for pods (`eksProperties`) and for multi-node
jobs (`nodeProperties`). Their exit codes, reasons and log streams are in these properties, in
`attempts[].taskProperties` and in `eksAttempts`; a multi-node job has those of its main node (AWS: JobDetail,
AttemptDetail, EksAttemptDetail; user guide: multi-node parallel jobs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.container_overrides import containers, main_container, main_node, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A variable that this package sets in the container that runs the job's command.
_OURS = "BATCHEMR_SUBMISSION"
#: Exit codes of containers that ECS stops because another essential one has ended: SIGKILL, SIGTERM.
_STOPPED = frozenset({137, 143})


def container_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container that shows how a job runs or why it has failed, in the form of `container` of a plain job.

    That is the container that runs the job's command, unless another essential one has failed and so ended the job; or
    one that is not essential or an init container, if the job's command has not run, because it depended on that one.
    A container of a pod also has `podName` and `nodeName`, but no `logStreamName`: AWS does not record it.

    Args:
        job: As returned by DescribeJobs or ListJobs.
    """
    several = containers_of(job)
    ours = [one for one in several if any(each.get("name") == _OURS for each in one.get("environment") or ())]
    main = dict(ours[0] if ours else main_container(several))
    if job.get("status") != "FAILED":
        return main
    possible = [main, *(one for one in several if one.get("essential", True))]
    if "exitCode" not in main:
        possible += [*several, *_init_containers(job)]
    return next((one for one in possible if _explains(one)), main)


def containers_of(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all containers of a job (of the main node, for a multi-node job), in the form of plain containers."""
    attempts = attempts_of(job)
    last = attempts[-1] if attempts and job.get("status") in {"SUCCEEDED", "FAILED"} else {}
    tasks = last.get("taskProperties") or []
    nodes = job.get("nodeProperties") or {}  # in ListJobs without ranges
    part = main_node(nodes) if nodes.get("nodeRangeProperties") else job
    pod = (part.get("eksProperties") or {}).get("podProperties") or {}
    where = {key: one[key] for one in (pod, last) for key in ("podName", "nodeName") if key in one}
    for task in [*((part.get("ecsProperties") or {}).get("taskProperties") or []), *tasks]:
        where |= {key: task[key] for key in ("containerInstanceArn", "taskArn") if key in task}
    found = [plain(one) if pod else dict(one) for one in containers(part)]
    if not found:
        found = [dict(job.get("container") or part.get("containerProperties") or {})]
    ended = [one for task in [*tasks, last] for one in task.get("containers") or []] or [last.get("container") or {}]
    by_name = {one.get("name"): one for one in ended}
    return [
        where | (ended[0] if len(found) == len(ended) == 1 else by_name.get(one.get("name"), {})) | one for one in found
    ]


def attempts_of(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the attempts by AWS Batch that have ended, in the form of AttemptDetail or EksAttemptDetail."""
    return list(job.get("attempts") or job.get("eksAttempts") or [])


def _init_containers(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the init containers of the last attempt of a pod, in the form of plain containers."""
    last = (attempts_of(job) or [{}])[-1]
    where = {key: last[key] for key in ("podName", "nodeName") if key in last}
    return [where | plain(one) for one in last.get("initContainers") or []]


def _explains(container: Mapping[str, Any]) -> bool:
    """Return whether a container failed by itself; a pod's containers also have a reason if they have succeeded."""
    code = container.get("exitCode")
    return code != 0 if container.get("reason") else code not in {None, 0, *_STOPPED}
