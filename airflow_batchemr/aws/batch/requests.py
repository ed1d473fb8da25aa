"""The SubmitJob requests of a submission, checked as far as possible before the call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.core.arrays import MAX_ARRAY, split
from airflow_batchemr.core.container_overrides import main_node, own_command, place, recorded
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.merge_overrides import merge_overrides
from airflow_batchemr.core.preamble import wrap
from airflow_batchemr.core.tags import tags_problem
from airflow_batchemr.ledger.records import Request
from airflow_batchemr.pipeline_file.checks.batches import container_problem
from airflow_batchemr.pipeline_file.models.batch import MAX_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.batch.index_inputs import Values
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.pipeline_file.models import Batch

DEFAULT_ATTEMPTS = 3
#: By default only the loss of the host is retried, which is no fault of the program.
DEFAULT_RETRY_ON = ("spot",)
#: AWS: rules of `evaluateOnExit`.
MAX_RETRY_RULES = 5
#: Status reasons of reclaimed capacity: a host of EC2, and a task on Fargate Spot.
_HOST_LOST = {"onStatusReason": "Host EC2*", "action": "RETRY"}
_SPOT_TASK_INTERRUPTED = {"onStatusReason": "Your Spot Task was interrupted*", "action": "RETRY"}
_RETRY_RULES = {
    "spot": [_HOST_LOST, _SPOT_TASK_INTERRUPTED],
    "oom": [{"onReason": "OutOfMemory*", "action": "RETRY"}],
    "pull": [{"onReason": "CannotPullContainer*", "action": "RETRY"}],
}
_NO_IMAGE = {"onReason": "ErrImagePull*", "action": "RETRY"}
#: The reasons of pods are those of Kubernetes (AWS: EksContainerDetail), and no pod is on Fargate. AWS documents
#: retries of pods ("Amazon EKS jobs" in the user guide), but not what it answers if an image cannot be pulled.
_RETRY_RULES_OF_PODS = {
    "spot": [_HOST_LOST],
    "oom": [{"onReason": "OOMKilled*", "action": "RETRY"}],
    "pull": [{"onReason": "ImagePullBackOff*", "action": "RETRY"}, _NO_IMAGE],
}
#: Batch retries what matches no rule, so the last rule matches everything else.
_NO_RETRY = {"onReason": "*", "action": "EXIT"}


def submission_requests(
    options: Batch,
    definition: Mapping[str, Any],
    identity: JobIdentity,
    number: int,
    indices: IndexSet,
    *,
    size: int,
    variant: int = 0,
    environment: Mapping[str, str] | None = None,
    values: Values | None = None,
    after: Sequence[tuple[IndexSet, str | None]] | None = None,
    done_uri: str | None = None,
) -> list[Request]:
    """The SubmitJobs of one submission: a single job for one index, arrays of up to 10,000 for more.

    Args:
        options: of the job, validated by `batch_options`.
        definition: the job definition, as DescribeJobDefinitions gives it.
        identity: of the job and this try.
        number: the submission's, from 1.
        indices: what this submission runs.
        size: how many indices the job has in total.
        variant: position of the memory size among those of the job.
        environment: variables in addition to those of the job and of the run's identity.
        values: the value of each index, if the size of the array comes from data.
        after: the sets to submit and the job that each depends on, index by index; None: no such job.
        done_uri: s3:// folder where the job itself writes a marker per index; None: it writes none.

    Raises:
        InvalidRequest: names the field and the limit.
    """
    parts = values.cut(indices) if values else split(indices)
    if after is not None:
        parts = [part for part, _ in after]
    if not options.preamble and parts != [IndexSet.range(size)]:
        raise InvalidRequest(
            f"preamble: without it a program sees only AWS's own array index, 0 to {MAX_ARRAY - 1:,}, so the whole "
            "array has to be submitted as one job. Use an image with a shell, or a smaller array"
        )
    if values is not None and not options.preamble:
        raise InvalidRequest(
            "preamble: an array from data needs the preamble, which passes each index its value with `sh`: "
            "use an image with a shell, or an array of a fixed size"
        )
    _check_container(options.container, definition)
    name = identity.submission_name(number)
    names = [name] if len(parts) == 1 else [f"{name}-p{part:04d}" for part in range(len(parts))]
    others = [other for _, other in after or ()] or [None] * len(parts)
    # What follows expects valid types; the rest of the requests has been checked with the options.
    required = {"jobName": name, "jobQueue": "", "jobDefinition": ""}
    check_request("batch", "SubmitJob", merge_overrides(required, options.submit))
    own = _command(options, definition)
    requests: list[Request] = []
    for part_name, part, other in zip(names, parts, others, strict=True):
        command = own
        variables = {**options.env, **(environment or {}), **identity.environment(number)}
        # Without a known command a single job is submitted without one: it runs the command of its image.
        if options.preamble and (command or size > 1 or values or done_uri):
            command, variables = _with_preamble(command, part, variables, size=size, values=values, done_uri=done_uri)
        overrides = _overrides(options, command, variables, variant)
        request = _request(options, definition, overrides, {**options.tags, **identity.tags(number)})
        request["jobName"] = part_name
        if len(part) > 1:
            request["arrayProperties"] = {"size": len(part)}
        if other is not None:
            request["dependsOn"] = [{"jobId": other, "type": "N_TO_N"} if len(part) > 1 else {"jobId": other}]
        request = _merged(request, options.submit)
        _check_overrides(recorded(request))
        _check_tags(request, definition)
        requests.append(Request(name=request["jobName"], indices=part, request=request))
    return requests


def _check_container(name: str | None, definition: Mapping[str, Any]) -> None:
    """Check that the container that is to run the command exists, unless the definition has not been looked up."""
    looked_up = any(key.endswith("Properties") for key in definition)
    if name is None or not looked_up:
        return
    arn = definition["jobDefinitionArn"]
    what = f"the job definition {arn}" if str(arn).startswith("arn:") else "`job_definition`"
    if problem := container_problem(name, definition, what):
        raise InvalidRequest("container: " + "; ".join(filter(None, problem)))


def _merged(request: dict[str, Any], submit: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the user's additions into the request."""
    merged = merge_overrides(request, submit)
    if "dependsOn" in request and merged.get("dependsOn") != request["dependsOn"]:
        raise InvalidRequest("submit: batchemr sets dependsOn from `after: {…: index}`; remove it")
    # The revision that was looked up and checked: somebody may have registered another one since
    return {**merged, "jobDefinition": request["jobDefinition"]}


def _command(options: Batch, definition: Mapping[str, Any]) -> list[str]:
    """The command of the container that gets the overrides; empty if each node keeps its own.

    It is that of the job, of a container, pod or node in `submit:`, or of the job definition.
    """
    merged = merge_overrides(place({}, definition, options.container), options.submit)
    nodes = merged.get("nodeOverrides", {}).get("nodePropertyOverrides", [])
    found = [recorded(one).get("command") or [] for one in nodes or [merged]]
    theirs = [command for command in found if command]
    if not theirs:
        return options.command or own_command(definition, options.container)
    if options.command:
        raise InvalidRequest("submit: it sets a command that `command:` sets as well: remove one of them")
    if not options.preamble:
        return []
    if any(command != theirs[0] for command in found):
        raise InvalidRequest(
            "submit: nodes with different commands need `preamble: false`, because the preamble replaces the command"
        )
    return list(theirs[0])


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    """Check the total size of the container overrides, at most 8 KiB; the message names the largest parts."""
    size = len(json.dumps(overrides, ensure_ascii=False, separators=(",", ":")).encode())
    if size <= MAX_ENVIRONMENT:
        return
    command = sum(len(part.encode()) for part in overrides.get("command", ()))
    lengths = {one["name"]: len(str(one["value"]).encode()) for one in overrides.get("environment", ())}
    largest = sorted(lengths, key=lambda name: (lengths[name], name), reverse=True)[:3]
    raise InvalidRequest(
        f"env and command: AWS Batch accepts at most {MAX_ENVIRONMENT:,} bytes of container overrides, got {size:,} "
        f"(command {command:,}; the largest variables: {', '.join(f'{name} {lengths[name]:,}' for name in largest)}). "
        "Store large values in S3 and pass their URI"
    )


def _check_tags(request: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
    """Check the tags. With those of the job definition, which ECS tasks also get, they are at most 50."""
    if problem := tags_problem(request["tags"], definition.get("tags", ()) if request["propagateTags"] else ()):
        raise InvalidRequest(f"tags: {problem}")


def _retry_strategy(options: Batch, definition: Mapping[str, Any]) -> dict[str, Any]:
    attempts = DEFAULT_ATTEMPTS if options.attempts is None else options.attempts
    if attempts == 1:
        return {"attempts": attempts}
    causes = DEFAULT_RETRY_ON if options.retry_on is None else options.retry_on
    nodes = definition.get("nodeProperties")
    pods = (main_node(nodes) if nodes else definition).get("eksProperties")
    known = _RETRY_RULES_OF_PODS if pods else _RETRY_RULES
    rules = [
        rule
        for cause in causes
        for rule in known.get(cause, [{"onExitCode": cause.removeprefix("exit:"), "action": "RETRY"}])
    ]
    if len(rules) == MAX_RETRY_RULES:  # one too many: leave out what cannot happen or does not last
        fargate = "FARGATE" in (definition.get("platformCapabilities") or ())
        rules.remove(_NO_IMAGE if pods else _HOST_LOST if fargate else _SPOT_TASK_INTERRUPTED)
    return {"attempts": attempts, "evaluateOnExit": [*rules, _NO_RETRY]}


def _with_preamble(
    command: list[str],
    part: IndexSet,
    variables: dict[str, str],
    *,
    size: int,
    values: Values | None,
    done_uri: str | None,
) -> tuple[list[str], dict[str, str]]:
    """The command that determines the index and its value, and its environment."""
    if not command:
        raise InvalidRequest(
            "command: an array needs one, to pass each index its number, and the job definition has none: write "
            "`command:`, or `preamble: false` to run the image's own command with AWS's array index"
        )
    if values is not None:
        command = values.command(command)
        variables = {**variables, **values.environment(part)}
    try:
        wrapped, extra = wrap(command, part, variables, size=size, done_uri=done_uri)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return wrapped, {**variables, **extra}


def _overrides(options: Batch, command: list[str], variables: Mapping[str, str], variant: int) -> dict[str, Any]:
    overrides: dict[str, Any] = {"command": command} if command else {}
    overrides["environment"] = [{"name": name, "value": value} for name, value in variables.items()]
    memory = options.memory[variant] if options.memory else None
    sizes = {"VCPU": options.vcpus, "MEMORY": memory, "GPU": options.gpus}
    if any(sizes.values()):
        overrides["resourceRequirements"] = [
            {"type": kind, "value": str(value)} for kind, value in sizes.items() if value
        ]
    return overrides


def _request(
    options: Batch, definition: Mapping[str, Any], overrides: dict[str, Any], tags: dict[str, str]
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "jobName": "",
        "jobQueue": options.job_queue,
        "jobDefinition": definition["jobDefinitionArn"],
        **place(overrides, definition, options.container),
        "retryStrategy": _retry_strategy(options, definition),
        "tags": tags,
        "propagateTags": True,
    }
    if options.timeout is not None:
        request["timeout"] = {"attemptDurationSeconds": options.timeout}
    if options.parameters:
        request["parameters"] = options.parameters
    if options.share_identifier is not None:
        request["shareIdentifier"] = options.share_identifier
    if options.scheduling_priority is not None:
        request["schedulingPriorityOverride"] = options.scheduling_priority
    return request
