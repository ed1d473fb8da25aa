"""`batchemr replay --local` and `--docker`: a single index on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_batchemr.cli import common
from airflow_batchemr.cli.replay_credentials import session_name, without_credentials
from airflow_batchemr.engine.replay import docker_command, executable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.cli.replay_credentials import Access
    from airflow_batchemr.engine.replay import Shard

#: Names of variables that a line of `docker run --env-file` can have. A name alone on a line would be taken from the
#: environment of docker, with the user's credentials; docker drops leading spaces and comments.
_IN_FILE = re.compile(r"[^\s#\x00-\x20\x7f][^\s\x00-\x20\x7f]*")
#: Names of other variables that may be passed in the environment of the docker client, which some systems replace by a
#: shell script: shells run functions of names such as `BASH_FUNC_[%%`.
_FOR_DOCKER = re.compile(
    r"(?!(?:PATH|HOME|(?:DOCKER|LD|DYLD|GO|XDG|SSL|BASH)_?\w*|\w*_PROXY)\Z)[A-Z_]\w*", re.IGNORECASE | re.ASCII
)


def run_here(clients: Clients, shard: Shard, access: Access, *, docker: bool) -> int:
    """Run the program, and return its exit code.

    Raises:
        AwsError: The role cannot be assumed.
        LookupError: The program or Docker is missing, or cannot get the recorded arguments.
    """
    recorded = shard.program_environment()
    executable(shard.program(), recorded)
    handed: dict[str, str] = {}
    if access.separate:
        recorded = without_credentials(recorded)
        handed = access.variables(clients, session_name(shard.intent.dag_id, shard.intent.job, shard.index))
    if docker:
        return _in_docker(shard, {**recorded, **handed} if access.separate else {**access.own_variables(), **recorded})
    common.say(f"note: running in {Path.cwd()}; files that the program writes there are kept")
    if not access.separate:
        return _process(shard, {**_of_user(access), **recorded})
    with tempfile.TemporaryDirectory(prefix="batchemr-home-") as home:  # without ~/.aws
        return _process(shard, {**without_credentials(os.environ), **recorded, **handed, "HOME": home})


def _of_user(access: Access) -> dict[str, str]:
    """Return this process's variables. A profile replaces the credentials in them, as for our own calls."""
    variables = dict(os.environ)
    if access.profile:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            variables.pop(name, None)
        variables["AWS_PROFILE"] = access.profile
    if access.region:
        variables |= {"AWS_REGION": access.region, "AWS_DEFAULT_REGION": access.region}
    return variables


def _process(shard: Shard, variables: Mapping[str, str]) -> int:
    command = shard.program()
    try:
        return subprocess.run(command, env=variables, check=False).returncode
    except FileNotFoundError:
        raise LookupError(f"program {command[0]!r} is not on the PATH: add it, or use --docker or --batch") from None


def _in_docker(shard: Shard, environment: Mapping[str, str]) -> int:
    """Run the image. Variables are passed in a file readable only by this user, so that `ps` shows no credentials.

    A value of several lines does not fit into the file: docker takes it from its own environment.
    """
    lines = {name: value for name, value in environment.items() if "\n" not in value and "\r" not in value}
    rest = {name: value for name, value in environment.items() if name not in lines}
    if unsafe := [name for name in lines if not _IN_FILE.fullmatch(name)]:
        raise LookupError(f"docker cannot pass on the variables {unsafe}: rename them, or use --batch or --local")
    if unsafe := [name for name in rest if not _FOR_DOCKER.fullmatch(name)]:
        raise LookupError(
            f"docker cannot pass on {', '.join(unsafe)}: the value has several lines, and docker itself uses the "
            "variable. Use --batch, or --local"
        )
    # Only the user's own endpoint, not one of the record, gives the program access to the network of this machine
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    local_endpoint = environment.get("AWS_ENDPOINT_URL") == endpoint and any(
        f"//{host}" in endpoint for host in ("127.", "localhost", "[::1]")
    )
    with tempfile.NamedTemporaryFile("w", prefix="batchemr-", suffix=".env", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in lines.items())
        file.flush()
        command = docker_command(shard, file.name, list(rest), host_network=local_endpoint)
        try:
            return subprocess.run(command, env={**os.environ, **rest}, check=False).returncode
        except FileNotFoundError:
            raise LookupError("docker is not installed: use --local or --batch") from None
