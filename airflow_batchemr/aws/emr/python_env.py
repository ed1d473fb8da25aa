"""`python_env`: the same Python for driver and executors, from a packed archive or installed on every machine."""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.aws.errors import InvalidRequest, NotAllowed, Refused
from airflow_batchemr.aws.retry import call_again, call_optionally
from airflow_batchemr.pipeline_file.steps.spark import PythonEnv

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from airflow_batchemr.aws.clients import Clients

#: Folder on the machines of the cluster that all users of YARN can read.
ROOT = "/opt/batchemr"
#: Maximum bytes of a requirements file. EMR does not limit a bootstrap action's script; this catches wrong files.
LARGEST = 1 << 20
_BEGIN = """\
#!/bin/bash
# Made by airflow-batchemr: the Python environment {name}, on every machine of the cluster.
set -euo pipefail
root="${{1:-{root}}}"
home="$root/{folder}"
[ -x "$home/bin/python" ] && exit 0
mkdir -p "$root" 2>/dev/null || {{ sudo mkdir -p "$root" && sudo chown "$(id -un)" "$root"; }}
cd "$root"
base64 --decode > {folder}.{suffix} <<'CONTENT'
{content}
CONTENT
"""
_PIP = """\
python3 -m venv "$home"
"$home/bin/python" -m pip install --disable-pip-version-check --requirement {folder}.txt
"""
#: The checksums are those of conda-forge's packages of this version, which are never replaced. They are also published
#: in Homebrew's and other package managers' recipes.
_CONDA = """\
version=2.9.0-0
case "$(uname -m)" in
  aarch64) machine=linux-aarch64 sum=e705ffeed90ce0659eb546e4b1e1028c9eaf0bc9cc854867b19ac5ce0ba5852f ;;
  *) machine=linux-64 sum=8761c382127e6363bd9e0a2451aa3ef90d071a79133f736e2f759a3bf13040dd ;;
esac
url="https://conda.anaconda.org/conda-forge/$machine/micromamba-$version.tar.bz2"
curl --fail --silent --show-error --location --retry 5 --output micromamba.tar.bz2 "$url"
echo "$sum  micromamba.tar.bz2" | sha256sum --check --quiet
# Not every image of the machines has bzip2; Python has it in any case.
python3 -c 'import tarfile; tarfile.open("micromamba.tar.bz2").extract("bin/micromamba")'
./bin/micromamba create --yes --root-prefix "$root/conda" --prefix "$home" --file {folder}.yml
"""


@dataclass(frozen=True)
class Environment:
    """The Python environment of a `python_env`."""

    python: PythonEnv
    script: bytes | None = None
    """The bootstrap action that creates it; None for an archive."""
    name: str = ""
    """Name of the script, derived from its content."""


def environments(clients: Clients, python_envs: Iterable[str], folder: Path) -> dict[str, Environment]:
    """The environments by the value of `python_env`; relative paths are those in the Dag's `folder`.

    Raises:
        InvalidRequest: a file does not exist, or its kind is not supported.
    """
    return {value: _environment(clients, value, folder) for value in dict.fromkeys(python_envs)}


def _environment(clients: Clients, value: str, folder: Path) -> Environment:
    if re.search(r"\.(tar\.gz|tgz|zip)$", value):
        if not re.match(r"(s3[an]?|hdfs)://", value):
            raise InvalidRequest(f"python_env: a packed environment has to be in S3, and {value} is not")
        if value.startswith("s3"):
            _check_object(clients, value)
        return Environment(PythonEnv.packed(value))
    if not re.search(r"\.(txt|ya?ml)$", value):
        raise InvalidRequest(
            f"python_env: expected requirements.txt, environment.yml or a packed s3://….tar.gz, not {value}"
        )
    content = _content(clients, value, folder)
    if len(content) > LARGEST:
        raise InvalidRequest(f"python_env: {value} has {len(content):,} bytes, more than {LARGEST:,}")
    conda = not value.endswith(".txt")
    template = _BEGIN + (_CONDA if conda else _PIP)
    digest = hashlib.sha256(template.encode() + content).hexdigest()[:16]
    name = f"python-{digest}"
    # The content is encoded in base64, so that none of it is ever shell text
    script = template.format(
        name=name,
        root=ROOT,
        folder=name,
        suffix="yml" if conda else "txt",
        content=base64.encodebytes(content).decode().strip(),
    )
    return Environment(PythonEnv.installed(f"{ROOT}/{name}"), script.encode(), f"bootstrap/{name}.sh")


def _content(clients: Clients, value: str, folder: Path) -> bytes:
    if value.startswith("s3"):
        bucket, key = _place(value)
        try:
            body = call_again(lambda: clients.s3.get_object(Bucket=bucket, Key=key), "s3:GetObject")["Body"]
        except Refused as error:
            raise InvalidRequest(f"python_env: {value} cannot be read: {error}") from error
        return bytes(body.read(LARGEST + 1))
    path = folder / value
    try:
        return path.read_bytes()
    except OSError as error:
        where = "" if str(path) == value else f"{path}: "
        raise InvalidRequest(f"python_env: {value} cannot be read ({where}{error.strerror})") from error


def _check_object(clients: Clients, uri: str) -> None:
    bucket, key = _place(uri)
    client = clients.optional("s3")
    try:
        call_optionally(lambda: client.head_object(Bucket=bucket, Key=key), "s3:GetObject")
    except NotAllowed:  # the cluster's role may be allowed to read it
        return
    except Refused as error:
        raise InvalidRequest(f"python_env: there is no {uri}: {error}") from error


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, posixpath.normpath(key)


def docker_configurations(images: Sequence[str]) -> list[dict[str, object]]:
    """Classifications with which YARN runs containers of these images: EMR 6.0 and later."""
    if not images:
        return []
    # Docker Hub's official images have no registry in their names
    registries = {image.partition("/")[0] if "/" in image else "library" for image in images}
    trusted = ",".join(["local", *sorted(registries)])
    docker = {"Classification": "docker", "Properties": {"docker.trusted.registries": trusted}}
    return [{"Classification": "container-executor", "Configurations": [docker], "Properties": {}}]
