"""Running one index of a job again, alone, from the request that the ledger has recorded."""

from __future__ import annotations

import copy
import re
import shlex
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.container_overrides import docker_image, own_command, own_container, put, recorded
from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import RESERVED, SIZE, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.ledger import Intent, LedgerState

_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Fields that only the recorded SubmitJob needed
_NOT_AGAIN = ("arrayProperties", "dependsOn", "jobName")


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
    parameters: Mapping[str, str]
    image: str | None = None

    def program_environment(self) -> dict[str, str]:
        """The variables that the program sees, including those that AWS sets."""
        return {
            **self.environment,
            "AWS_BATCH_JOB_ID": "replay",
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "AWS_BATCH_JOB_ARRAY_INDEX": str(self.index),
            "AWS_BATCH_JOB_ARRAY_SIZE": str(self.size),
        }

    def program(self) -> list[str]:
        """The program and its arguments, with ``Ref::name`` replaced by the parameters."""
        values = {f"Ref::{name}": value for name, value in self.parameters.items()}
        return [values.get(argument, argument) for argument in self.argv]


def recorded_shard(state: LedgerState, index: int) -> Shard:
    """Find the last request that ran an index.

    Args:
        state: `JobLedger.history()` of the job.
        index: of the array; 0 for a single job.

    Raises:
        LookupError: there is none; the message names the indices that were submitted.
    """
    submitted = IndexSet()
    kinds = set()
    for submission in reversed(state.submissions):
        intent = submission.intent
        if intent is None:
            continue
        kinds.add(intent.kind)
        for request in intent.requests if intent.kind == "batch" else []:
            submitted |= request.indices
            if index in request.indices:
                return _shard(index, submission.number, intent, dict(request.request))
    if kinds and "batch" not in kinds:
        raise LookupError(
            "this job ran on EMR, whose steps are not replayed one by one: clear its task, and it resumes at the step "
            "that failed"
        )
    if not submitted:
        raise LookupError("nothing of this job has been submitted yet")
    raise LookupError(f"index {index} was never submitted; submitted so far: {submitted}")


def _shard(index: int, number: int, intent: Intent, request: dict[str, Any]) -> Shard:
    overrides = recorded(request)
    variables = {one["name"]: one.get("value", "") for one in overrides.get("environment", []) if "name" in one}
    command = overrides.get("command", [])
    return Shard(
        index=index,
        size=int(variables.get(SIZE) or request.get("arrayProperties", {}).get("size") or len(intent.indices)),
        submission=number,
        intent=intent,
        request=request,
        argv=unwrap(command),
        environment={name: value for name, value in variables.items() if name not in RESERVED},
        wrapped=unwrap(command) != list(command),
        parameters=request.get("parameters", {}),
    )


def with_definition(shard: Shard, definition: Mapping[str, Any]) -> Shard:
    """Add what an entry of DescribeJobDefinitions defines: image, environment, parameters, and a missing command."""
    name = recorded(shard.request).get("name")
    own = own_container(definition, name).get("environment", [])
    own = {one["name"]: one.get("value", "") for one in own if "name" in one}
    return replace(
        shard,
        argv=shard.argv or own_command(definition, name),
        environment={**own, **shard.environment},
        image=docker_image(definition),
        parameters={**definition.get("parameters", {}), **shard.parameters},
    )


def executable(program: Sequence[str], variables: Mapping[str, str]) -> None:
    """Check that a process can get these arguments and variables.

    Raises:
        LookupError: One contains a NUL character or a lone surrogate, which no argument can; or a name has an equals
            sign or a leading hyphen, so that `env` and `docker` would read it as something else.
    """
    for text in (*program, *variables, *variables.values()):
        if "\0" in text or _SURROGATE.search(text):
            raise LookupError(f"the recorded text {text!r} cannot be an argument or variable of a program")
    if any(not name or name.startswith("-") or "=" in name for name in variables):
        raise LookupError("a recorded variable has no name, or one with an equals sign or a leading hyphen")


def shell_text(shard: Shard) -> str:
    """Format the command for a shell, one variable per line. It is exact, and safe to display.

    Raises:
        LookupError: No program can get the recorded arguments or variables.
    """
    executable(shard.program(), shard.program_environment())
    name = "".join(shard.program()[:1])
    if name.startswith("-") or "=" in name:
        raise LookupError(f"`env` would not run the recorded program {name!r}, but take it for an option or a variable")
    variables = [_quoted(f"{name}={value}") for name, value in shard.program_environment().items()]
    return " \\\n  ".join(["env", *variables, " ".join(map(_quoted, shard.program()))])


def _quoted(text: str) -> str:
    r"""Quote an argument for any POSIX shell. Unsafe characters are given as octal bytes: `$(printf '\033')`."""
    parts = [shlex.quote(text)]
    if clean(text) != text:
        pieces = ["".join(same) for _, same in groupby(text, key=lambda one: clean(one) == one)]
        parts = [shlex.quote(piece) if clean(piece) == piece else _octal(piece) for piece in pieces]
    return "".join(parts)


def _octal(text: str) -> str:
    digits = "".join(f"\\{byte:03o}" for byte in text.encode())
    return f"\"$(printf '{digits}')\""


def docker_command(shard: Shard, env_file: str, variables: Sequence[str], *, host_network: bool) -> list[str]:
    """Build the `docker run` command with the same image.

    Args:
        shard: with its definition.
        env_file: path of a file with the variables, one ``NAME=value`` per line.
        variables: names of the variables that do not fit on one line, which docker takes from its own environment.
        host_network: whether the container has to reach a server on this machine.

    Raises:
        LookupError: the image is unknown, or is an option of docker instead of a name.
    """
    if not shard.image:
        raise LookupError(
            "docker cannot run this job: multi-node jobs, EKS jobs and ECS tasks with several containers need AWS "
            "Batch; use --batch, or --local to run the program alone"
        )
    if shard.image.startswith("-"):
        raise LookupError(f"the image {shard.image!r} is an option of docker, not a name: correct the job definition")
    command = ["docker", "run", "--rm", "--env-file", env_file]
    for variable in variables:
        command += ["--env", variable]
    needed = recorded(shard.request).get("resourceRequirements", [])
    resources = {one.get("type"): str(one.get("value")) for one in needed}
    if "MEMORY" in resources:
        command += ["--memory", f"{resources['MEMORY']}m"]
    if "VCPU" in resources:
        command += ["--cpus", resources["VCPU"]]
    if host_network:
        command += ["--network", "host"]
    return [*command, shard.image, *shard.program()]


def single_request(shard: Shard, name: str, *, queue: str | None = None, number: str = "replay") -> dict[str, Any]:
    """Build the SubmitJob request of this index alone: same definition, environment, resources and tags.

    Args:
        shard: the index.
        name: of the job.
        queue: replaces the recorded one.
        number: value of `BATCHEMR_SUBMISSION` and of the tag.

    Raises:
        LookupError: the program would not see its index.
    """
    request = copy.deepcopy({key: value for key, value in shard.request.items() if key not in _NOT_AGAIN})
    request["jobName"] = name
    if queue:
        request["jobQueue"] = queue
    environment = {**shard.environment, "BATCHEMR_SUBMISSION": number}
    command = None
    if shard.wrapped:
        command, extra = wrap(shard.argv, IndexSet.of([shard.index]), environment, size=shard.size)
        environment |= extra
    elif shard.size > 1:
        raise LookupError(
            "the job runs without the preamble (preamble: false), so a single job of it would not see its index: "
            "use --docker or --local"
        )
    put(request, command, [{"name": key, "value": value} for key, value in environment.items()])
    if "tags" in request:
        request["tags"]["batchemr:submission"] = number
    return request
