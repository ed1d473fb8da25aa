"""One index of a job again, alone, out of what the ledger has recorded."""

from __future__ import annotations

import copy
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.container_overrides import own_command, put, recorded
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import RESERVED, SIZE, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.ledger import Intent, LedgerState

# What only the recorded submit had a use for
_NOT_AGAIN = ("arrayProperties", "dependsOn", "jobName")


class NotRecordedError(LookupError):
    """The ledger has no request of the index that was asked for."""


@dataclass(frozen=True)
class Shard:
    """One index as it was last submitted."""

    index: int
    size: int
    """How many indices the job has."""
    submission: int
    intent: Intent
    request: dict[str, Any]
    """The recorded SubmitJob."""
    argv: list[str]
    """Program and arguments without the preamble; empty: the job definition's own."""
    environment: dict[str, str]
    wrapped: bool
    """Whether it ran under the preamble."""
    image: str | None = None
    parameters: Mapping[str, str] | None = None

    def program_environment(self) -> dict[str, str]:
        """The variables that the program sees, those that AWS sets among them."""
        return {
            **self.environment,
            "AWS_BATCH_JOB_ID": "replay",
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "AWS_BATCH_JOB_ARRAY_INDEX": str(self.index),
            "AWS_BATCH_JOB_ARRAY_SIZE": str(self.size),
        }

    def program(self) -> list[str]:
        """The program and its arguments, with the parameters in the places of ``Ref::name``."""
        values = {f"Ref::{name}": value for name, value in (self.parameters or {}).items()}
        return [values.get(word, word) for word in self.argv]

    def resource(self, kind: str) -> str | None:
        """What it asks for: ``VCPU``, ``MEMORY`` (MiB) or ``GPU``."""
        wanted = recorded(self.request).get("resourceRequirements", [])
        return next((str(one["value"]) for one in wanted if one["type"] == kind), None)


def recorded_shard(state: LedgerState, index: int) -> Shard:
    """Find the last request that ran an index.

    Args:
        state: `JobLedger.history()` of the job.
        index: of the array; 0 for a single job.

    Raises:
        NotRecordedError: says what there is instead.
    """
    asked = IndexSet()
    kinds = set()
    for submission in reversed(state.submissions):
        if submission.intent is None:
            continue
        kinds.add(submission.intent.kind)
        for request in submission.intent.requests if submission.intent.kind == "batch" else []:
            asked |= request.indices
            if index in request.indices:
                return _shard(index, submission.number, submission.intent, dict(request.request))
    if kinds and "batch" not in kinds:
        raise NotRecordedError(
            "this job ran on EMR, whose steps are not replayed one by one: clear its task, and it goes on at the step "
            "that failed"
        )
    if not asked:
        raise NotRecordedError("nothing of this job has been submitted yet")
    raise NotRecordedError(f"index {index} was never submitted; those that were: {asked}")


def _shard(index: int, number: int, intent: Intent, request: dict[str, Any]) -> Shard:
    overrides = recorded(request)
    variables = {one["name"]: one.get("value", "") for one in overrides.get("environment", [])}
    command = overrides.get("command", [])
    whole = variables.get(SIZE) or request.get("arrayProperties", {}).get("size") or len(intent.indices)
    return Shard(
        index=index,
        size=int(whole),
        submission=number,
        intent=intent,
        request=request,
        argv=unwrap(command),
        environment={name: value for name, value in variables.items() if name not in RESERVED},
        wrapped=unwrap(command) != list(command),
        parameters=request.get("parameters"),
    )


def with_definition(shard: Shard, definition: Mapping[str, Any]) -> Shard:
    """Add what the job definition brings: image, its environment, parameters, and the command where there is no other.

    Args:
        shard: as recorded.
        definition: an entry of DescribeJobDefinitions.
    """
    container = definition.get("containerProperties", {})
    own = {one["name"]: one.get("value", "") for one in container.get("environment", [])}
    return replace(
        shard,
        argv=shard.argv or own_command(definition),
        environment={**own, **shard.environment},
        image=container.get("image"),
        parameters={**definition.get("parameters", {}), **(shard.parameters or {})},
    )


def shell_text(shard: Shard) -> str:
    """Give the command for a shell, a variable a line."""
    words = [f"{name}={value}" for name, value in shard.program_environment().items()]
    lines = ["env", *(shlex.quote(word) for word in words), shlex.join(shard.program())]
    return " \\\n  ".join(lines)


def docker_command(shard: Shard, env_file: str, variables: Sequence[str], *, host_network: bool) -> list[str]:
    """Give the `docker run` of the same image.

    Args:
        shard: with its definition.
        env_file: path of a file with the variables, ``NAME=value`` a line.
        variables: those that no line can hold.
        host_network: whether the container has to reach a server on this machine.

    Raises:
        NotRecordedError: it is not known which image it was.
    """
    if not shard.image:
        raise NotRecordedError("the job definition names no image: multi-node and EKS jobs cannot run again in docker")
    command = ["docker", "run", "--rm", "--env-file", env_file]
    for variable in variables:
        command += ["--env", variable]
    if memory := shard.resource("MEMORY"):
        command += ["--memory", f"{memory}m"]
    if vcpus := shard.resource("VCPU"):
        command += ["--cpus", vcpus]
    if host_network:
        command += ["--network", "host"]
    return [*command, shard.image, *shard.program()]


def single_request(shard: Shard, name: str, *, queue: str | None = None, number: str = "replay") -> dict[str, Any]:
    """Give the SubmitJob of this index alone: same definition, environment, resources and tags.

    Args:
        shard: as recorded.
        name: of the job.
        queue: another than the recorded one.
        number: what `BATCHEMR_SUBMISSION` and the tag say.

    Raises:
        NotRecordedError: the program would not see its index.
    """
    request = {key: value for key, value in copy.deepcopy(shard.request).items() if key not in _NOT_AGAIN}
    request["jobName"] = name
    if queue:
        request["jobQueue"] = queue
    environment = {**shard.environment, "BATCHEMR_SUBMISSION": number}
    command: list[str] | None = None
    if shard.wrapped:
        command, extra = wrap(shard.argv, IndexSet.of([shard.index]), environment, size=shard.size)
        environment |= extra
    elif shard.size > 1:
        raise NotRecordedError(
            "the job runs without the preamble (preamble: false), so a single job of it would not see its index: "
            "use --docker or --local"
        )
    put(request, command, [{"name": key, "value": value} for key, value in environment.items()])
    if "tags" in request:
        request["tags"]["batchemr:submission"] = number
    return request
